"""Serves one version at a socket of its own, with the application of KServe's server.

KServe's own start would listen on every address of the machine, so only its routes are taken from it; they are
answered at a socket in a folder that nobody else can enter.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from .layout import failure_of, socket_of

log = logging.getLogger(__name__)

#: So long it goes on after it was told to end: the router has given its traffic to another one before.
_DRAIN_SECONDS = 1.0
_MOST_CONNECTIONS = 250
_LONGEST_REASON = 1_000


def main() -> None:
    """Serve what the document says that the first argument names."""
    folder = Path(sys.argv[1])
    document = json.loads((folder / "server.json").read_text(encoding="utf-8"))
    try:
        app = load(document)
    except Exception as error:
        fail(folder, error)
    # Heavy libraries are loaded by now, the model too: from here on only the socket is missing.
    from .listening import listen, private_socket

    listen(app, [private_socket(socket_of(folder))], drain_seconds=_DRAIN_SECONDS, most_connections=_MOST_CONNECTIONS)


def load(document: dict[str, Any]) -> Any:
    """Return the application that serves a version.

    :param document: ``model``, ``version``, ``format``, ``path`` of its file and ``log``.
    """
    from .listening import write_log

    write_log(Path(document["log"]))
    model_format, path = document["format"], Path(document["path"])
    return make_application(document["model"], document["version"], model_format=model_format, path=path)


def make_application(name: str, version: str, *, model_format: str, path: Path) -> Any:
    """Return the application that serves one model.

    :param path: of the file that is loaded.
    """
    from kserve.model_server import ModelServer, app
    from kserve.protocol.rest.server import RESTServer

    from .formats import PREDICTORS
    from .guard import Guard
    from .served_model import ServedModel

    logging.getLogger("kserve").setLevel(logging.CRITICAL)  # it logs exceptions whole, with what was sent
    model = ServedModel(name, version, PREDICTORS[model_format](path))
    server = ModelServer(enable_grpc=False, enable_latency_logging=False)
    server.register_model(model)
    rest = RESTServer("kserve.model_server:app", server.dataplane, server.model_repository_extension, http_port=0)
    rest.create_application()
    log.info("%s %s is loaded.", model.name, model.version)
    return Guard(app, model=model.name, version=model.version, is_ready=lambda: bool(model.ready))


def fail(folder: Path, error: Exception) -> None:
    """Leave word why the model cannot be served, and end. Nobody has sent anything yet that could be repeated."""
    log.error("The model could not be loaded.", exc_info=error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)[:_LONGEST_REASON]
    failure = failure_of(folder)
    part = failure.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(failure)
    sys.exit(1)
