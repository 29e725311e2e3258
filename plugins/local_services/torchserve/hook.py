"""Serves models with a TorchServe on this machine: started when absent, and brought back as it was when it died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx
from airflow.sdk import BaseHook, Connection

from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    KubeflowProviderError,
    ServiceUnavailableError,
)
from kubeflow_provider.http.uncaptured import UNCAPTURED
from kubeflow_provider.services import Answer, Deployment, ModelVersion
from kubeflow_provider.states import DeploymentState
from local_services.lost_record import LostRecord
from local_services.record import Record, StoredVersion, archive_name, check_runtime
from local_services.torchserve.archives import PLACEHOLDER_VERSION, ArchiveStore, check_servable
from local_services.torchserve.loaded_models import LoadedModels
from local_services.torchserve.management import ManagementApi, RegistrationError
from local_services.torchserve.process import TorchServeProcess
from local_services.torchserve.settings import PREDICT_PATH, TorchServeSettings


class TorchServeHook(BaseHook):
    """Serves versions of models from one TorchServe on loopback; a :class:`~kubeflow_provider.services.ServingService`.

    Every call brings the server up when it is not running, with the live and the previous version of every model:
    what is live stands in ``live.json`` of the state folder. Candidates do not come back, so that one that takes
    the server down cannot do it twice.

    Where the server is a container of its own, the connection's ``role`` says so: then nobody but that container
    starts it, and what is done here is to ask it, and to wait for it where it is just coming up.

    Predictions need no token; the management API is closed to everybody but the user who runs this.

    :param torchserve_conn_id: connection of type ``torchserve``.
    :param connection: the connection itself, where it has been looked up already.
    """

    conn_name_attr = "torchserve_conn_id"
    default_conn_name = "serving_default"
    conn_type = "torchserve"
    works_in_background = False  # a process that it starts belongs to no triggerer
    hook_name = "TorchServe"

    def __init__(self, torchserve_conn_id: str = default_conn_name, *, connection: Connection | None = None) -> None:
        super().__init__()
        self.torchserve_conn_id = torchserve_conn_id
        self._connection = connection

    # The server

    def start(self) -> None:
        """Start the server with everything that was live, unless it is running.

        :raises ServiceUnavailableError: when it does not come up.
        """
        if not self._process.is_running():
            with self._change():
                pass

    def stop(self) -> bool:
        """Stop the server. The next call of anything else starts it again.

        :return: whether it was running.
        """
        with self._record.lock():
            return self._process.stop()

    def status(self) -> list[Deployment]:
        """Return every loaded version of every model, without starting anything; empty when the server is down."""
        if not self._process.is_running():
            return []
        found = []
        for model in sorted(self._lost_record.read()):
            for version in sorted(self._management.versions(model)):
                deployment = self._deployment(model, version)
                if deployment and version != PLACEHOLDER_VERSION:
                    found.append(deployment)
        return found

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button; starts the server when it is not running."""
        try:
            self.start()
        except KubeflowProviderError as error:
            return False, str(error)
        live = {name: model.live for name, model in self._lost_record.read().items() if model.live}
        serving = ", ".join(f"{name} {version}" for name, version in sorted(live.items())) or "no model yet"
        return True, f"TorchServe answers at {self._settings.address} and serves {serving}."

    # Predictions

    def endpoint_url(self, model: str) -> str:
        """Return the address that users call for predictions."""
        return f"{self._settings.public_address}{PREDICT_PATH.format(model)}"

    def predict(self, model: str, body: bytes, *, version: str | None = None, timeout_seconds: float = 30) -> Answer:
        """Send a raw request body to a version, or through the address that users call. Repeats nothing.

        :raises ServiceUnavailableError: when there was no answer at all.
        """
        url = self._version_url(model, version) if version else f"{self._settings.address}{PREDICT_PATH.format(model)}"
        try:
            return self._post(url, body, timeout_seconds)
        except httpx.ConnectError:
            # Nothing was sent: nobody was there. The server is down, or just being started by somebody else.
            self.start()
        except httpx.TransportError as error:
            raise _no_answer(url, error) from error
        try:
            return self._post(url, body, timeout_seconds)
        except httpx.TransportError as error:
            raise _no_answer(url, error) from error

    # Questions

    def get_deployment(self, model: str, version: str) -> Deployment | None:
        """Return the version's state as its workers report it, or ``None`` when it is not loaded."""
        self.start()
        return self._deployment(model, version)

    async def aget_deployment(self, model: str, version: str) -> Deployment | None:
        """Like :meth:`get_deployment`, without blocking the event loop."""
        return await asyncio.to_thread(self.get_deployment, model, version)

    def get_live(self, model: str) -> Deployment | None:
        """Return the version that users reach, or ``None`` before the first release.

        A version that should be live but could not be loaded again after a restart is FAILED.

        :raises LiveVersionUnknownError: when the record of it was lost; :meth:`restore_live` brings it back.
        """
        self.start()
        version = self._loaded.default(model)
        if version is not None:
            return self._deployment(model, version)
        recorded = self._lost_record.known(model).live
        if recorded is None:
            return None
        return self._failed(model, recorded, "It was not loaded when the server was started.", is_live=True)

    def get_previous(self, model: str) -> str | None:
        """Return the version that was live before the present one and is kept to go back to."""
        return self._lost_record.model(model).previous

    def get_traffic(self, model: str) -> Mapping[str, int]:
        """Return the live version with all of the traffic, without starting the server; empty before a release.

        :raises ServiceUnavailableError: when the server is not running although something should be live.
        """
        if self._process.is_running():
            version = self._loaded.default(model)
            return {} if version is None else {version: 100}
        recorded = self._lost_record.known(model).live
        if recorded is None:
            return {}
        raise ServiceUnavailableError(
            f"TorchServe is not running at {self._settings.address}, so nobody reaches {model} {recorded}. The next "
            "release or prediction starts it; `make serve` does so now."
        )

    # Changes

    def check_candidate(self, candidate: ModelVersion) -> None:
        """Find out whether a version's names, runtime and kind of model can be served.

        :raises InvalidRequestError: when one of them cannot.
        """
        check_servable(candidate)
        check_runtime(candidate, "torchserve", remedy="local_native")

    def deploy_candidate(self, candidate: ModelVersion) -> Deployment:
        """Load the version beside the live one and wait for its workers; users do not reach it.

        :return: READY, or FAILED with the last lines of the worker that could not load it. TorchServe has removed
            the version then.
        :raises InvalidRequestError: when name, version, settings or archive are not what they should be.
        """
        self.check_candidate(candidate)
        model, version = candidate.model, candidate.version
        stored = StoredVersion(
            archive=archive_name(model, version), sha256=candidate.archive_sha256, settings=dict(candidate.settings)
        )
        with self._change():
            served = self._record.model(model)
            known = served.versions.get(version)
            deployment = self._deployment(model, version)
            if version == served.live and known and known.sha256 != stored.sha256:
                raise InvalidRequestError(
                    f"{model} {version} is live with another archive (SHA-256 {known.sha256}). Start a new DAG run: a "
                    "version is released once."
                )
            if deployment and (deployment.is_live or (known == stored and deployment.state is DeploymentState.READY)):
                return deployment
            self._archives.fetch(candidate, stored.archive)
            self._management.unregister(model, version)
            if self._management.default_version(model) is None:
                self._loaded.reserve(model)
            served.versions[version] = stored
            self._record.write(model, served)
            try:
                self._loaded.register(model, version, stored)
            except RegistrationError as error:
                return self._failed(model, version, str(error))
            return self._expect_deployment(model, version)

    def can_split_traffic(self, model: str) -> bool:
        """Return False: TorchServe gives all of the traffic to a model's default version."""
        return False

    def shift_traffic(self, model: str, version: str, percent: int) -> Deployment:
        """Promote the version; there are no smaller steps.

        :raises InvalidRequestError: for a part of the traffic.
        """
        if percent != 100:
            raise InvalidRequestError(
                f"{model} {version} cannot get {percent} % of the traffic: TorchServe gives all or nothing. Promote it."
            )
        return self.promote(model, version)

    def promote(self, model: str, version: str) -> Deployment:
        """Give the version the traffic and keep the one before it loaded. Safe to repeat.

        :raises DeploymentFailedError: when the version is not READY.
        """
        with self._change():
            deployment = self._deployment(model, version)
            if deployment is None or deployment.state is not DeploymentState.READY:
                state = deployment.state.value if deployment else "not loaded"
                raise DeploymentFailedError(
                    f"{model} {version} cannot be promoted: it is {state}. Deploy the candidate again; what was live "
                    "still is."
                )
            served = self._record.model(model)
            before = self._loaded.default(model)
            self._management.set_default(model, version)
            if served.live != version:
                served.previous = before if before not in (None, version) else served.live
            served.make_live(version)
            self._record.write(model, served)
            self._loaded.unreserve(model)
            return self._expect_deployment(model, version)

    def restore_live(self, model: str, version: ModelVersion | None) -> None:
        """Make the version live again that the registry holds to be, see :class:`ForgetfulService`.

        :raises InvalidRequestError: when its archive is gone, or is not the one that was released.
        :raises DeploymentFailedError: when it cannot be loaded any more.
        """
        with self._change():
            self._loaded.restore_live(model, version)

    def roll_back(self, model: str, *, candidate: str, previous: str | None) -> Deployment | None:
        """Put the previous version back and remove the candidate, from whatever point a release reached.

        Where ``previous`` is missing although the candidate went live over another version, the record knows that
        one. Where a third version is live by now, it stays: this release is undone and not a later one. Safe to
        repeat.

        :return: what is live now, ``None`` when nothing was live before.
        :raises DeploymentFailedError: when the previous version cannot be loaded any more.
        """
        if previous == candidate:
            raise InvalidRequestError(f"{model} {candidate} cannot be rolled back to itself.")
        with self._change():
            served = self._record.model(model)
            live = self._loaded.default(model) or served.live
            if live == candidate:
                self._loaded.take_traffic(model, candidate, previous or served.previous, served)
            elif previous is not None and live in (None, previous):
                self._loaded.put_back(model, previous, served)
            elif live is not None and live != previous:
                self.log.warning("%s %s is live by now and stays; only %s is removed.", model, live, candidate)
            served.previous = None if served.previous in (candidate, served.live) else served.previous
            self._loaded.forget(model, candidate, served)
            live = self._loaded.default(model)
            return self._deployment(model, live) if live else None

    def remove(self, model: str, version: str) -> None:
        """Unload a version that is not live and delete its archive from the server's own store.

        :raises InvalidRequestError: when it is the live one.
        """
        with self._change():
            served = self._record.model(model)
            if version in (served.live, self._loaded.default(model)):
                raise InvalidRequestError(f"{model} {version} is live; promote another version before removing it.")
            served.previous = None if served.previous == version else served.previous
            self._loaded.forget(model, version, served)

    # Parts

    @cached_property
    def _settings(self) -> TorchServeSettings:
        return TorchServeSettings.of(self._connection or self.get_connection(self.torchserve_conn_id))

    @cached_property
    def _process(self) -> TorchServeProcess:
        return TorchServeProcess(self._settings)

    @property
    def _management(self) -> ManagementApi:
        return self._process.management

    @cached_property
    def _record(self) -> Record:
        return Record(self._settings.state_dir)

    @cached_property
    def _archives(self) -> ArchiveStore:
        return ArchiveStore(self._settings.model_store)

    @cached_property
    def _loaded(self) -> LoadedModels:
        return LoadedModels(self._management, self._archives, self._record, self._process.log_dir)

    @cached_property
    def _lost_record(self) -> LostRecord:
        return LostRecord(self._record, lambda: self._loaded.found(is_running=self._process.is_running()))

    @cached_property
    def _client(self) -> httpx.Client:
        # Loopback has no business with the proxies that the environment may name. A connection for each request, so
        # that "cannot connect" always means that nothing was sent; a kept one could break after a server was killed.
        headers = {"Content-Type": "application/json", **UNCAPTURED}
        return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0), headers=headers)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Hold the lock over a change, with the server running and a record that can be read."""
        with self._record.lock():
            self._lost_record.mend()
            self._start_if_absent()
            yield

    def _start_if_absent(self) -> None:
        if self._process.is_running():
            return
        self.log.info("Starting TorchServe at %s; its logs are in %s.", self._settings.address, self._process.log_dir)
        self._settings.model_store.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._process.start()
        models = self._record.read()
        # First whatever users wait for. TorchServe makes a model's first version its default.
        for name, model in models.items():
            self._loaded.restore(name, model.live, model)
        for name, model in models.items():
            self._loaded.restore(name, model.previous, model)
        self._process.mark_ready()

    def _deployment(self, model: str, version: str) -> Deployment | None:
        described = self._management.describe(model, version)
        if described is None:
            return None
        workers = [worker["status"] for worker in described["workers"]]
        is_ready = "READY" in workers
        return Deployment(
            model=model,
            version=version,
            state=DeploymentState.READY if is_ready else DeploymentState.PENDING,
            is_live=self._loaded.default(model) == version,
            reason=None if is_ready else f"No worker is ready (workers: {', '.join(workers) or 'none'}).",
            url=self._version_url(model, version),
        )

    def _expect_deployment(self, model: str, version: str) -> Deployment:
        deployment = self._deployment(model, version)
        if deployment is None:
            raise ServiceUnavailableError(f"{model} {version} vanished from TorchServe just after it was changed.")
        return deployment

    def _failed(self, model: str, version: str, reason: str, *, is_live: bool = False) -> Deployment:
        return Deployment(model=model, version=version, state=DeploymentState.FAILED, reason=reason, is_live=is_live)

    def _version_url(self, model: str, version: str) -> str:
        return f"{self._settings.address}/predictions/{model}/{version}"

    def _post(self, url: str, body: bytes, timeout_seconds: float) -> Answer:
        begin = time.perf_counter()
        answer = self._client.post(url, content=body, timeout=timeout_seconds)
        latency_ms = (time.perf_counter() - begin) * 1000
        try:
            parsed: Any = answer.json()
        except ValueError:
            parsed = answer.text
        return Answer(status_code=answer.status_code, body=parsed, latency_ms=latency_ms)


def _no_answer(url: str, error: httpx.TransportError) -> ServiceUnavailableError:
    return ServiceUnavailableError(f"No answer from {url}: {type(error).__name__}.")
