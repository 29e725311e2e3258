"""Sends parameters, learning curve and pictures to MLflow."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from include.contracts.rules.addresses import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


# Read when MLflow is first imported: nobody has agreed to tell its makers of each call.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class TrackingError(RuntimeError):
    """MLflow cannot be used; nothing has been computed yet."""


class Tracker:
    """One MLflow run, or nothing at all where no tracking server is given.

    Once a run has started, trouble with the server costs the record and never the training: it is printed once, and
    nothing more is sent.
    """

    def __init__(self, client: MlflowClient | None = None, run_id: str | None = None) -> None:
        self._client = client
        self.run_id = run_id

    @property
    def uri(self) -> str:
        """Address of the server, empty without one; it may hold a password."""
        return str(self._client.tracking_uri) if self._client else ""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings."""
        self._send(lambda client, run_id: [client.log_param(run_id, key, value) for key, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Record points of curves."""
        self._send(
            lambda client, run_id: [client.log_metric(run_id, key, value, step=step) for key, value in metrics.items()]
        )

    def log_file(self, name: str, content: bytes) -> None:
        """Keep a file with the run."""

        def upload(client: MlflowClient, run_id: str) -> None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, name)
                path.write_bytes(content)
                client.log_artifact(run_id, str(path))

        self._send(upload)

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Return the recorded points of a curve as step and value; none where they cannot be had."""
        points: list[tuple[int, float]] = []

        def read(client: MlflowClient, run_id: str) -> None:
            # A training that goes on tells the steps since its last state a second time.
            found = sorted(client.get_metric_history(run_id, name), key=lambda each: each.timestamp)
            points.extend(sorted({each.step: each.value for each in found}.items()))

        self._send(read)
        return points

    def end(self, status: str) -> None:
        """Close the run.

        :param status: ``FINISHED`` or ``FAILED``.
        """
        self._send(lambda client, run_id: client.set_terminated(run_id, status))

    def _send(self, call: Callable[[MlflowClient, str], Any]) -> None:
        if self._client is None or self.run_id is None:
            return
        try:
            call(self._client, self.run_id)
        except Exception as error:
            # Whatever a store or an artifact repository raises: hours of training are worth more than their record.
            print(f"MLflow no longer takes records ({type(error).__name__}); going on without.", flush=True)
            self._client = None


@contextmanager
def tracked_run(
    tracking_uri: str, *, experiment: str, name: str, tags: Mapping[str, str] | None = None, run_id: str | None = None
) -> Iterator[Tracker]:
    """Start a run, or go on with one, and close it afterwards, as failed when an exception passes.

    :param tracking_uri: of MLflow, for example ``http://mlflow:5000`` or ``sqlite:////data/mlflow.db``; empty for none.
    :param experiment: made when absent.
    :param run_id: of the run that a training was told to which goes on; one that the server does not know is replaced.
    :raises TrackingError: when the run cannot be started.
    """
    if not tracking_uri:
        yield Tracker()
        return
    try:
        client = mlflow_client(tracking_uri)
        found = _begun(client, run_id) or client.create_run(
            _experiment_id(client, tracking_uri, experiment), run_name=name, tags=dict(tags or {})
        )
    except Exception as error:
        raise TrackingError(
            f"MLflow at {without_secrets(tracking_uri)} does not start a run in experiment {experiment!r} "
            f"({type(error).__name__}). Check address and permissions, or leave tracking_uri empty."
        ) from None  # its own words hold the whole address
    tracker = Tracker(client, found.info.run_id)
    try:
        yield tracker
    except BaseException:
        tracker.end("FAILED")
        raise
    tracker.end("FINISHED")


def resume(tracking_uri: str, run_id: str | None) -> Tracker:
    """Return a run that a former step made, to add to it."""
    return Tracker(mlflow_client(tracking_uri), run_id) if tracking_uri and run_id else Tracker()


def mlflow_client(tracking_uri: str) -> MlflowClient:
    """Return a client that gives up on a server after some tries and says little."""
    # Seven attempts with growing pauses, MLflow's default, hold up a training for minutes when the server is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if path := _sqlite_file(tracking_uri):
        path.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri)


def _begun(client: MlflowClient, run_id: str | None) -> Run | None:
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        client.update_run(run_id, status="RUNNING")
        return client.get_run(run_id)
    except MlflowException:
        return None


def _experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    # With a database and no server, MLflow would put artifacts into whatever folder the process was started in.
    path = _sqlite_file(tracking_uri)
    location = (path.parent / "artifacts" / name).as_uri() if path else None
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        # Another release made it in the meantime.
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        raise


def _sqlite_file(tracking_uri: str) -> Path | None:
    scheme, _, path = tracking_uri.partition(":///")
    return Path(unquote(path)).absolute() if scheme == "sqlite" else None
