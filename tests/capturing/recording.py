"""Asks a server one thing after the other and keeps what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.capturing.replacing import Replacer, written

#: Sends a request (method, path, body, header) and returns status and answer; text that is no JSON as it is.
Send = Callable[[str, str, Any, Mapping[str, str]], tuple[int, Any]]


class Recorder:
    """The answers of one server, by what they are answers to.

    :ivar calls: what is kept of each, in the order in which it was asked.
    """

    def __init__(self, send: Send, names: Mapping[str, str]) -> None:
        self._send = send
        self._replacer = Replacer(names)
        self.calls: list[dict[str, Any]] = []

    def ask(
        self, what: str, method: str, path: str, body: Any = None, *, header: Mapping[str, str] | None = None
    ) -> Any:
        """Ask, keep the answer under a name, and return it as it was."""
        status, answer = self._send(method, path, body, header or {})
        replaced = self._replacer
        request = {"method": method, "path": replaced.text(path)}
        if body is not None and not isinstance(body, bytes | str):
            request["body"] = replaced.document(body)
        self.calls.append({"what": what, "request": request, "status": status, "answer": replaced.document(answer)})
        return answer

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """Ask without keeping the answer."""
        return self._send(method, path, body, {})[1]

    def save(self, folder: Path) -> Path:
        """Write what was kept into the folder of a version."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "calls.json"
        file.write_text(written(self.calls), encoding="utf-8")
        return file


def over_http(client: httpx.Client) -> Send:
    """Return a way to send with a client of httpx, whose base address is the server's."""

    def send(method: str, path: str, body: Any, header: Mapping[str, str]) -> tuple[int, Any]:
        if isinstance(body, bytes):
            answer = client.request(method, path, files={"uploadfile": ("pipeline.yaml", body)}, headers=dict(header))
        elif isinstance(body, str):
            answer = client.request(method, path, content=body, headers=dict(header))
        else:
            answer = client.request(method, path, json=body, headers=dict(header))
        return answer.status_code, _parsed(answer.text)

    return send


def over_kubernetes(api_client: Any) -> Send:
    """Return a way to send with an ``ApiClient`` of the package ``kubernetes``, whatever its login."""
    from kubernetes.client import ApiException

    def send(method: str, path: str, body: Any, header: Mapping[str, str]) -> tuple[int, Any]:
        header = {"Accept": "application/json", "Content-Type": "application/json", **header}
        try:
            answer = api_client.call_api(
                path,
                method,
                header_params=header,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
            )
        except ApiException as refused:
            text = refused.body.decode() if isinstance(refused.body, bytes) else str(refused.body)
            return int(refused.status), _parsed(text)
        return int(answer.status), _parsed(answer.data.decode())

    return send


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
