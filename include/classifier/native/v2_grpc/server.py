"""The server of the gRPC service: on the event loop, the queue and the model of the HTTP server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

import grpc
import grpc.aio

from include.classifier.native import refusals
from include.classifier.native.bodies import MAX_BODY_BYTES
from include.classifier.native.description import NAME, metadata
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import Reading, ServedModel
from include.classifier.native.predictions import Predictions, log_place
from include.classifier.native.refusals import Refusal
from include.classifier.native.served import State
from include.classifier.native.v2_grpc.messages import SERVICE, message_class
from include.classifier.native.v2_grpc.tensors import read_message, tensors_of, write_message

#: HTTP status -> what gRPC calls it. 413 is what gRPC itself says to a message that is too large.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
#: What gRPC's clients read as ``Retry-After``, in milliseconds.
_RETRY_AFTER = "grpc-retry-pushback-ms"

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BODY_BYTES),
    # Or two servers would share a port that one of them had taken by mistake.
    ("grpc.so_reuseport", 0),
)


class GrpcServer:
    """Answers the six calls of ``inference.GRPCInferenceService``.

    To be made in a running event loop.

    :param address: host and port to listen on; port 0: any.
    :param max_arriving: requests whose message is not whole yet.
    :raises OSError: when the port is taken.
    """

    def __init__(
        self, address: str, state: State, predictions: Predictions, metrics: Metrics, *, max_arriving: int
    ) -> None:
        self._state = state
        self._predictions = predictions
        self._metrics = metrics
        self._arriving = Arriving(max_arriving)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        try:
            self.port: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"Nothing can listen on {address}: {error}") from error

    async def start(self) -> None:
        """Listen."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take nothing new, answer what is under way, and end.

        :param grace_seconds: how long that may take.
        """
        await self._server.stop(grace_seconds)

    def _handlers(self) -> dict[str, Any]:
        calls: dict[str, Callable[[Any], dict[str, Any]]] = {
            "ServerLive": lambda request: {"live": True},
            "ServerReady": lambda request: {"ready": not self._state.is_draining},
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda request: {"name": NAME, "version": self._state.model.version},
            "ModelMetadata": self._model_metadata,
        }
        handlers = {name: _unary(name, call) for name, call in calls.items()}
        # As a stream, of which a message is read when there is room for it; to a client it looks the same.
        handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self._infer)
        return handlers

    def _model_ready(self, request: Any) -> dict[str, Any]:
        self._state.model.check(request.name, request.version or None)
        return {"ready": not self._state.is_draining}

    def _model_metadata(self, request: Any) -> dict[str, Any]:
        self._state.model.check(request.name, request.version or None)
        return metadata(self._state.model)

    async def _infer(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        began, status = time.monotonic(), 500
        try:
            message = await self._arriving.message(messages, seconds=self._predictions.served.model.response_seconds)
            capture = self._state.capture
            note = capture.note_of(_scope(context), "v2", self._state.model.version, began) if capture else None
            answer = await self._predictions.infer(message, partial(_read, message), write_message, note)
            status = 200
            return answer
        except Refusal as refusal:
            status = refusal.status
            await _refuse(context, refusal)
        except asyncio.CancelledError:
            status = 499
            self._metrics.dropped += 1
            raise
        except Exception as error:  # gRPC would log its message, which may repeat a text.
            log_place("The server failed on a request", error)
            await _refuse(context, refusals.failed())
        finally:
            self._metrics.add_request("grpc", status, time.monotonic() - began)


def _scope(context: Any) -> dict[str, Any]:
    """Return what HTTP's headers are of a call."""
    given = context.invocation_metadata() or ()
    return {"headers": [(name.encode(), value.encode()) for name, value in given if isinstance(value, str)]}


class Arriving:
    """Requests whose message is not whole yet. gRPC tells nothing of it before, so that only their number has a limit.

    Where there are more, whoever had the most time for it gives way: clients that never send theirs keep nobody out.

    :param most: of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[asyncio.Task[bytes], None] = {}

    async def message(self, messages: AsyncIterator[bytes], *, seconds: float) -> bytes:
        """Return the message of a request; empty when there is none.

        :param seconds: in which it must have come.
        :raises Refusal: 408, or 503 when it gives way.
        """
        waiting = asyncio.ensure_future(_first(messages))
        self._waiting[waiting] = None
        if len(self._waiting) > self._most:
            next(iter(self._waiting)).cancel()
        try:
            await asyncio.wait((waiting,), timeout=seconds)
            if not waiting.done():
                raise refusals.body_too_slow(seconds)
            if waiting.cancelled():
                raise refusals.busy()
            return waiting.result()
        finally:
            del self._waiting[waiting]
            waiting.cancel()


async def _first(messages: AsyncIterator[bytes]) -> bytes:
    async for message in messages:
        return message
    return b""


def _read(message: bytes, model: ServedModel) -> Reading:
    request = read_message(message)
    model.check(request.model_name, request.model_version or None)
    return model.read(tensors_of(request), "")


def _unary(name: str, call: Callable[[Any], dict[str, Any]]) -> Any:
    response = message_class(f"{name}Response")

    async def answer(request: Any, context: Any) -> Any:
        try:
            return response(**call(request))
        except Refusal as refusal:
            await _refuse(context, refusal)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=message_class(f"{name}Request").FromString,
        response_serializer=response.SerializeToString,
    )


async def _refuse(context: Any, refusal: Refusal) -> NoReturn:
    after = refusal.headers.get("Retry-After")
    trailing = ((_RETRY_AFTER, str(int(after) * 1000)),) if after else ()
    abort: Awaitable[NoReturn] = context.abort(
        _CODES.get(refusal.status, grpc.StatusCode.INTERNAL), refusal.message, trailing
    )
    await abort
    raise AssertionError("abort returned")
