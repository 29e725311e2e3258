"""TorchServe's management API, spoken over the server's private socket."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from kubeflow_provider.exceptions import ServiceUnavailableError

#: TorchServe gives a worker 120 s to load its model, and then starts another one.
_LOADING_SECONDS = 150.0
_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 30.0


class RegistrationError(ServiceUnavailableError):
    """The server could not load an archive; what it had begun is gone again."""


class ManagementApi:
    """The calls that a release needs. An unknown model or version is an answer, not an error.

    :param socket_path: the server's management socket.
    """

    def __init__(self, socket_path: Path) -> None:
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket_path)), base_url="http://torchserve", timeout=_TIMEOUT_SECONDS
        )

    def is_up(self) -> bool:
        """Tell whether a server listens at the socket."""
        try:
            return self._client.get("/models", params={"limit": 1}).is_success
        except httpx.TransportError:
            return False

    def versions(self, model: str) -> dict[str, dict[str, Any]]:
        """Return TorchServe's description of every version of a model, by version."""
        return {item["modelVersion"]: item for item in self._describe(f"/models/{model}/all")}

    def describe(self, model: str, version: str) -> dict[str, Any] | None:
        """Return TorchServe's description of one version, ``None`` when it is not loaded."""
        found = self._describe(f"/models/{model}/{version}")
        return found[0] if found else None

    def default_version(self, model: str) -> str | None:
        """Return the version that answers where no version is named, ``None`` when the model is unknown."""
        found = self._describe(f"/models/{model}")
        return found[0]["modelVersion"] if found else None

    def register(self, model: str, archive: str, **parameters: int) -> None:
        """Make a version of an archive in the model store known.

        It gets no workers, or, where the archive names how many, these start by themselves; until one is ready
        predictions are refused. :meth:`start_workers` waits for them.

        :param parameters: TorchServe's own, for example ``batch_size``.
        :raises RegistrationError: when the archive is none.
        """
        # An archive that names its workers has them started whatever `initial_workers` says, and unless `synchronous`
        # is off TorchServe waits for them here, on a thread that carries users' connections as well.
        query: dict[str, str | int] = {"model_name": model, "url": archive, "initial_workers": 0, **parameters}
        query["synchronous"] = "false"
        # No JSON content type here: TorchServe would then read the parameters from the empty body and fail.
        # TorchServe unpacks the archive before it answers, and large ones take their time.
        answer = self._send("POST", "/models", params=query, timeout=_LOADING_SECONDS)
        if not answer.is_success:
            raise RegistrationError(_message(answer), http_status=answer.status_code)

    def start_workers(self, model: str, version: str, workers: int) -> None:
        """Give a version its workers and wait until they have loaded the model; without them the version goes again.

        TorchServe could wait by itself (``synchronous=true``), but on a thread that carries users' connections as well:
        they would all wait with it. Asked to go on by itself it starts a worker that fails again and again. So a worker
        that has become another process has failed.

        :raises RegistrationError: when a worker does not come up.
        """
        query = {"min_worker": workers, "max_worker": workers, "synchronous": "false"}
        self._expect_success(self._send("PUT", f"/models/{model}/{version}", params=query))
        processes: dict[str, int] = {}
        deadline = time.monotonic() + _LOADING_SECONDS
        failure = f"its workers were not ready after {_LOADING_SECONDS:g} s"
        while time.monotonic() < deadline:
            found = (self.describe(model, version) or {}).get("workers", [])
            if sum(worker["status"] == "READY" for worker in found) >= workers:
                return
            started = {worker["id"]: worker["pid"] for worker in found if worker["pid"] > 0}
            if any(processes.get(name, process) != process for name, process in started.items()):
                failure = "a worker died while it loaded the model"
                break
            processes |= started
            time.sleep(_POLL_SECONDS)
        self.unregister(model, version)
        raise RegistrationError(f"{model} {version} could not be loaded: {failure}")

    def set_default(self, model: str, version: str) -> None:
        """Let a version answer where no version is named.

        :raises ServiceUnavailableError: when TorchServe refuses.
        """
        self._expect_success(self._send("PUT", f"/models/{model}/{version}/set-default"))

    def unregister(self, model: str, version: str) -> None:
        """Take a version out; harmless when it is not there.

        :raises ServiceUnavailableError: when TorchServe refuses, as it does for the default version.
        """
        if self.describe(model, version) is not None:
            self._expect_success(self._send("DELETE", f"/models/{model}/{version}"))

    def _describe(self, path: str) -> list[dict[str, Any]]:
        answer = self._send("GET", path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        self._expect_success(answer)
        return answer.json()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServiceUnavailableError(
                f"TorchServe's management API did not answer {method} {path}: {type(error).__name__}."
            ) from error

    @staticmethod
    def _expect_success(answer: httpx.Response) -> None:
        if not answer.is_success:
            request = f"{answer.request.method} {answer.request.url.path}"
            raise ServiceUnavailableError(
                f"TorchServe answered {answer.status_code} to {request}: {_message(answer)}",
                http_status=answer.status_code,
            )


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
