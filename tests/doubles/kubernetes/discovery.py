"""What the server says that it has: versions, groups, resources."""

from __future__ import annotations

from typing import Any

from tests.doubles.kubernetes.resources import Resource

VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.1",
    "gitCommit": "93248f9ae092f571eb870b7664c534bfc7d00f03",
    "gitTreeState": "clean",
    "buildDate": "2025-09-09T19:38:33Z",
    "goVersion": "go1.24.6",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def discover(path: str, resources: list[Resource]) -> dict[str, Any] | None:
    """Return the document that a path names, or ``None`` when it names none."""
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups: dict[str, set[str]] = {}
    for resource in resources:
        if resource.group:
            groups.setdefault(resource.group, set()).add(resource.version)
    if path == "/apis":
        listed = [_group(name, versions) for name, versions in sorted(groups.items())]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    if path.startswith("/apis/") and path.removeprefix("/apis/") in groups:
        name = path.removeprefix("/apis/")
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, groups[name])}
    found = [resource for resource in resources if resource.root == path]
    if not found:
        return None
    entries = [entry for resource in found for entry in _entries(resource)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].api_version,
        "resources": entries,
    }


def describe(path: str, definitions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what OpenAPI says of the custom resources of a group, ``None`` where the path names none.

    :param definitions: of all custom resources.
    """
    group, _, version = path.removeprefix("/openapi/v3/apis/").partition("/")
    schemas: dict[str, Any] = {}
    for spec in (each["spec"] for each in definitions if each["spec"]["group"] == group):
        for served in (each for each in spec["versions"] if each["name"] == version):
            kind = spec["names"]["kind"]
            name = ".".join([*reversed(group.split(".")), version, kind])
            kinds = [{"group": group, "kind": kind, "version": version}]
            schemas[name] = {**served["schema"]["openAPIV3Schema"], "x-kubernetes-group-version-kind": kinds}
    if not schemas:
        return None
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes"}, "paths": {}, "components": {"schemas": schemas}}


def _group(name: str, versions: set[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in sorted(versions)]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _entries(resource: Resource) -> list[dict[str, Any]]:
    described = resource.described()
    status = {**described, "name": f"{resource.plural}/status", "verbs": ["get", "patch", "update"]}
    return [described, status] if resource.has_status else [described]
