"""The paths of the server: KServe's V1, the Open Inference Protocol (V2), TorchServe's raw one, health and description.

There is none that changes anything: whoever could load a model could load code.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from uuid import uuid4

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.classifier.native import refusals
from include.classifier.native.bodies import ClientGoneError
from include.classifier.native.description import NAME, described, metadata, page
from include.classifier.native.metrics import CONTENT_TYPE, Metrics
from include.classifier.native.predictions import Predictions, log_place
from include.classifier.native.refusals import Refusal
from include.classifier.native.served import State

_JSON = "application/json"
_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

#: Of every answer, as TorchServe gives them: an answer belongs to one request alone.
_HEADERS = {
    "Pragma": "no-cache",
    "Cache-Control": "no-cache; no-store, must-revalidate, private",
    "Expires": "Thu, 01 Jan 1970 00:00:00 UTC",
}


def application(state: State, predictions: Predictions, metrics: Metrics, *, with_numbers: bool = False) -> ASGIApp:
    """Return the server of the predictions.

    :param with_numbers: whether it has the numbers as well, because there is no port for them.
    """
    paths = _Paths(state, predictions, metrics)
    v1, v2, raw = "/v1/models/{model:name}", "/v2/models/{model:name}", "/predictions/{model:name}"
    at_version = "/versions/{version}"
    post, get = ["POST"], ["GET"]
    routes = [
        Route(f"{v1}:predict", paths.predict("v1"), methods=post),
        Route(f"{v2}/infer", paths.predict("v2"), methods=post),
        Route(f"{v2}{at_version}/infer", paths.predict("v2"), methods=post),
        Route(raw, paths.predict("raw"), methods=post),
        Route(f"{raw}/{{version}}", paths.predict("raw"), methods=post),
        Route("/v1/models", _always({"models": [state.model.name]}), methods=get),
        Route(v1, paths.model_ready, methods=get),
        Route("/v2", paths.server, methods=get),
        Route(v2, paths.metadata, methods=get),
        Route(f"{v2}{at_version}", paths.metadata, methods=get),
        Route(f"{v2}/ready", paths.model_ready, methods=get),
        Route(f"{v2}{at_version}/ready", paths.model_ready, methods=get),
        Route("/v2/health/live", _always({"live": True}), methods=get),
        Route("/v2/health/ready", paths.ready, methods=get),
        Route("/ping", _always({"status": "Healthy"}), methods=get),
        Route("/openapi.json", paths.description, methods=get),
        Route("/docs", paths.documentation, methods=get),
    ]
    if with_numbers:
        routes.append(_numbers(metrics))
    handlers: dict[Any, Any] = {
        Refusal: _refuse,
        HTTPException: _refuse_path,
        ClientGoneError: _say_nothing,
        Exception: _fail,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return _Answering(app, state)


class _Name(Convertor[str]):
    """A model's name in a path: not what stands behind its colon, which would make of the wrong method another name."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _Name())


class _Paths:
    """What is answered at the paths that are not always answered alike."""

    def __init__(self, state: State, predictions: Predictions, metrics: Metrics) -> None:
        self._state = state
        self._predictions = predictions
        self._metrics = metrics

    def predict(self, route: str) -> _Endpoint:
        """Return what answers predictions.

        :param route: as the numbers call it.
        """

        async def endpoint(request: Request) -> Response:
            self._check_model(request)
            began, status = time.monotonic(), 500
            capture = self._state.capture
            try:
                body = await self._predictions.answer(
                    request.headers,
                    request.receive,
                    version=request.path_params.get("version"),
                    note=capture.note_of(request.scope, route, self._state.model.version, began) if capture else None,
                )
                status = 200
            except Refusal as refusal:
                status = refusal.status
                raise
            except ClientGoneError:
                status = 499
                raise
            finally:
                self._metrics.add_request(route, status, time.monotonic() - began)
            return Response(body, media_type=_JSON)

        return endpoint

    async def model_ready(self, request: Request) -> Response:
        self._check_model(request)
        return self._readiness({"name": self._state.model.name})

    async def ready(self, request: Request) -> Response:
        return self._readiness({})

    async def metadata(self, request: Request) -> Response:
        self._check_model(request)
        return JSONResponse(metadata(self._state.model))

    async def documentation(self, request: Request) -> Response:
        return HTMLResponse(page(self._state.model.name, self._state.model.version))

    async def description(self, request: Request) -> Response:
        return JSONResponse(described(self._state.model.name, self._state.model.version))

    async def server(self, request: Request) -> Response:
        return JSONResponse({"name": NAME, "version": self._state.model.version, "extensions": []})

    def _readiness(self, about: Mapping[str, Any]) -> Response:
        is_ready = not self._state.is_draining
        return JSONResponse({**about, "ready": is_ready}, 200 if is_ready else 503)

    def _check_model(self, request: Request) -> None:
        self._state.model.check(request.path_params["model"], request.path_params.get("version"))


def _always(content: Mapping[str, Any]) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(content)

    return endpoint


def metrics_application(metrics: Metrics) -> ASGIApp:
    """Return the server of the numbers, which has a port of its own."""
    return Starlette(routes=[_numbers(metrics)])


def _numbers(metrics: Metrics) -> Route:
    async def numbers(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return Route("/metrics", numbers, methods=["GET"])


async def _refuse(request: Request, refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, refusal.headers, media_type=_JSON)


async def _refuse_path(request: Request, error: HTTPException) -> Response:
    """Answer where Starlette found no path, or not this method at it."""
    if error.status_code == 405:
        return await _refuse(
            request, refusals.wrong_method(", ".join(sorted((error.headers or {}).get("Allow", "").split(", "))))
        )
    return await _refuse(request, refusals.not_found())


async def _say_nothing(request: Request, error: Exception) -> None:
    """Leave a request unanswered of which the client is gone."""


async def _fail(request: Request, error: Exception) -> Response:
    return await _refuse(request, refusals.failed())


class _Answering:
    """Gives each answer its headers, and logs where the server itself fails, without what a client sent."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                # Of a request that is captured it is the one by which it is known there.
                headers["x-request-id"] = scope.get("request_id") or str(uuid4())
                if self._state.is_draining:
                    # Whoever keeps the connection is told to take another server next time.
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # It has been answered; uvicorn would log its message, which may repeat a text.
            log_place("The server failed on a request", error)
