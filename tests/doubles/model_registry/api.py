"""The calls: which path is what, and what becomes of bodies and queries."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from tests.doubles.kfp_server.transport import Request, Response
from tests.doubles.model_registry.bodies import parse_body
from tests.doubles.model_registry.errors import ApiError
from tests.doubles.model_registry.filters import matcher
from tests.doubles.model_registry.kinds import ARTIFACT, ENVIRONMENT, KINDS, MODEL, SERVICE, VERSION, Kind
from tests.doubles.model_registry.store import Row, Store

_PREFIX = re.compile(r"/api/model_registry/([^/]+)(/.*)")
_ORDERS: dict[str, Callable[[Row], int]] = {
    "CREATE_TIME": lambda row: row.created,
    "LAST_UPDATE_TIME": lambda row: row.updated,
}
#: Kind -> where its children are listed, and what they are.
_CHILDREN = {
    (MODEL.path, "versions"): (MODEL, VERSION),
    (VERSION.path, "artifacts"): (VERSION, ARTIFACT),
    (ENVIRONMENT.path, "inference_services"): (ENVIRONMENT, SERVICE),
}


class Api:
    """Answers requests.

    :param versions: of the API that there are. :param gone: that there were.
    """

    def __init__(self, store: Store, *, versions: tuple[str, ...], gone: tuple[str, ...]) -> None:
        self._store = store
        self._versions = versions
        self._gone = gone

    def answer(self, request: Request) -> Response:
        """Answer one."""
        match = _PREFIX.fullmatch(request.path)
        if match is None or match[1] not in (*self._versions, *self._gone):
            return Response(body="404 page not found\n", status=404, content_type="text/plain; charset=utf-8")
        try:
            if match[1] in self._gone:
                raise ApiError(410, f"API version {match[1]} has been removed; use v1", is_wrapped=False)
            with self._store.lock:
                return self._route(request, match[2].strip("/").split("/"))
        except ApiError as refused:
            return Response(body=refused.body(), status=refused.status)

    def _route(self, request: Request, path: list[str]) -> Response:
        kinds = {kind.path: kind for kind in KINDS} | {"artifacts": ARTIFACT}
        singles = {kind.single: kind for kind in KINDS} | {"artifact": ARTIFACT}
        if len(path) == 1 and path[0] in singles and request.method == "GET":
            return Response(body=self._store.find(singles[path[0]], request.query).document())
        if len(path) == 3 and (path[0], path[2]) in _CHILDREN:
            parent, kind = _CHILDREN[path[0], path[2]]
            return self._children(request, parent, kind, path[1])
        if path[0] not in kinds or len(path) > 2:
            return Response(body="404 page not found\n", status=404, content_type="text/plain; charset=utf-8")
        kind = kinds[path[0]]
        methods = {"GET": self._list, "POST": self._create}
        if len(path) == 2:
            found = {"GET": self._get, "PATCH": self._change}.get(request.method)
            return found(request, kind, path[1]) if found else Response(body="", status=405)
        collection = methods.get(request.method)
        return collection(request, kind) if collection else Response(body="", status=405)

    def _children(self, request: Request, parent: Kind, kind: Kind, parent_id: str) -> Response:
        if not re.fullmatch(r"\d+", parent_id):
            self._store.get(parent, parent_id)
        if request.method == "GET":
            return self._list(request, kind, parent_id)
        if request.method != "POST":
            return Response(body="", status=405)
        body = parse_body(request.body, kind, is_new=True, more=("id", kind.parent))
        if body.get("id"):  # an update, answered as if something was made
            row = self._store.get(kind, body.pop("id"))
            return Response(body=self._updated(row, kind, body), status=201)
        if kind is ARTIFACT:
            self._store.get(parent, parent_id)
        return self._made(kind, body, parent_id)

    def _get(self, request: Request, kind: Kind, row_id: str) -> Response:
        return Response(body=self._store.get(kind, row_id).document())

    def _create(self, request: Request, kind: Kind) -> Response:
        body = parse_body(request.body, kind, is_new=True)
        parent = str(body.get(kind.parent, "")) if kind.parent else ""
        if kind is SERVICE:
            self._store.get(ENVIRONMENT, parent)
        return self._made(kind, body, parent)

    def _made(self, kind: Kind, body: dict[str, Any], parent: str) -> Response:
        if kind is VERSION:
            body["registeredModelId"] = parent
        if kind is ARTIFACT:
            body.setdefault("artifactType", "model-artifact")
        if kind.default:
            body.setdefault(*kind.default)
        return Response(body=self._store.add(kind, body, parent).document(), status=201)

    def _change(self, request: Request, kind: Kind, row_id: str) -> Response:
        body = parse_body(request.body, kind, is_new=False)
        return Response(body=self._updated(self._store.get(kind, row_id), kind, body))

    def _updated(self, row: Row, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        if kind.default:
            body.setdefault(*kind.default)
        elif kind is ARTIFACT:
            body.setdefault("state", "UNKNOWN")
        properties = body.pop("customProperties", None)
        if properties is not None:
            row.properties = properties
        row.fields |= {name: value for name, value in body.items() if value is not None and name != "artifactType"}
        row.updated = self._store.now()
        return row.document()

    def _list(self, request: Request, kind: Kind, parent: str = "") -> Response:
        query = request.query
        try:
            size = int(query.get("pageSize") or 0)
        except ValueError:
            raise ApiError(400, f'strconv.ParseInt: parsing "{query["pageSize"]}": invalid syntax') from None
        sign = -1 if query.get("sortOrder") == "DESC" else 1
        order = _ORDERS.get(query.get("orderBy", ""), lambda row: row.id)

        def key(row: Row) -> tuple[int, int]:
            return (sign * order(row), sign * row.id)

        fits = matcher(query.get("filterQuery", ""))
        rows = sorted((row for row in self._store.of(kind, parent) if fits(row)), key=key)
        if token := query.get("nextPageToken"):
            last_id, value = _read_token(token)
            rows = [row for row in rows if key(row) > (sign * value, sign * last_id)]
        page = rows[:size] if size else rows
        more = f"{page[-1].id}:{order(page[-1])}" if len(page) < len(rows) else ""
        return Response(
            body={
                "items": [row.document() for row in page],
                "nextPageToken": base64.b64encode(more.encode()).decode(),
                "pageSize": size,
                "size": len(page),
            }
        )


def _read_token(token: str) -> tuple[int, int]:
    try:
        last_id, value = base64.b64decode(token, validate=True).decode().split(":")
        return int(last_id), int(value)
    except ValueError:
        raise ApiError(400, f"invalid nextPageToken: {json.dumps(token)}") from None
