"""A request to the API server, read: which resource, which object, which verb."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from tests.doubles.kubernetes.errors import bad_request, no_such_resource
from tests.doubles.kubernetes.resources import NAMESPACES, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names.

    :param name: empty for a collection.
    :param rest: what follows the name: a subresource, or the path behind a proxy.
    """

    resource: Resource
    namespace: str
    name: str
    rest: tuple[str, ...]

    @property
    def subresource(self) -> str:
        return self.rest[0] if self.rest else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request, unpacked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "application/json").split(";")[0].strip()

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    def number(self, name: str) -> int | None:
        """:raises ApiError: 400 when it is there and no number."""
        try:
            return int(self.query[name]) if self.query.get(name) else None
        except ValueError:
            raise bad_request(f"invalid value for {name}: {self.query[name]}") from None

    def content(self) -> Any:
        """:raises ApiError: 400 when the body cannot be read."""
        if not self.body:
            return None
        try:
            return yaml.safe_load(self.body) if "yaml" in self.content_type else json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None

    @property
    def manager(self) -> str:
        """Who writes: the field manager asked for, or the first word of the user agent."""
        return self.query.get("fieldManager") or self.headers.get("user-agent", "unknown").split("/")[0]


def find_target(path: str, resources: list[Resource]) -> Target:
    """Return what a path names.

    :raises ApiError: 404 for a resource that the server does not have.
    """
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        group, version, rest = "", parts[1] if len(parts) > 1 else "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_resource()
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    for resource in resources:
        if (resource.group, resource.version, resource.plural) == (group, version, rest[0] if rest else ""):
            name = rest[1] if len(rest) > 1 else ""
            if resource == NAMESPACES:
                namespace = ""
            return Target(resource=resource, namespace=namespace, name=name, rest=tuple(rest[2:]))
    raise no_such_resource()
