"""The versions that have a process, and which of them gets the traffic."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Protocol

from kubeflow_provider.exceptions import DeploymentFailedError, KubeflowProviderError
from kubeflow_provider.services import Deployment, ModelVersion
from kubeflow_provider.states import DeploymentState
from local_services.record import Record, ServedModel, StoredVersion, archive_name

#: So long a version may load that has to be live again at once.
_LOADING_SECONDS = 150.0
_POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


class Store(Protocol):
    """The server's own copies of what was published."""

    def fetch(self, candidate: ModelVersion, name: str) -> None:
        """Copy a version here, unless it is here already.

        :param name: that it has here.
        :raises InvalidRequestError: when it is not there, or not what was announced.
        """

    def path(self, model: str, version: str, stored: StoredVersion) -> Path:
        """Return what the version's process loads, after a look at whether it is as it was fetched.

        :raises InvalidRequestError: when it is not.
        """

    def versions(self) -> dict[str, dict[str, StoredVersion]]:
        """Return what lies here: model -> version -> what can be told of it without a record."""

    def delete(self, name: str) -> None:
        """Delete a version; harmless when it is not here."""


class VersionProcesses(Protocol):
    """The processes of versions and the router before them: of this machine, or of a container of their own."""

    #: What a message says where nothing runs.
    remedy: str

    def is_router_up(self) -> bool:
        """Tell whether the router answers."""

    def start_router(self) -> None:
        """Start the router and wait until it listens."""

    def stop(self) -> bool:
        """Stop everything; return whether there was anything to stop."""

    def start_version(self, model: str, version: str, stored: StoredVersion, path: Path) -> None:
        """Start the process of a version, without waiting for it."""

    def note_failure(self, model: str, version: str, stored: StoredVersion, reason: str) -> None:
        """Write down why a version cannot be started, so that not everybody tries it again."""

    def stop_version(self, model: str, version: str, stored: StoredVersion) -> None:
        """Stop the process of a version; harmless when there is none."""

    def state(self, model: str, version: str, stored: StoredVersion) -> tuple[DeploymentState, str | None] | None:
        """Return a version's state and, unless it is READY, the reason; ``None`` when it was not started."""

    def is_gone(self, model: str, version: str, stored: StoredVersion) -> bool:
        """Tell whether a version has no process and nothing speaks against one: it was never started, or killed."""


class LoadedVersions:
    """Changes what runs and what is written down of it, for a caller that holds the record's lock.

    The router goes by the record: what is written there as live gets the traffic from that moment on.

    :param processes: of the installation.
    :param store: its own copies of the versions' files.
    :param record: what is live, and what was before.
    """

    def __init__(self, processes: VersionProcesses, store: Store, record: Record) -> None:
        self._processes = processes
        self._store = store
        self._record = record

    def found(self) -> dict[str, ServedModel]:
        """Return what is known of every model without a record, which is not what was live."""
        return {
            model: ServedModel(versions=versions, is_live_known=False)
            for model, versions in self._store.versions().items()
        }

    def start(self, model: str, version: str, stored: StoredVersion) -> None:
        """Start a version's process, without waiting for it.

        :raises InvalidRequestError: when its files are not what was fetched.
        """
        path = self._store.path(model, version, stored)
        log.info("Starting a server for %s %s.", model, version)
        self._processes.start_version(model, version, stored, path)

    def lacking(self, models: dict[str, ServedModel]) -> list[tuple[str, str]]:
        """Return model and version of what is live or was before, and has no process; the live ones first."""
        wanted = [(name, model.live) for name, model in models.items()]
        wanted += [(name, model.previous) for name, model in models.items()]
        return [
            (name, version)
            for name, version in wanted
            if version is not None and self._processes.is_gone(name, version, models[name].versions[version])
        ]

    def bring_back(self, models: dict[str, ServedModel]) -> None:
        """Start what lacks a process, and wait until what is live can answer or cannot be loaded."""
        lacking = self.lacking(models)
        for name, version in lacking:
            try:
                self.start(name, version, models[name].versions[version])
            except KubeflowProviderError as error:
                # One broken model must not keep the others down; get_live tells of it.
                log.error("%s %s could not be started again: %s", name, version, error)
                self._processes.note_failure(name, version, models[name].versions[version], str(error))
        for name, version in lacking:
            if version == models[name].live:
                self._wait(name, version, models[name].versions[version])

    def deployment(self, model: str, version: str, served: ServedModel) -> Deployment | None:
        """Return a version's state, ``None`` when it is not deployed."""
        stored = served.versions.get(version)
        is_live = version == served.live
        found = stored and self._processes.state(model, version, stored)
        if not found:
            if not is_live:
                return None
            found = (DeploymentState.FAILED, "Its process could not be started; the log of the task says why.")
        state, reason = found
        return Deployment(model=model, version=version, state=state, is_live=is_live, reason=reason)

    def make_live(self, model: str, version: str | None, served: ServedModel) -> None:
        """Give the traffic to a version, or to nobody."""
        served.make_live(version)
        self._record.write(model, served)

    def put_back(self, model: str, previous: str, served: ServedModel) -> None:
        """Give the traffic to an earlier version, loading it where it is not.

        :raises DeploymentFailedError: when it cannot be loaded any more.
        """
        stored = served.versions.get(previous)
        if stored is None:
            raise DeploymentFailedError(
                f"{model} {previous} is not in the server's store any more, so it cannot be put back. Release it again."
            )
        found = self._processes.state(model, previous, stored)
        if found is None or found[0] is DeploymentState.FAILED:
            try:
                self.start(model, previous, stored)
            except KubeflowProviderError as error:
                raise DeploymentFailedError(f"{model} {previous} cannot be put back: {error}") from error
        state, reason = self._wait(model, previous, stored)
        if state is not DeploymentState.READY:
            raise DeploymentFailedError(f"{model} {previous} cannot be put back: {reason}")
        self.make_live(model, previous, served)

    def restore_live(self, model: str, version: ModelVersion | None) -> None:
        """Make a version live whose record was lost, unless somebody was faster."""
        served = self._record.model(model)
        if served.is_live_known:
            return
        if version is None:
            self.make_live(model, None, served)
            return
        name = archive_name(model, version.version, "")
        self._store.fetch(version, name)
        stored = StoredVersion(archive=name, sha256=version.archive_sha256, settings=dict(version.settings))
        served.versions[version.version] = stored
        self.put_back(model, version.version, served)

    def forget(self, model: str, version: str, served: ServedModel) -> None:
        """Stop a version's process and delete its files here. It has no traffic any more."""
        stored = served.versions.pop(version, None)
        self._record.write(model, served)
        if stored:
            self._processes.stop_version(model, version, stored)
        self._store.delete(archive_name(model, version, ""))

    def park(self, model: str, version: str | None, served: ServedModel) -> None:
        """Stop the process of a version that is neither live nor the one before, and keep its files."""
        if version in served.versions and version not in (served.live, served.previous):
            self._processes.stop_version(model, version, served.versions[version])

    def _wait(self, model: str, version: str, stored: StoredVersion) -> tuple[DeploymentState, str | None]:
        deadline = time.monotonic() + _LOADING_SECONDS
        while True:
            found = self._processes.state(model, version, stored) or (DeploymentState.FAILED, "It was not started.")
            if found[0].is_terminal:
                return found
            if time.monotonic() > deadline:
                return DeploymentState.FAILED, f"It was not loaded within {_LOADING_SECONDS:.0f} seconds."
            time.sleep(_POLL_SECONDS)
