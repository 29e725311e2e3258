"""Models that a test scripts: they answer over HTTP like the toy model, or are broken in one way."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from email.message import Message
from enum import StrEnum
from typing import Any

from tests.doubles.kubernetes.loopback import LoopbackHandler, LoopbackServer
from tests.doubles.kubernetes.programs import Launch

SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
_V1 = re.compile(r"^/v1/models/([^/:]+)(:predict|:explain)?$")
_V2 = re.compile(r"^/v2/(?:models/([^/]+)(?:/versions/[^/]+)?(/infer|/ready)?|health/(?:live|ready))$")
_VERSION = re.compile(r"\d{14}")


class Behaviour(StrEnum):
    """What a version of the model does."""

    GOOD = "good"
    #: The labels of the probabilities are swapped.
    WRONG_LABELS = "wrong labels"
    #: Another version's name stands in the answers.
    WRONG_VERSION = "wrong version"
    #: Every prediction takes a second.
    SLOW = "slow"
    #: Loads, but no prediction succeeds.
    ERROR_500 = "error 500"
    #: The server is up and its port is open, but the model never loads: every path of the model is a 503.
    NEVER_READY = "never ready"
    #: The process ends with a traceback.
    CRASH = "crash"
    #: Half of the predictions fail.
    FLAKY = "flaky"


class FakeModels:
    """An image whose containers are servers of the toy model in this process.

    The version of a container is the 14 digits in the URI it was loaded from, else the URI's last part.

    :param load_seconds: from the start of the container to its open port, in real seconds.
    :param name: of the model in paths; any name is served when it is ``None``.
    """

    def __init__(self, *, load_seconds: float = 0.05, name: str | None = None) -> None:
        self.load_seconds = load_seconds
        self.name = name
        self.served: Counter[str] = Counter()
        self.heads: deque[Message] = deque(maxlen=100)  #: Of the newest predictions' requests.
        self._behaviours: dict[str, Behaviour] = {}

    def behave(self, version: str, behaviour: Behaviour) -> None:
        """Let a version behave so from now on, also where it runs already."""
        self._behaviours[version] = behaviour

    def behaviour(self, version: str) -> Behaviour:
        return self._behaviours.get(version, Behaviour.GOOD)

    def start(self, launch: Launch) -> _FakeServer:
        source = launch.pod["metadata"].get("annotations", {}).get(SOURCE, "")
        found = _VERSION.search(source)
        version = found[0] if found else source.rstrip("/").rsplit("/", 1)[-1]
        ports = [entry["containerPort"] for entry in launch.container.get("ports") or []] or [8080]
        return _FakeServer(self, version, ports, launch)


class _FakeServer:
    """One container: a server on a free port of loopback."""

    def __init__(self, models: FakeModels, version: str, ports: list[int], launch: Launch) -> None:
        self.addresses: dict[int, tuple[str, int]] = {}
        self._ended = threading.Event()
        self._code = 0
        launch.log.write(f"Loading model version {version}")
        if models.behaviour(version) is Behaviour.CRASH:
            launch.log.write("RuntimeError: the weights do not fit the model")
            self._end(1)
            return
        self._http = LoopbackServer(_Handler, models=models, version=version)
        threading.Thread(target=self._load, args=(models.load_seconds, ports, launch), daemon=True).start()

    def wait(self, seconds: float) -> int | None:
        return self._code if self._ended.wait(seconds) else None

    def stop(self, grace_seconds: float) -> None:
        """End; with a grace period answer first what is still on its way, as TorchServe drains its connections."""
        if grace_seconds > 0:
            time.sleep(min(grace_seconds, 0.1))
        self._end(143 if grace_seconds > 0 else 137)

    def _load(self, seconds: float, ports: list[int], launch: Launch) -> None:
        if self._ended.wait(seconds):
            self._http.server_close()
            return
        self._http.start(f"model {launch.pod['metadata']['name']}")
        self.addresses = dict.fromkeys(ports, self._http.address)
        launch.log.write("Model server started.")
        self._ended.wait()
        self._http.stop()

    def _end(self, code: int) -> None:
        if not self._ended.is_set():
            self._code = code
            self._ended.set()


class _Handler(LoopbackHandler):
    models: FakeModels
    version: str

    def do_GET(self) -> None:
        never_ready = self.models.behaviour(self.version) is Behaviour.NEVER_READY
        if found := _V1.match(self.path) or _V2.match(self.path):
            about = {"name": found[1], "ready": True, "live": True}
            self._about(found[1], never_ready, lambda: about)
        else:
            self.send(404, {"error": "Not Found"})

    def do_POST(self) -> None:
        body = self.read_body()
        behaviour = self.models.behaviour(self.version)
        v1, v2 = _V1.match(self.path), _V2.match(self.path)
        never_ready = behaviour is Behaviour.NEVER_READY
        if v1 and v1[2]:
            self._about(v1[1], never_ready, lambda: self._predict(body, behaviour, is_v2=False))
        elif v2 and v2[2] == "/infer":
            self._about(v2[1], never_ready, lambda: self._predict(body, behaviour, is_v2=True))
        else:
            self.send(404, {"error": "Not Found"})

    def _about(self, name: str | None, never_ready: bool, answer: Callable[[], Any]) -> None:
        if name and self.models.name not in (None, name):
            self.send(404, {"error": f"Model with name {name} does not exist."})
        elif never_ready:
            self.send(503, {"error": f"Model with name {name} is not ready."})
        else:
            found = answer()
            self.send(*found) if isinstance(found, tuple) else self.send(200, found)

    def _predict(self, body: bytes, behaviour: Behaviour, *, is_v2: bool) -> tuple[int, Any]:
        served = self.models.served
        served[self.version] += 1
        self.models.heads.append(self.headers)
        if behaviour is Behaviour.SLOW:
            time.sleep(1)
        if behaviour is Behaviour.ERROR_500 or (behaviour is Behaviour.FLAKY and served[self.version] % 2):
            return 500, {"code": 500, "type": "InternalServerException", "message": "Prediction failed"}
        try:
            texts = _texts(json.loads(body), is_v2)
        except (ValueError, KeyError, TypeError, IndexError):
            return 400, {"code": 400, "type": "BadRequestException", "message": 'There are no "instances".'}
        rows = [self._row(text, behaviour) for text in texts]
        if not is_v2:
            return 200, {"predictions": rows}
        data = [json.dumps(row) for row in rows]
        output = {"name": "predictions", "shape": [len(data)], "datatype": "BYTES", "data": data}
        return 200, {"model_name": self.models.name or "", "model_version": self.version, "outputs": [output]}

    def _row(self, text: str, behaviour: Behaviour) -> dict[str, Any]:
        labels = ["good", "bad"] if behaviour is Behaviour.WRONG_LABELS else ["bad", "good"]
        probabilities = dict(zip(labels, (0.2, 0.8) if "good" in text else (0.7, 0.3), strict=True))
        label = max(probabilities, key=lambda key: probabilities[key])
        version = "19990101000000" if behaviour is Behaviour.WRONG_VERSION else self.version
        return {"label": label, "score": probabilities[label], "probabilities": probabilities, "version": version}


def _texts(request: Any, is_v2: bool) -> list[str]:
    """:raises ValueError: when the request is none; KeyError, TypeError and IndexError too."""
    texts = request["inputs"][0]["data"] if is_v2 else request["instances"]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("no texts")
    return list(texts)


class StorageInitializer:
    """The init container that downloads a model. A URI that a test calls broken cannot be fetched."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def start(self, launch: Launch) -> _Finished:
        source, target = [*launch.arguments, "", ""][:2]
        launch.log.write(f"Initializing, args: src_uri [{source}] dest_path[ [{target}]")
        if source in self.broken:
            launch.log.write(f"RuntimeError: Failed to fetch model. No model found in {source}.")
            return _Finished(1)
        launch.log.write(f"Successfully copied {source} to {target}")
        return _Finished(0)


class _Finished:
    def __init__(self, code: int) -> None:
        self.addresses: dict[int, tuple[str, int]] = {}
        self._code = code

    def wait(self, seconds: float) -> int | None:
        return self._code

    def stop(self, grace_seconds: float) -> None:
        """It is over already."""


class Sidecar:
    """A container that does nothing visible and runs until it is stopped: Knative's queue-proxy."""

    def start(self, launch: Launch) -> _Idle:
        return _Idle()


class _Idle:
    def __init__(self) -> None:
        self.addresses: dict[int, tuple[str, int]] = {}
        self._ended = threading.Event()

    def wait(self, seconds: float) -> int | None:
        return 0 if self._ended.wait(seconds) else None

    def stop(self, grace_seconds: float) -> None:
        self._ended.set()
