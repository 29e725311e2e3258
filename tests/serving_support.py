"""Versions of a toy model, a hook on a TorchServe of its own, and users who ask it all the time."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from airflow.sdk import Connection

from kubeflow_provider.services import ModelVersion
from local_services.torchserve.hook import TorchServeHook
from tests.toy_package import publish

MODEL = "toy-reviews"
GOOD = json.dumps({"instances": ["a good place"]}).encode()


def build_version(store: Path, version: str, *, behaviour: str = "sound", model: str = MODEL) -> ModelVersion:
    """Publish a version: its archive and its ``candidate.json`` with the golden examples of a sound model."""
    archive = publish(store / model / version, model=model, version=version, behaviour=behaviour)["archive"]
    settings = {"workers": 1, "batch_size": 4, "max_batch_delay_ms": 5, "response_timeout_seconds": 30}
    return ModelVersion(
        model=model, version=version, archive_uri=archive["uri"], archive_sha256=archive["sha256"], settings=settings
    )


def candidate_uri(version: ModelVersion) -> str:
    """Return the URI of a version's ``candidate.json``."""
    return f"{version.archive_uri}/candidate.json"


def free_port() -> int:
    """Return a port of loopback that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connection(python: str, state_dir: Path, *, port: int | None = None, host: str = "127.0.0.1") -> Connection:
    """Return a connection to a TorchServe of its own."""
    extra = {"python": python, "state_dir": str(state_dir)}
    return Connection(
        conn_id="serving_test", conn_type="torchserve", host=host, port=port or free_port(), extra=json.dumps(extra)
    )


@contextmanager
def torchserve(python: str, folder: Path) -> Iterator[SimpleNamespace]:
    """Yield ``hook``, ``store`` (a folder to publish in) and ``connection``; stop the server at the end."""
    conn = connection(python, folder / "state")
    hook = TorchServeHook("serving_test", connection=conn)
    try:
        yield SimpleNamespace(hook=hook, store=folder / "store", connection=conn)
    finally:
        hook.stop()


def connection_json(conn: Connection) -> str:
    """Return a connection in the form of an ``AIRFLOW_CONN_...`` variable."""
    return json.dumps({"conn_type": conn.conn_type, "host": conn.host, "port": conn.port, "extra": conn.extra_dejson})


class FakeContext(dict[str, Any]):
    """What operators need of a task's context, without a database."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.store: dict[str, Any] = {}
        ti = SimpleNamespace(xcom_push=lambda key, value: self.xcoms.update({key: value}))
        store = SimpleNamespace(set=lambda key, value: self.store.update({key: value}), get=self.store.get)
        super().__init__(ti=ti, task_state_store=store)


class Users:
    """People who ask again and again, each over a connection of its own, until the block ends.

    :param url: the address that they know.
    :param number: how many.
    :param body: what each of them sends.
    :param pause_seconds: how long each waits between two requests.
    """

    def __init__(self, url: str, *, number: int, body: bytes = GOOD, pause_seconds: float = 0.0) -> None:
        self.answers: list[list[httpx.Response | str]] = [[] for _ in range(number)]
        self._url = url
        self._body = body
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(answers,)) for answers in self.answers]

    @property
    def statuses(self) -> Counter[int | str]:
        """How often each HTTP status came, and what went wrong where none did."""
        return Counter(
            answer if isinstance(answer, str) else answer.status_code for answers in self.answers for answer in answers
        )

    def predictions(self) -> list[list[dict[str, Any]]]:
        """Return what each of them was answered, in the order of asking."""
        return [
            [answer.json()["predictions"][0] for answer in answers if not isinstance(answer, str)]
            for answers in self.answers
        ]

    def _ask(self, answers: list[httpx.Response | str]) -> None:
        with httpx.Client(trust_env=False, headers={"Content-Type": "application/json"}, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    answers.append(client.post(self._url, content=self._body))
                except httpx.TransportError as error:
                    answers.append(repr(error))
                self._stop.wait(self._pause_seconds)

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
