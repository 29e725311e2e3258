"""Keeps the server's list of runs short."""

from __future__ import annotations

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient


class KeptRuns:
    """The part of a pipeline service that is about runs that nobody needs any more.

    :ivar client: of the server.
    """

    client: HttpClient

    def archive_run(self, run_id: str) -> None:
        """Take a run out of the lists that people see; it is kept, and its address stays. Safe to repeat.

        :raises InvalidRequestError: when there is no such run.
        """
        api.archive_run(run_id).send(self.client)

    async def aarchive_run(self, run_id: str) -> None:
        """Like :meth:`archive_run`, without blocking the event loop."""
        await api.archive_run(run_id).asend(self.client)

    def delete_run(self, run_id: str) -> None:
        """Delete a run, and stop it where it still goes on. Harmless when it is gone."""
        try:
            api.delete_run(run_id).send(self.client)
        except InvalidRequestError as error:
            _excuse(error)

    async def adelete_run(self, run_id: str) -> None:
        """Like :meth:`delete_run`, without blocking the event loop."""
        try:
            await api.delete_run(run_id).asend(self.client)
        except InvalidRequestError as error:
            _excuse(error)


def _excuse(error: InvalidRequestError) -> None:
    if error.http_status != 404:
        raise error
