"""Serves versions of models on this machine, each with a server in a process of its own, behind one router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
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
from local_services.kserve_server.runtime.layout import NO_SERVER, ROUTER_HEADER, VERSION_HEADER, predict_path
from local_services.lost_record import LostRecord
from local_services.record import Record, ServedModel, StoredVersion, archive_name, check_names
from local_services.version_servers.loaded_versions import LoadedVersions, Store, VersionProcesses
from local_services.version_servers.settings import ServersSettings


class VersionServersHook(BaseHook):
    """Serves versions of models on loopback; a :class:`~kubeflow_provider.services.ServingService`.

    Each version has a server of its own, in a process that only this user reaches, so a candidate can harm nobody. A
    router gives all of a model's traffic to its live version; what that is stands in ``live.json`` of the state
    folder. Every call brings back what is missing of the router, the live and the previous versions. Candidates do not
    come back.

    Which servers, says a subclass: with :meth:`_read_settings`, :meth:`_make_processes`, :meth:`_make_store` and
    :meth:`check_candidate`.

    :param conn_id: of the connection.
    :param connection: the connection itself, where it has been looked up already.
    """

    works_in_background = False  # a process that it starts belongs to no triggerer

    def __init__(self, conn_id: str, *, connection: Connection | None = None) -> None:
        super().__init__()
        self._conn_id = conn_id
        self._connection = connection

    def _read_settings(self, connection: Connection) -> ServersSettings:
        raise NotImplementedError

    def _make_processes(self) -> VersionProcesses:
        raise NotImplementedError

    def _make_store(self) -> Store:
        raise NotImplementedError

    # The processes

    def start(self) -> None:
        """Start the router and everything that was live, unless they run.

        :raises ServiceUnavailableError: when the router does not come up.
        """
        if not self._processes.is_router_up() or self._loaded.lacking(self._lost_record.read()):
            with self._change():
                pass

    def stop(self) -> bool:
        """Stop everything. The next call of anything else starts it again.

        :return: whether it was running.
        """
        with self._record.lock():
            return self._processes.stop()

    def status(self) -> list[Deployment]:
        """Return every version that has a process, without starting anything; empty when the router is down."""
        if not self._processes.is_router_up():
            return []
        found = (
            self._deployment(model, version, served)
            for model, served in sorted(self._lost_record.read().items())
            for version in sorted(served.versions)
        )
        return [deployment for deployment in found if deployment]

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button; starts what is not running."""
        try:
            self.start()
            live = {name: model.live for name, model in self._lost_record.read().items() if model.live}
        except KubeflowProviderError as error:
            return False, str(error)
        serving = ", ".join(f"{name} {version}" for name, version in sorted(live.items())) or "no model yet"
        return True, f"The router answers at {self._settings.address} and serves {serving}."

    # Predictions

    def endpoint_url(self, model: str) -> str:
        """Return the address that users call for predictions, in the protocol of the live version."""
        served = self._lost_record.model(model)
        path = self._path(model, served.live or max(served.versions, default=""), served)
        return f"{self._settings.public_address}{path}"

    def predict(self, model: str, body: bytes, *, version: str | None = None, timeout_seconds: float = 30) -> Answer:
        """Send a raw request body to a version, or through the address that users call, in the version's protocol.

        :raises ServiceUnavailableError: when there was no answer at all.
        """
        answer = self._post(model, version, body, timeout_seconds)
        if answer is None or answer.headers.get(ROUTER_HEADER) == NO_SERVER:
            # Nobody has taken the request: the router or the version's process is down. Whoever brings it back already
            # has the lock until it can answer.
            with self._change():
                pass
            answer = self._post(model, version, body, timeout_seconds)
        if answer is None:
            raise ServiceUnavailableError(f"Nobody listens at {self._settings.address}.")
        return _answer(answer)

    # Questions

    def get_deployment(self, model: str, version: str) -> Deployment | None:
        """Return the version's state as its process reports it, or ``None`` when it is not deployed."""
        self.start()
        return self._deployment(model, version, self._lost_record.model(model))

    async def aget_deployment(self, model: str, version: str) -> Deployment | None:
        """Like :meth:`get_deployment`, without blocking the event loop."""
        return await asyncio.to_thread(self.get_deployment, model, version)

    def get_live(self, model: str) -> Deployment | None:
        """Return the version that users reach, or ``None`` before the first release.

        A version that should be live but could not be loaded again is FAILED.

        :raises LiveVersionUnknownError: when the record of it was lost; :meth:`restore_live` brings it back.
        """
        self.start()
        served = self._lost_record.known(model)
        return None if served.live is None else self._deployment(model, served.live, served)

    def get_previous(self, model: str) -> str | None:
        """Return the version that was live before the present one and is kept to go back to."""
        return self._lost_record.model(model).previous

    def get_traffic(self, model: str) -> Mapping[str, int]:
        """Return the live version with all of the traffic, without starting anything; empty before a release.

        :raises ServiceUnavailableError: when nothing runs although something should be live.
        """
        live = self._lost_record.known(model).live
        if live is None:
            return {}
        if self._processes.is_router_up():
            return {live: 100}
        raise ServiceUnavailableError(
            f"The router is not running at {self._settings.address}, so nobody reaches {model} {live}. "
            f"{self._processes.remedy}"
        )

    # Changes

    def check_candidate(self, candidate: ModelVersion) -> None:
        """Find out whether a version can be served by what its names and settings say.

        :raises InvalidRequestError: when it cannot.
        """
        check_names(candidate.model, candidate.version)

    def deploy_candidate(self, candidate: ModelVersion) -> Deployment:
        """Copy the version's files and start its process beside the live one; users do not reach it.

        :return: PENDING while it loads.
        :raises InvalidRequestError: when name, version, settings or files are not what they should be.
        """
        self.check_candidate(candidate)
        model, version = candidate.model, candidate.version
        name = archive_name(model, version, "")
        stored = StoredVersion(archive=name, sha256=candidate.archive_sha256, settings=dict(candidate.settings))
        with self._change():
            served = self._record.model(model)
            known = served.versions.get(version)
            if version == served.live and known and known.sha256 != stored.sha256:
                raise InvalidRequestError(
                    f"{model} {version} is live with other files (SHA-256 {known.sha256}). Start a new DAG run: a "
                    "version is released once."
                )
            deployment = self._deployment(model, version, served)
            is_same = known == stored and deployment and deployment.state is not DeploymentState.FAILED
            if deployment and (deployment.is_live or is_same):
                return deployment
            self._store.fetch(candidate, name)
            if known:
                self._processes.stop_version(model, version, known)
            served.versions[version] = stored
            self._record.write(model, served)
            self._loaded.start(model, version, stored)
            return self._expect_deployment(model, version)

    def can_split_traffic(self, model: str) -> bool:
        """Return False: the router gives all of the traffic to a model's live version."""
        return False

    def shift_traffic(self, model: str, version: str, percent: int) -> Deployment:
        """Promote the version; there are no smaller steps.

        :raises InvalidRequestError: for a part of the traffic.
        """
        if percent != 100:
            raise InvalidRequestError(
                f"{model} {version} cannot get {percent} % of the traffic: on one machine it gets all or nothing. "
                "Promote it."
            )
        return self.promote(model, version)

    def promote(self, model: str, version: str) -> Deployment:
        """Give the version the traffic and keep the one before it loaded. Safe to repeat.

        :raises DeploymentFailedError: when the version is not READY.
        """
        with self._change():
            served = self._record.model(model)
            deployment = self._deployment(model, version, served)
            if deployment is None or deployment.state is not DeploymentState.READY:
                state = deployment.state.value if deployment else "not deployed"
                raise DeploymentFailedError(
                    f"{model} {version} cannot be promoted: it is {state}. Deploy the candidate again; what was live "
                    "still is."
                )
            displaced = served.previous
            if served.live != version:
                served.previous = served.live
            self._loaded.make_live(model, version, served)
            self._loaded.park(model, displaced, served)
            return self._expect_deployment(model, version)

    def restore_live(self, model: str, version: ModelVersion | None) -> None:
        """Make the version live again that the registry holds to be, see :class:`ForgetfulService`.

        :raises InvalidRequestError: when its files are gone, or are not the ones that were released.
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
            live = served.live
            target = previous or (served.previous if live == candidate else None)
            if live == candidate and target is None:
                self._loaded.make_live(model, None, served)
            elif target is not None and live in (None, candidate, target):
                self._loaded.put_back(model, target, served)
            elif live is not None and live != previous:
                self.log.warning("%s %s is live by now and stays; only %s is removed.", model, live, candidate)
            served.previous = None if served.previous in (candidate, served.live) else served.previous
            self._loaded.forget(model, candidate, served)
            return self._deployment(model, served.live, served) if served.live else None

    def remove(self, model: str, version: str) -> None:
        """Stop a version that is not live and delete its files from the server's own store.

        :raises InvalidRequestError: when it is the live one.
        """
        with self._change():
            served = self._record.model(model)
            if version == served.live:
                raise InvalidRequestError(f"{model} {version} is live; promote another version before removing it.")
            served.previous = None if served.previous == version else served.previous
            self._loaded.forget(model, version, served)

    # Parts

    @cached_property
    def _settings(self) -> ServersSettings:
        return self._read_settings(self._connection or self.get_connection(self._conn_id))

    @cached_property
    def _processes(self) -> VersionProcesses:
        return self._make_processes()

    @cached_property
    def _record(self) -> Record:
        return Record(self._settings.state_dir, suffix="")

    @cached_property
    def _store(self) -> Store:
        return self._make_store()

    @cached_property
    def _loaded(self) -> LoadedVersions:
        return LoadedVersions(self._processes, self._store, self._record)

    @cached_property
    def _lost_record(self) -> LostRecord:
        return LostRecord(self._record, self._loaded.found)

    @cached_property
    def _client(self) -> httpx.Client:
        # Loopback has no business with the proxies that the environment may name. A connection for each request, so
        # that "cannot connect" always means that nothing was sent; a kept one could break after the router was killed.
        headers = {"Content-Type": "application/json", **UNCAPTURED}
        return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0), headers=headers)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Hold the lock over a change, with everything running that should and a record that can be read."""
        with self._record.lock():
            self._lost_record.mend()
            if not self._processes.is_router_up():
                self.log.info("Starting the router at %s.", self._settings.address)
                self._processes.start_router()
            self._loaded.bring_back(self._record.read())
            yield

    def _deployment(self, model: str, version: str, served: ServedModel) -> Deployment | None:
        found = self._loaded.deployment(model, version, served)
        url = f"{self._settings.address}/versions/{version}{self._path(model, version, served)}"
        return found and replace(found, url=url)

    def _expect_deployment(self, model: str, version: str) -> Deployment:
        deployment = self._deployment(model, version, self._record.model(model))
        if deployment is None:
            raise ServiceUnavailableError(f"{model} {version} vanished just after it was changed.")
        return deployment

    def _path(self, model: str, version: str | None, served: ServedModel) -> str:
        stored = served.versions.get(version or "")
        predictor: Mapping[str, Any] = (stored.settings.get("predictor") if stored else None) or {}
        return predict_path(model, str(predictor.get("protocol", "v1")))

    def _post(self, model: str, version: str | None, body: bytes, timeout_seconds: float) -> httpx.Response | None:
        """Return the answer, with its latency; ``None`` when nobody was there to be asked.

        :raises ServiceUnavailableError: when somebody was, and did not answer.
        """
        served = self._lost_record.model(model)
        prefix = f"/versions/{version}" if version else ""
        url = f"{self._settings.address}{prefix}{self._path(model, version or served.live, served)}"
        begin = time.perf_counter()
        try:
            answer = self._client.post(url, content=body, timeout=timeout_seconds)
        except httpx.ConnectError:
            return None
        except httpx.TransportError as error:
            raise ServiceUnavailableError(f"No answer from {url}: {type(error).__name__}.") from error
        answer.extensions["latency_ms"] = (time.perf_counter() - begin) * 1000
        return answer


def _answer(answer: httpx.Response) -> Answer:
    try:
        parsed: Any = answer.json()
    except ValueError:
        parsed = answer.text
    return Answer(
        status_code=answer.status_code,
        body=parsed,
        latency_ms=answer.extensions["latency_ms"],
        version=answer.headers.get(VERSION_HEADER),
    )
