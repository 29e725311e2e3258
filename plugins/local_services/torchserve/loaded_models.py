"""The versions that a TorchServe has loaded, and which of them gets the traffic."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from kubeflow_provider.exceptions import DeploymentFailedError, KubeflowProviderError
from kubeflow_provider.services import ModelVersion
from local_services.record import Record, ServedModel, StoredVersion, archive_name
from local_services.torchserve.archives import PLACEHOLDER_VERSION, ArchiveStore
from local_services.torchserve.management import ManagementApi, RegistrationError
from local_services.torchserve.worker_log import WorkerLog

#: ``serving`` section of a model's YAML -> TorchServe's parameter.
_PARAMETERS = {
    "batch_size": "batch_size",
    "max_batch_delay_ms": "max_batch_delay",
    "response_timeout_seconds": "response_timeout",
}
#: How long a version that has just lost its traffic may finish what it has begun. TorchServe says how many requests
#: wait for a worker, not how many a worker is answering.
_DRAIN_SECONDS = 3.0
_QUEUE_SECONDS = 30.0

log = logging.getLogger(__name__)


class LoadedModels:
    """Changes what is loaded and what is written down of it, for a caller that holds the record's lock.

    :param management: of the server.
    :param archives: the server's own store.
    :param record: what is live, and what was before.
    :param log_dir: where the server's workers write.
    """

    def __init__(self, management: ManagementApi, archives: ArchiveStore, record: Record, log_dir: Path) -> None:
        self._management = management
        self._archives = archives
        self._record = record
        self._log_dir = log_dir

    def restore(self, model: str, version: str | None, served: ServedModel) -> None:
        """Load a version again after the server was started; one that cannot be loaded is told in the log."""
        if version is None:
            return
        try:
            if self._management.default_version(model) is None and version != served.live:
                self.reserve(model)  # its live version did not come up: the one before must not slip into its place
            self.register(model, version, served.versions[version])
        except KubeflowProviderError as error:
            # One broken model must not keep the others down; get_live tells of it.
            log.error("%s %s could not be loaded again: %s", model, version, error)

    def found(self, *, is_running: bool) -> dict[str, ServedModel]:
        """Return what is known of every model without a record.

        :param is_running: whether there is a server, which knows what is live.
        """
        models = {}
        for model, versions in self._archives.versions().items():
            live = self.default(model) if is_running else None
            live = live if live in versions else None
            models[model] = ServedModel(live=live, versions=versions, is_live_known=live is not None)
        return models

    def reserve(self, model: str) -> None:
        """Keep the public address from answering with whatever is registered first."""
        if self._management.describe(model, PLACEHOLDER_VERSION) is None:
            self._management.register(model, self._archives.placeholder())

    def unreserve(self, model: str) -> None:
        """Take the placeholder away where nothing needs it any more."""
        if self.default(model) is not None or set(self._management.versions(model)) == {PLACEHOLDER_VERSION}:
            self._management.unregister(model, PLACEHOLDER_VERSION)

    def register(self, model: str, version: str, stored: StoredVersion) -> None:
        """Load a version and wait for its workers.

        :raises RegistrationError: with the last lines of the worker that could not load it.
        """
        parameters = {_PARAMETERS[name]: value for name, value in stored.settings.items() if name in _PARAMETERS}
        workers = stored.settings.get("workers", 1)
        log.info("Loading %s %s with %s worker(s).", model, version, workers)
        self._archives.verify(stored.archive, stored.sha256)
        worker_log = WorkerLog(self._log_dir, model, version)
        try:
            self._management.register(model, stored.archive, **parameters)
            self._management.start_workers(model, version, workers)
        except RegistrationError as error:
            raise RegistrationError(f"{error}. {worker_log.diagnosis()}", http_status=error.http_status) from error

    def take_traffic(self, model: str, candidate: str, previous: str | None, served: ServedModel) -> None:
        """Give a live candidate's traffic to the version before it, or to nobody where there was none."""
        if previous is None:
            self.reserve(model)
            self._management.set_default(model, PLACEHOLDER_VERSION)
            served.make_live(None)
        else:
            self.put_back(model, previous, served)
            self._drain(model, candidate)

    def put_back(self, model: str, previous: str, served: ServedModel) -> None:
        """Give the traffic to an earlier version, loading it where it is not.

        :raises DeploymentFailedError: when it cannot be loaded any more.
        """
        if self._management.describe(model, previous) is None:
            if previous not in served.versions:
                raise DeploymentFailedError(
                    f"{model} {previous} is not in the server's model store any more, so it cannot be put back. "
                    "Release it again from its archive."
                )
            try:
                self.register(model, previous, served.versions[previous])
            except RegistrationError as error:
                raise DeploymentFailedError(f"{model} {previous} cannot be put back: {error}") from error
        self._management.set_default(model, previous)
        served.make_live(previous)
        self._record.write(model, served)

    def restore_live(self, model: str, version: ModelVersion | None) -> None:
        """Make a version live whose record was lost, unless somebody was faster."""
        served = self._record.model(model)
        if served.is_live_known:
            return
        if version is None:
            served.make_live(None)
            self._record.write(model, served)
            return
        name = archive_name(model, version.version)
        self._archives.fetch(version, name)
        stored = StoredVersion(archive=name, sha256=version.archive_sha256, settings=dict(version.settings))
        served.versions[version.version] = stored
        self.put_back(model, version.version, served)
        self.unreserve(model)

    def forget(self, model: str, version: str, served: ServedModel) -> None:
        """Unload a version and delete its archive from the server's own store."""
        self._management.unregister(model, version)
        served.versions.pop(version, None)
        self._record.write(model, served)
        self._archives.delete(archive_name(model, version))
        self.unreserve(model)

    def _drain(self, model: str, version: str) -> None:
        deadline = time.monotonic() + _QUEUE_SECONDS
        while time.monotonic() < deadline:
            described = self._management.describe(model, version)
            if not described or not described.get("jobQueueStatus", {}).get("pendingRequests"):
                break
            time.sleep(0.1)
        time.sleep(_DRAIN_SECONDS)

    def default(self, model: str) -> str | None:
        """Return the version that the server gives the traffic to, ``None`` for none."""
        version = self._management.default_version(model)
        return None if version == PLACEHOLDER_VERSION else version
