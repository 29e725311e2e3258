"""Receives what KServe's logger sends, and captures it: ``python -m include.capture.receiver --store /mnt/store``.

KServe sends a request and its answer as two CloudEvents over HTTP with one id (kserve/kserve, ``pkg/logger``). They are
put together here; a half that stays alone is forgotten. KServe's agent waits when its events are not taken, and its
users with it: an event is answered as soon as it is read, whatever becomes of it.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from include.capture.exchanges import Exchange
from include.capture.feed import Feed
from include.capture.recorder import Recorder, request_id
from include.contracts.monitoring.capture import OPT_OUT_ID, ServedCapture
from include.contracts.section import problems
from include.contracts.uris import file_uri

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"

_MODEL = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")
_MOST_RECORDERS = 200
_MOST_ID_CHARACTERS = 512


class EventError(ValueError):
    """What came is no event of KServe's logger; the message says what is wrong, and repeats nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfLimits:
    """How much is held of halves whose other one has not come.

    :param halves: so many.
    :param bytes: of their bodies together.
    :param seconds: so long.
    :param body_bytes: a larger body is not captured.
    """

    halves: int = 10_000
    bytes: int = 64_000_000
    seconds: float = 120
    body_bytes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class _Half:
    is_request: bool
    body: bytes
    at: datetime | None
    arrived: float


class Halves:
    """Requests without their answers and answers without their requests.

    :param limits: how much of them is held.
    """

    def __init__(self, limits: HalfLimits) -> None:
        self._limits = limits
        self._halves: OrderedDict[tuple[str, str], _Half] = OrderedDict()
        self._bytes = 0
        self.lost = 0  #: That were forgotten, because their other one did not come in time or there was no room.

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._halves)

    def join(self, key: tuple[str, str], half: _Half) -> tuple[_Half, _Half] | None:
        """Return a request and its answer when both are there."""
        self._forget(half.arrived)
        other = self._pop(key)
        if other is not None and other.is_request != half.is_request:
            return (other, half) if other.is_request else (half, other)
        self.lost += other is not None  # one id for two requests: the newer counts
        self._halves[key] = half
        self._bytes += len(half.body)
        while len(self._halves) > self._limits.halves or self._bytes > self._limits.bytes:
            self._forget_oldest()
        return None

    def _forget(self, now: float) -> None:
        while self._halves and now - next(iter(self._halves.values())).arrived > self._limits.seconds:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._pop(next(iter(self._halves)))
        self.lost += 1

    def _pop(self, key: tuple[str, str]) -> _Half | None:
        half = self._halves.pop(key, None)
        if half is not None:
            self._bytes -= len(half.body)
        return half


class Receiver:
    """Captures events.

    :param store: folder with the models' folders; a model without one is none that is captured.
    :param limits: what is held of halves.
    """

    def __init__(self, store: Path, limits: HalfLimits = HalfLimits()) -> None:
        self.halves = Halves(limits)
        self.counts = Counter[str]()
        self._store = store
        self._limits = limits
        self._feed = Feed()
        self._recorders: dict[tuple[str, tuple[tuple[str, str], ...]], Recorder] = {}

    @property
    def body_bytes(self) -> int:
        """A larger body is not captured."""
        return self._limits.body_bytes

    def take(self, model: str, settings: Mapping[str, str], headers: Mapping[str, str], body: bytes | None) -> None:
        """Take an event.

        :param model: whose service sends it, as its address says.
        :param settings: share, texts and the like, as its address says.
        :param headers: of the event, by names in lower case.
        :param body: ``None`` where it was too large.
        :raises EventError: when it is none of KServe's, or of no model here.
        """
        kind, event_id = headers.get("ce-type"), headers.get("ce-id", "")
        if kind not in (REQUEST, RESPONSE):
            raise EventError("ce-type is none of KServe's logger")
        if not 0 < len(event_id) <= _MOST_ID_CHARACTERS:
            raise EventError("ce-id is missing or too long")
        if not _MODEL.fullmatch(model) or not (self._store / model).is_dir():
            raise EventError("no such model has a folder in the store")
        recorder = self._recorder(model, settings)
        if headers.get("ce-inferenceservicename", model) != model:
            self.counts["candidates"] += 1  # a service of a release, which users do not call
        elif event_id.startswith(OPT_OUT_ID):
            self.counts["opted_out"] += 1
        elif body is None:
            self.counts["too_large"] += 1
        else:
            half = _Half(kind == REQUEST, body, _moment(headers.get("ce-time")), time.monotonic())
            if pair := self.halves.join((model, event_id), half):
                self._capture(recorder, event_id, *pair)

    def numbers(self) -> list[tuple[str, int]]:
        """Return what became of events: outcome, number."""
        total = Counter(self.counts)
        for recorder in self._recorders.values():
            total.update(dict(recorder.counts.items()))
        return sorted([*total.items(), ("halves_lost", self.halves.lost), ("restarts", self._feed.restarts)])

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, within a time."""
        self._feed.close(timeout_seconds)

    def _capture(self, recorder: Recorder, event_id: str, request: _Half, answer: _Half) -> None:
        if not recorder.wants():
            return
        latency = 1000 * (answer.at - request.at).total_seconds() if answer.at and request.at else None
        recorder.offer(
            Exchange(
                id=request_id(event_id),
                at=time.time(),
                version=None,  # as the answer says
                protocol="v2" if b'"inputs"' in request.body else "v1",
                latency_ms=latency,
                request=request.body,
                answer=answer.body,
            )
        )

    def _recorder(self, model: str, settings: Mapping[str, str]) -> Recorder:
        settings = _known(settings)
        key = (model, tuple(sorted(settings.items())))
        if key not in self._recorders:
            try:
                found = ServedCapture.model_validate({**settings, "store": file_uri(self._store / model)})
            except ValidationError as error:
                raise EventError(f"the address is wrong: {problems(error, 'capture')}") from None
            if len(self._recorders) >= _MOST_RECORDERS:
                raise EventError(f"there are {_MOST_RECORDERS} models and settings already: start the receiver anew")
            self._recorders[key] = Recorder(found, model=model, producer="kserve", feed=self._feed)
        return self._recorders[key]


def _known(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings of an address; it cannot name another store."""
    return {name: value for name, value in settings.items() if name in ("share", "texts", "max_megabytes")}


def _moment(text: str | None) -> datetime | None:
    """Return an event's time, which Go writes with nanoseconds."""
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text or ""))
    except ValueError:
        return None
    return found if found.tzinfo else None


def application(receiver: Receiver) -> Any:
    """Return the ASGI application: events at ``/<model>``, ``/metrics`` and ``/ready``."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def event(request: Request) -> PlainTextResponse:
        body: bytearray | None = bytearray()
        async for chunk in request.stream():  # to its end, or KServe would take it for undelivered
            if body is not None:
                body += chunk
                body = None if len(body) > receiver.body_bytes else body
        try:
            receiver.take(
                request.path_params["model"],
                dict(request.query_params),
                request.headers,
                None if body is None else bytes(body),
            )
        except EventError as error:
            receiver.counts["refused"] += 1
            return PlainTextResponse(f"{error}\n", 400)
        return PlainTextResponse("")

    async def metrics(request: Request) -> PlainTextResponse:
        name = "captured_requests_total"
        lines = [f"# HELP {name} What became of requests and events.", f"# TYPE {name} counter"]
        lines += [f'{name}{{outcome="{outcome}"}} {number}' for outcome, number in receiver.numbers()]
        lines += ["# TYPE captured_requests_halves gauge", f"captured_requests_halves {len(receiver.halves)}"]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def ready(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/metrics", metrics, methods=["GET"]),
            Route("/ready", ready, methods=["GET"]),
            Route("/{model}", event, methods=["POST"]),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line, until SIGTERM."""
    import uvicorn

    parser = argparse.ArgumentParser(
        prog="python -m include.capture.receiver", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--store", type=Path, required=True, help="folder with the models' folders")
    parser.add_argument("--host", default="0.0.0.0", help="(%(default)s)")  # noqa: S104  pods send to it
    parser.add_argument("--port", type=int, default=8080, help="(%(default)s)")
    options = parser.parse_args(arguments)
    receiver = Receiver(options.store.resolve())
    try:
        uvicorn.run(
            application(receiver), host=options.host, port=options.port, log_level="warning", access_log=False,
            server_header=False, limit_concurrency=500,
        )  # fmt: skip
    finally:
        receiver.close()


if __name__ == "__main__":
    main()
