"""The image of a server of model formats, as KServe's own are: it knows its model's name, and of versions nothing.

What it says to whom was read from KServe's Python server 0.21 (`kserve.protocol.rest`): errors are ``{"error": …}``, a
name that is not its own is a 404, a row that the model cannot take is a 500, and ``model_version`` is null.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from typing import Any

from tests.doubles.kubernetes.kserve.models import SOURCE
from tests.doubles.kubernetes.loopback import LoopbackHandler, LoopbackServer
from tests.doubles.kubernetes.programs import Launch

_PREDICT = re.compile(r"^/(?:v1/models/([^/:]+):predict|v2/models/([^/]+)/infer)$")
_VERSION = re.compile(r"\d{14}")


class FormatServer:
    """Tells flowers by the length of their petals; a version that a test calls wrong takes every one for the first.

    The version of a container is the 14 digits in the URI it was loaded from, which only the test knows.

    :param tells_version: it names the version of its variable ``MODEL_VERSION`` in the header ``X-Model-Version``.
    :param name: of the model in paths; ``None``: what its argument ``--model_name`` says.
    """

    def __init__(self, *, tells_version: bool = False, name: str | None = None) -> None:
        self.tells_version = tells_version
        self.name = name
        self.wrong: set[str] = set()
        self.served: Counter[str] = Counter()

    def start(self, launch: Launch) -> _Running:
        source = launch.pod["metadata"].get("annotations", {}).get(SOURCE, "")
        found = _VERSION.search(source)
        given = dict(argument.lstrip("-").split("=", 1) for argument in launch.arguments if "=" in argument)
        headers = {"X-Model-Version": launch.variables.get("MODEL_VERSION", "")} if self.tells_version else {}
        ports = [entry["containerPort"] for entry in launch.container.get("ports") or []] or [8080]
        name = self.name or given["model_name"]
        return _Running(self, name, found[0] if found else source, headers, ports, launch)


class _Running:
    def __init__(
        self, image: FormatServer, name: str, version: str, headers: dict[str, str], ports: list[int], launch: Launch
    ) -> None:
        self._http = LoopbackServer(_Handler, image=image, name=name, version=version, headers_told=headers)
        self._http.start(f"format server {launch.pod['metadata']['name']}")
        self.addresses = dict.fromkeys(ports, self._http.address)
        self._ended = threading.Event()
        self._code = 0

    def wait(self, seconds: float) -> int | None:
        return self._code if self._ended.wait(seconds) else None

    def stop(self, grace_seconds: float) -> None:
        if not self._ended.is_set():
            self._code = 143 if grace_seconds > 0 else 137
            self._http.stop()
            self._ended.set()


class _Handler(LoopbackHandler):
    image: FormatServer
    name: str
    version: str
    headers_told: dict[str, str]

    def do_POST(self) -> None:
        body = self.read_body()
        found = _PREDICT.match(self.path)
        if not found:
            self._answer(404, {"error": "Not Found"})
        elif self.name not in found.groups():
            self._answer(404, {"error": f"Model with name {found[1] or found[2]} does not exist."})
        else:
            self.image.served[self.version] += 1
            self._answer(*self._predict(body, is_v2=found[2] is not None))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, body, headers=self.headers_told)

    def _predict(self, body: bytes, *, is_v2: bool) -> tuple[int, dict[str, Any]]:
        try:
            rows = _rows(json.loads(body), is_v2)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return 400, {"error": "Unrecognized request format"}
        try:
            kinds = [self._kind(*row) for row in rows]
        except TypeError as error:
            return 500, {"error": f"{type(error).__name__} : the rows do not fit"}
        if not is_v2:
            return 200, {"predictions": kinds}
        output = {"name": "output-0", "shape": [len(kinds)], "datatype": "INT64", "data": kinds}
        return 200, {"model_name": self.name, "model_version": None, "id": "1", "outputs": [output]}

    def _kind(self, sepal: float, width: float, petal: float, petal_width: float) -> int:
        if self.version in self.image.wrong:
            return 0
        return int(petal > 2.5) + int(petal > 5)


def _rows(request: Any, is_v2: bool) -> list[list[Any]]:
    """:raises ValueError: when the request is none; KeyError, TypeError, IndexError and AttributeError too."""
    if not is_v2:
        return [list(row) for row in request["instances"]]
    (tensor,) = request["inputs"]
    width = tensor["shape"][1]
    return [tensor["data"][start : start + width] for start in range(0, len(tensor["data"]), width)]
