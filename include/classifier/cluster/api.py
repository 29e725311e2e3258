"""The Kubernetes API, as a step reaches it from inside its own pod."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

#: Of one request, in seconds.
_TIMEOUT = 30

#: Status of a server that has too much to do; another time it may answer.
_TOO_MANY_REQUESTS = 429


class ClusterError(RuntimeError):
    """The cluster cannot be used for this; the message says why."""


class UnreachableError(ClusterError):
    """The Kubernetes API does not answer for now."""


class StepCluster:
    """The namespace that a step runs in.

    :param pod: name of the step's own pod; default: this machine's.
    :param namespace: default: the pod's own.
    :param api: the client; default: with the pod's service account.
    :cvar rights: the manifest that gives what is called here, named where a right is missing.
    """

    rights: ClassVar[str]

    def __init__(self, *, pod: str = "", namespace: str = "", api: Any = None) -> None:
        self._pod = pod or os.environ.get("KFP_POD_NAME") or socket.gethostname()
        self._namespace = namespace
        self._given = api

    @property
    def is_in_a_pod(self) -> bool:
        """Whether this process runs in a pod; whoever names a namespace says so."""
        return bool(self._namespace) or ("KUBERNETES_SERVICE_HOST" in os.environ and _OWN_NAMESPACE.exists())

    @cached_property
    def namespace(self) -> str:
        """The namespace of the step."""
        return self._namespace or _OWN_NAMESPACE.read_text(encoding="ascii").strip()

    def own_pod(self) -> dict[str, Any]:
        """Return the step's pod, which others are made after."""
        from kubernetes.client import CoreV1Api

        found = self._ask(CoreV1Api(self._api).read_namespaced_pod, self._pod, self.namespace)
        if found is None:
            raise ClusterError(f"there is no pod {self._pod} in namespace {self.namespace}, which this step should be")
        pod: dict[str, Any] = self._api.sanitize_for_serialization(found)
        return pod

    def served(self, group: str, version: str) -> set[str]:
        """Return the plural names of what the cluster has of an API; empty where it does not have that."""
        found = self._call("get_api_resources", group, version)
        return {each.name for each in found.resources} if found else set()

    @cached_property
    def _api(self) -> Any:
        from kubernetes import client, config

        if self._given is not None:
            return self._given
        config.load_incluster_config()
        return client.ApiClient()

    def _call(self, name: str, *arguments: Any, passing: tuple[int, ...] = (404,), **more: Any) -> Any:
        """Call a method of ``CustomObjectsApi``, as :meth:`_ask` does."""
        from kubernetes.client import CustomObjectsApi

        return self._ask(getattr(CustomObjectsApi(self._api), name), *arguments, passing=passing, **more)

    def _ask(self, call: Any, *arguments: Any, passing: tuple[int, ...] = (404,), **more: Any) -> Any:
        """Return what the server answers; ``None`` for a status that passes.

        :raises ClusterError: when it refuses; :class:`UnreachableError` when asking again may help.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*arguments, _request_timeout=_TIMEOUT, **more)
        except ApiException as error:
            if error.status in passing:
                return None
            kind = UnreachableError if error.status == _TOO_MANY_REQUESTS or error.status >= 500 else ClusterError
            raise kind(self._words(error)) from None
        except HTTPError as error:
            raise UnreachableError(f"the Kubernetes API does not answer ({type(error).__name__})") from None

    def _words(self, error: Any) -> str:
        try:
            said = str(json.loads(error.body)["message"])
        except (TypeError, ValueError, KeyError):
            said = f"{error.status} {error.reason}"
        if error.status == 403 and "admission webhook" not in said:
            return f"{said}. Give the run's service account the rights of deploy/{self.rights}"
        return said


def conditions(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return condition -> what is said of it, of those that are true."""
    found = (document.get("status") or {}).get("conditions") or []
    return {str(each.get("type")): each for each in found if each.get("status") == "True"}


def in_words(condition: Mapping[str, Any]) -> str:
    """Return reason and message of a condition."""
    words = (str(condition.get(key) or "").strip() for key in ("reason", "message"))
    return ": ".join(word for word in words if word) or "no reason given"
