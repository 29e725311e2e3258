"""The environment and the volumes of a pod, as its processes on this machine see them.

There is no mount namespace: what is mounted stands in folders, and a mount path in commands, arguments and variables
is replaced by its folder.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.doubles.kubernetes.resources import CLAIMS, CONFIG_MAPS, SECRETS, Resource
from tests.doubles.kubernetes.store import Store

#: Of a path such as ``metadata.labels['a.b/c']``.
_FIELDS = re.compile(r"\['([^']+)'\]|([^.\[\]]+)")
_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_][A-Za-z0-9_]*)\))")


class MissingSource(Exception):
    """A secret, config map or key that a container refers to is not there."""


def missing_claim(store: Store, pod: dict[str, Any]) -> str | None:
    """Return the name of a claim that the pod mounts and that does not exist."""
    for volume in pod["spec"].get("volumes") or []:
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim and not store.find(CLAIMS, pod["metadata"]["namespace"], claim):
            return str(claim)
    return None


def make_volumes(
    store: Store, pod: dict[str, Any], *, claims: Mapping[str, Path], folder: Path
) -> tuple[dict[str, Path], str | None]:
    """Return the folder of each volume, and what keeps a volume from being mounted.

    :param claims: folders that stand for claims; a claim without one is an empty folder of the pod.
    :param folder: of the pod, for everything else.
    """
    folders: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or []:
        name = volume["name"]
        folders[name] = folder / "volumes" / name
        if claim := volume.get("persistentVolumeClaim", {}).get("claimName"):
            folders[name] = Path(claims.get(claim, folders[name]))
        folders[name].mkdir(parents=True, exist_ok=True)
        for kind, key, resource in (("secret", "secretName", SECRETS), ("configMap", "name", CONFIG_MAPS)):
            if not (source := volume.get(kind)):
                continue
            content = _content(store, resource, pod["metadata"]["namespace"], source[key])
            if content is None and not source.get("optional"):
                what = f'{resource.kind.lower()} "{source[key]}" not found'
                return folders, f'MountVolume.SetUp failed for volume "{name}" : {what}'
            for file, value in (content or {}).items():
                (folders[name] / file).write_text(value, encoding="utf-8")
    return folders, None


def mounts(container: dict[str, Any], folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return the folder behind each mount path of a container; a sub-path that is missing is made, as kubelets do."""
    found = {}
    for mount in container.get("volumeMounts") or []:
        folder = folders[mount["name"]] / mount.get("subPath", "")
        folder.mkdir(parents=True, exist_ok=True)
        found[mount["mountPath"].rstrip("/")] = folder
    return found


def environment(store: Store, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
    """Return the variables that a container's specification sets.

    :raises MissingSource: in the words of the kubelet.
    """
    namespace = pod["metadata"]["namespace"]
    values: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for key, resource in (("secretRef", SECRETS), ("configMapRef", CONFIG_MAPS)):
            if reference := source.get(key):
                content = _content(store, resource, namespace, reference["name"])
                if content is None and not reference.get("optional"):
                    raise MissingSource(f'{resource.kind.lower()} "{reference["name"]}" not found')
                values |= {source.get("prefix", "") + name: value for name, value in (content or {}).items()}
    for variable in container.get("env") or []:
        value = _value(store, pod, variable)
        if value is not None:
            values[variable["name"]] = expand(value, values)
    return values


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``, unless the name is unknown, and ``$$`` by ``$``."""
    return _REFERENCE.sub(lambda found: values.get(found[1], found[0]) if found[1] else "$", text)


def relocate(text: str, mounted: Mapping[str, Path]) -> str:
    """Replace mount paths by the folders behind them, the longest first."""
    for path in sorted(mounted, key=len, reverse=True):
        folder = str(mounted[path]).replace("\\", r"\\")
        text = re.sub(rf"{re.escape(path)}(?![\w.-])", folder, text)
    return text


def _value(store: Store, pod: dict[str, Any], variable: dict[str, Any]) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value") or "")
    if "fieldRef" in source:
        found: Any = pod
        for key in (named or plain for named, plain in _FIELDS.findall(source["fieldRef"]["fieldPath"])):
            found = found.get(key) if isinstance(found, dict) else None
        return str(found or "")
    for key, resource in (("secretKeyRef", SECRETS), ("configMapKeyRef", CONFIG_MAPS)):
        if reference := source.get(key):
            return _referred(store, resource, pod["metadata"]["namespace"], reference)
    return ""


def _referred(store: Store, resource: Resource, namespace: str, reference: dict[str, Any]) -> str | None:
    content = _content(store, resource, namespace, reference["name"])
    if content is not None and reference["key"] in content:
        return content[reference["key"]]
    if reference.get("optional"):
        return None
    if content is None:
        raise MissingSource(f'{resource.kind.lower()} "{reference["name"]}" not found')
    raise MissingSource(f"couldn't find key {reference['key']} in {resource.kind} {namespace}/{reference['name']}")


def _content(store: Store, resource: Resource, namespace: str, name: str) -> dict[str, str] | None:
    if (found := store.find(resource, namespace, name)) is None:
        return None
    data = found.get("data") or {}
    if resource == SECRETS:
        return {key: base64.b64decode(value).decode("utf-8") for key, value in data.items()}
    return dict(data)
