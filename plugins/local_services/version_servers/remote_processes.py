"""The processes of versions where a container of its own runs them: it is asked for what only it can do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.states import DeploymentState
from local_services.private_folder import check_private
from local_services.record import StoredVersion
from local_services.version_servers.management import MOST_REASON_LETTERS, ROUTER, management_socket
from local_services.version_servers.settings import ServersSettings

#: Ending a server takes 40 seconds at most, and so does starting a router, each after a large archive was read.
_ORDER_SECONDS = 180.0


class RemoteProcesses:
    """The processes of a service, for whoever shares its folders.

    :param settings: of a client.
    :param kind: of the servers.
    :param service: that runs them, by its name in docker-compose.yaml.
    """

    def __init__(self, settings: ServersSettings, *, kind: str, service: str) -> None:
        self._address = settings.address
        self._run_dir = settings.run_dir(kind)
        self.remedy = f"It is a service of its own: start it (`docker compose up -d {service}`), and look into its log."

    def is_router_up(self) -> bool:
        """Tell whether the service is there and its router answers.

        :raises PermissionDeniedError: when the folder of its socket is not ours alone.
        """
        if not os.path.lexists(self._run_dir):
            return False
        check_private(self._run_dir)
        try:
            return bool(self._send("GET", ROUTER).get("is_up"))
        except ServiceUnavailableError:
            return False

    def start_router(self) -> None:
        """Let the service start its router, and wait until it listens.

        :raises ServiceUnavailableError: when it does not come up, or the service is not there.
        """
        self._send("POST", ROUTER)

    def stop(self) -> bool:
        """Refuse it.

        :raises InvalidRequestError: always.
        """
        raise InvalidRequestError(f"What serves at {self._address} is a service of its own: stop it there.")

    def start_version(self, model: str, version: str, stored: StoredVersion, path: Path) -> None:
        """Let the service start a version.

        :param path: of the archive as it is seen here, which the service is not told: it takes that of its own store.
        :raises InvalidRequestError: when the archive there is not the one of the record.
        """
        self._order("start", model, version, stored)

    def note_failure(self, model: str, version: str, stored: StoredVersion, reason: str) -> None:
        """Let the service write down why a version cannot be started."""
        self._order("failure", model, version, stored, reason=reason[-MOST_REASON_LETTERS:])

    def stop_version(self, model: str, version: str, stored: StoredVersion) -> None:
        """Let the service stop a version; harmless when it does not run."""
        self._order("stop", model, version, stored)

    def state(self, model: str, version: str, stored: StoredVersion) -> tuple[DeploymentState, str | None] | None:
        """Return a version's state and, unless it is READY, the reason; ``None`` when it was not started."""
        told = self._order("state", model, version, stored)
        return None if told.get("state") is None else (DeploymentState(told["state"]), told.get("reason"))

    def is_gone(self, model: str, version: str, stored: StoredVersion) -> bool:
        """Tell whether a version has no process and nothing speaks against one."""
        return bool(self._order("gone", model, version, stored).get("is_gone"))

    def _order(self, verb: str, model: str, version: str, stored: StoredVersion, **more: str) -> dict[str, Any]:
        order = {"model": model, "version": version, "sha256": stored.sha256, "settings": stored.settings, **more}
        return self._send("POST", f"/{verb}", order)

    def _send(self, method: str, path: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
        socket_path = management_socket(self._run_dir)
        transport = httpx.HTTPTransport(uds=str(socket_path), verify=False)
        try:
            if os.path.lexists(self._run_dir):
                check_private(self._run_dir)
            with httpx.Client(transport=transport, base_url="http://service", timeout=_ORDER_SECONDS) as client:
                answer = client.request(method, path, json=order)
        except httpx.TransportError as error:
            raise ServiceUnavailableError(
                f"Nobody answers at {socket_path} ({type(error).__name__}), so nothing serves at {self._address}. "
                f"{self.remedy}"
            ) from error
        if answer.is_success:
            told: dict[str, Any] = answer.json()
            return told
        if answer.status_code == httpx.codes.BAD_REQUEST:
            raise InvalidRequestError(_error(answer))
        raise ServiceUnavailableError(_error(answer), http_status=answer.status_code)


def _error(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
