"""A Kubeflow Pipelines API server for tests: the wire form and the oddities of the real one, over HTTP on loopback.

Its "Argo" really runs the pipelines, with the pipeline half's interpreter, or does what a test has scripted.

* A client's ``run_id`` is honoured, but creating is no upsert: the workflow comes before the row, so a second POST of
  one id starts a second workflow and then answers 500.
* ``CANCELED`` is never written: a terminated run is ``CANCELING`` and ends as ``FAILED``.
* 2.17 shows each node of a workflow with an attempt (``record`` and ``record(0)``), because its manifests give every
  template a retry strategy; steps that never began have rows without a state. It says of every run that a plugin has
  failed, which means nothing. 3.0 shows tasks, where asked for them.
* Zero values are absent, unknown fields are refused, parameters are strictly typed, ``filter`` is decoded twice.
* While Kubernetes is away, every token is answered with 401 (``without_kubernetes``); the health page needs none.
* A version id that does not exist is a 500; a retry of a run that has not failed is a 409; terminating a run that is
  over, or being terminated, is a 400 ("Row not found"); the log endpoint answers 200 with an error in its body.
* Recurring runs: names are not unique, ids are Kubernetes' own, whoever names no mode gets a paused one, and cron
  expressions have six fields; five are taken without the day of the week. Nothing runs by their schedules here.

Requests and responses are checked against the models of the published client, kfp-server-api.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.doubles.kfp_server.api import Api
from tests.doubles.kfp_server.routes import ROUTES
from tests.doubles.kfp_server.transport import HttpServer

__all__ = ["KfpServer", "kfp_server"]


class KfpServer(HttpServer):
    """The server under test's hands.

    :ivar url: what a connection's host holds.
    :ivar runs: run id -> row. :ivar workflows: every workflow that was ever started.
    :ivar recurring_runs: id -> row.
    :ivar requests: everything that was asked.
    """

    def __init__(self, api: Api, prefix: str) -> None:
        self.api = api
        super().__init__(api.answer)
        self.url = f"http://127.0.0.1:{self.port}{prefix}"
        self.runs = api.runs
        self.workflows = api.workflows
        self.recurring_runs = api.recurring_runs

    def script(self, run_id: str | None, states: list[Any]) -> None:
        """Let a run (``None``: every run) show these states, one for each GET, without running anything.

        :param states: a state, or a mapping with ``state``, ``steps`` ((name, state) pairs), and the names of steps
            that are ``cached`` and of such that ``never`` began, and ``outputs`` of steps, which 3.0 tells (see
            :func:`tests.doubles.kfp_server.tasks.tasks_of`). ``""`` is what the server makes of a workflow without
            a phase. The last one stays.
        """
        self.api.script(run_id, states)

    def vanish(self, run_id: str) -> None:
        """Forget a run, as the server's clean-up of old runs does."""
        self.runs.pop(run_id).workflow.kill()

    def lose_rows(self, count: int = 1) -> None:
        """Let the database refuse the next rows, after their workflows were created."""
        self.api.rows_to_lose = count

    @contextmanager
    def without_kubernetes(self) -> Iterator[None]:
        """Answer 401 to every token for as long as the block lasts, as while the control plane is upgraded."""
        self.api.can_review_tokens = False
        try:
            yield
        finally:
            self.api.can_review_tokens = True

    @contextmanager
    def behind_a_gateway(self) -> Iterator[None]:
        """Let a gateway that has lost its server answer for as long as the block lasts, the health page included."""
        self.fault("status", times=10**9, status=503, body="no healthy upstream")
        try:
            yield
        finally:
            self.clear_faults()

    def calls(self, method: str, path: str) -> int:
        """Return how many requests there were of this method whose path ends like this."""
        return sum(request.method == method and request.path.endswith(path) for request in self.requests)


@contextmanager
def kfp_server(
    *,
    python: str | None = None,
    multi_user: bool = False,
    version: str = "2.17.0",
    has_attempts: bool | None = None,
    token: str | None = None,
    namespaces: tuple[str, ...] = ("team",),
    refused_verbs: tuple[str, ...] = (),
    prefix: str = "",
) -> Iterator[KfpServer]:
    """Run a server for the length of a block.

    :param python: interpreter of the pipeline half; without it runs stay PENDING unless they are scripted.
    :param version: of the server; the field ``tag_name`` of its health. 3.0 answers as the preview of August 2026.
    :param has_attempts: whether every template has a retry strategy; by default from 2.17 on.
    :param token: bearer token that every request must carry.
    :param namespaces: those that callers may use where ``multi_user``.
    :param refused_verbs: what callers may not do with runs in those.
    :param prefix: path in front of everything, for example ``/pipeline``.
    """
    with tempfile.TemporaryDirectory(prefix="kfp-server-", ignore_cleanup_errors=True) as folder:
        api = Api(
            multi_user=multi_user,
            tag_name=version,
            has_attempts=has_attempts,
            python=python,
            folder=Path(folder),
            token=token,
            namespaces=namespaces,
            refused_verbs=refused_verbs,
            prefix=prefix,
            routes=ROUTES,
        )
        server = KfpServer(api, prefix)
        try:
            yield server
        finally:
            server.close()
            for workflow in server.workflows:
                workflow.kill()
        assert not server.errors, server.errors
