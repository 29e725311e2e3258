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
_JSON_HEADER = (b"content-type", _JSON.encode())
_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

#: Of every answer, as TorchServe gives them: an answer belongs to one request alone.
_HEADERS = (
    (b"pragma", b"no-cache"),
    (b"cache-control", b"no-cache; no-store, must-revalidate, private"),
    (b"expires", b"Thu, 01 Jan 1970 00:00:00 UTC"),
)


def application(state: State, predictions: Predictions, metrics: Metrics, *, with_numbers: bool = False) -> ASGIApp:
    """Return the server of the predictions.

    :param with_numbers: whether it has the numbers as well, because there is no port for them.
    """
    paths, name = _Paths(state), state.model.name
    v1, v2, raw = "/v1/models/{model:name}", "/v2/models/{model:name}", "/predictions/{model:name}"
    at_version = "/versions/{version}"
    post, get = ["POST"], ["GET"]
    of_v1, of_v2, of_raw = (_Predicting(route, state, predictions, metrics) for route in ("v1", "v2", "raw"))
    routes = [
        Route(f"{v1}:predict", of_v1, methods=post),
        Route(f"{v2}/infer", of_v2, methods=post),
        Route(f"{v2}{at_version}/infer", of_v2, methods=post),
        Route(raw, of_raw, methods=post),
        Route(f"{raw}/{{version}}", of_raw, methods=post),
        Route("/v1/models", _always({"models": [name]}), methods=get),
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
    handlers: dict[Any, Any] = {Refusal: _refuse, HTTPException: _refuse_path, Exception: _fail}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    # What is asked all the time does not go through Starlette, which takes longer than all that is done for it here.
    short_cuts = {
        f"/v1/models/{name}:predict": of_v1,
        f"/v2/models/{name}/infer": of_v2,
        f"/predictions/{name}": of_raw,
    }
    return _Answering(app, short_cuts, state)


class _Name(Convertor[str]):
    """A model's name in a path: not what stands behind its colon, which would make of the wrong method another name."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _Name())


class _Predicting:
    """Answers predictions at the paths of one protocol.

    :param route: as the numbers call it.
    """

    def __init__(self, route: str, state: State, predictions: Predictions, metrics: Metrics) -> None:
        self._route = route
        self._state = state
        self._predictions = predictions
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        model, version = self._state.model, None
        if at := scope.get("path_params"):
            model.check(at["model"], version := at.get("version"))
        began, status, headers = time.monotonic(), 500, [_JSON_HEADER]
        capture = self._state.capture
        try:
            body = await self._predictions.answer(
                _headers(scope),
                receive,
                version=version,
                note=capture.note_of(scope, self._route, model.version, began) if capture else None,
            )
            status = 200
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
            headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        except ClientGoneError:
            status = 499
            return
        finally:
            self._metrics.add_request(self._route, status, time.monotonic() - began)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by their names in lower case, the first of several of one name."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


class _Paths:
    """What is answered at the other paths that are not always answered alike."""

    def __init__(self, state: State) -> None:
        self._state = state

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


async def _fail(request: Request, error: Exception) -> Response:
    return await _refuse(request, refusals.failed())


class _Answering:
    """Gives each answer its headers, and logs where the server itself fails, without what a client sent.

    :param short_cuts: what answers a POST at these paths, beside the application.
    """

    def __init__(self, app: ASGIApp, short_cuts: Mapping[str, ASGIApp], state: State) -> None:
        self._app = app
        self._short_cuts = short_cuts
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = message["headers"]
                headers += _HEADERS
                # Of a request that is captured it is the one by which it is known there.
                headers.append((b"x-request-id", (scope.get("request_id") or str(uuid4())).encode()))
                if self._state.is_draining and all(name != b"connection" for name, _ in headers):
                    # Whoever keeps the connection is told to take another server next time.
                    headers.append((b"connection", b"close"))
            await send(message)

        short_cut = self._short_cuts.get(scope["path"]) if scope["method"] == "POST" else None
        try:
            await (short_cut or self._app)(scope, receive, answer)
        except Exception as error:  # uvicorn would log its message, which may repeat a text.
            log_place("The server failed on a request", error)
            if not has_begun:  # else it has been answered
                await Response(refusals.failed().body, 500, media_type=_JSON)(scope, receive, answer)
