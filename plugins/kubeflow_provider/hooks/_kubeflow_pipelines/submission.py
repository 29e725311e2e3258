"""Starts a run once, whatever happens to the request and to the process that sends it.

The server keeps the id that a client gives (so do all releases from 2.0.1 on, though the API's description does not
say so), but creating a run is no upsert: the server first creates the workflow and then writes the run, so that a
second POST of one id starts a second workflow. Hence: ask before posting; after a POST whose fate is unknown, look
for the run for longer than the server keeps a workflow without a run, and only then post again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.hooks._kubeflow_pipelines.runs import has_id
from kubeflow_provider.http.client import HttpClient

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One run to start.

    :param client: of the server.
    :param body: of the POST; holds the run's id, and its experiment's.
    :param settle_seconds: how long the fate of a POST may be unknown. The server removes a workflow that has no run
        after 120 seconds (``WORKFLOW_GC_GRACE_PERIOD_SECONDS``): never less than that.
    """

    client: HttpClient
    body: Mapping[str, Any]
    settle_seconds: float

    def start(self, *, is_repeat: bool) -> dict[str, Any]:
        """Return the run that has this id, started now if need be.

        :param is_repeat: whether somebody may have posted it before, and so recently that it is not to be seen yet.
        :raises ServiceUnavailableError: when the server cannot start it now, or its fate is unknown. Asking again
            with ``is_repeat`` is safe.
        """
        if found := self.find():
            return found
        if is_repeat and (found := self._look("an earlier try may have asked for it")):
            return found
        try:
            return self._post()
        except ServiceUnavailableError as error:
            if found := self._fate(error):
                return found
        log.warning("Pipeline run %s has not come to be; asking for it once more.", self._run_id)
        try:
            return self._post()
        except ServiceUnavailableError as error:
            if found := self._fate(error):
                return found
            raise

    def find(self) -> dict[str, Any] | None:
        """Return the run as the server knows it, by its id or by the id in its name."""
        try:
            found: dict[str, Any] = api.get_run(self._run_id).send(self.client)
            return found
        except InvalidRequestError as error:
            if error.http_status != 404:
                raise
        call = api.list_runs(
            experiment_id=self.body["experiment_id"],
            filter=api.where("display_name", "IS_SUBSTRING", self._run_id),
            page_size=10,
        )
        return next((row for row in call.send(self.client).get("runs", []) if has_id(row, self._run_id)), None)

    @property
    def _run_id(self) -> str:
        return str(self.body["run_id"])

    def _post(self) -> dict[str, Any]:
        run: dict[str, Any] = api.create_run(self.body).send(self.client)
        if run.get("run_id") != self._run_id:
            log.warning("The server gave pipeline run %s an id of its own: %s.", self._run_id, run.get("run_id"))
        return run

    def _fate(self, error: ServiceUnavailableError) -> dict[str, Any] | None:
        """Return what became of a POST that failed, ``None`` when it certainly came to nothing.

        :raises ServiceUnavailableError: when posting again at once would be wrong or of no use.
        """
        if not error.was_sent or error.http_status == 429:
            raise error  # the server has not touched it
        if error.http_status == 500:
            # The server has finished with it, so a run would be there by now. It answers 500 to requests that can
            # never work as well, and what it says is the best that there is to know.
            if found := self.find():
                return found
            raise ServiceUnavailableError(
                f"{error} It could not start the run. Frequent causes: a quota of the namespace, a service account or "
                "a secret that is missing there, an admission webhook that refuses the workflow, a pipeline version "
                "that was deleted; the log of deployment ml-pipeline names it.",
                http_status=500,
            ) from error
        return self._look(str(error))

    def _look(self, why: str) -> dict[str, Any] | None:
        """Look for the run until it must have appeared; it has not if the last answer says so."""
        log.info(
            "Looking for pipeline run %s for up to %.0f s before asking for it again: %s",
            self._run_id,
            self.settle_seconds,
            why,
        )
        for pause in self._pauses():
            try:
                if found := self.find():
                    return found
            except ServiceUnavailableError as error:
                log.info("The server cannot be asked for pipeline run %s at present: %s", self._run_id, error)
            time.sleep(pause)
        return self.find()

    def _pauses(self) -> Iterator[float]:
        until = time.monotonic() + self.settle_seconds
        pause = _FIRST_PAUSE_SECONDS
        while (left := until - time.monotonic()) > 0:
            yield min(pause, left)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
