"""Troubles that a test asks for. A real cluster has them too, but not when asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.doubles.kubernetes.errors import ApiError

UNSCHEDULABLE = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption "
UNSCHEDULABLE += "victims found for incoming pod."


@dataclass(slots=True)
class HttpFault:
    """Answers the next requests of a kind with an error.

    :param status: of the answer; 0 closes the connection before the request is looked at, -1 after it was carried out.
    """

    method: str
    path: str
    status: int
    times: int
    body: str = ""
    content_type: str = "application/json"


#: Group, resource and verb, as a Role names them.
Right = tuple[str, str, str]


class Faults:
    """What shall go wrong, by the name of the pod (shell pattern) or the request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods: list[tuple[str, str, str]] = []
        self._http: list[HttpFault] = []
        self._forbidden: list[tuple[str, str]] = []
        self._granted: frozenset[Right] | None = None
        #: What clients have asked for since the server was started.
        self.asked: set[Right] = set()

    def unschedulable(self, pod: str = "*", message: str = UNSCHEDULABLE) -> None:
        """No node has room for the pod, until :meth:`heal`."""
        self._pods.append(("unschedulable", pod, message))

    def out_of_memory(self, pod: str = "*") -> None:
        """The kernel kills the pod's containers as soon as they run."""
        self._pods.append(("out_of_memory", pod, "OOMKilled"))

    def over_quota(self, pod: str = "*", message: str = "") -> None:
        """The namespace's quota has no room for the pod: creating it is refused."""
        message = message or "exceeded quota: compute, requested: memory=4Gi, used: memory=8Gi, limited: memory=8Gi"
        self._pods.append(("over_quota", pod, message))

    def forbid(self, verb: str, resource: str) -> None:
        """RBAC does not let the client do this: ``forbid("create", "pods")``. ``*`` stands for every verb."""
        self._forbidden.append((verb, resource))

    def allow_only(self, rights: Iterable[Right]) -> None:
        """RBAC lets the client do this and nothing else."""
        self._granted = frozenset(rights)

    def http(
        self, method: str, path: str, *, status: int, times: int = 1, body: str = "", content_type: str = "text/plain"
    ) -> None:
        """Answer the next ``times`` requests whose path contains ``path`` with this status (see :class:`HttpFault`)."""
        with self._lock:
            self._http.append(HttpFault(method, path, status, times, body, content_type))

    @contextmanager
    def away(self, error: ApiError) -> Iterator[None]:
        """Answer everything with this for as long as the block lasts, as an API server that is being upgraded does."""
        fault = HttpFault("*", "", error.code, 10**9, json.dumps(error.status), "application/json")
        with self._lock:
            self._http.append(fault)
        try:
            yield
        finally:
            with self._lock:
                self._http.remove(fault)

    def heal(self) -> None:
        """Take every trouble away."""
        with self._lock:
            self._pods.clear()
            self._http.clear()
            self._forbidden.clear()

    # Asked by the parts of the double

    def of_pod(self, kind: str, name: str) -> str | None:
        """Return the message of the fault that a pod has, or ``None``."""
        found = (message for fault, pattern, message in self._pods if fault == kind and fnmatch(name, pattern))
        return next(found, None)

    def of_request(self, method: str, path: str) -> HttpFault | None:
        with self._lock:
            for fault in self._http:
                if fault.method in ("*", method) and fault.path in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def permits(self, verb: str, resource: str, group: str) -> bool:
        """Say whether RBAC lets the client do this."""
        is_granted = self._granted is None or (group, resource, verb) in self._granted
        return is_granted and not any(found in ("*", verb) and kind == resource for found, kind in self._forbidden)

    def check_permission(self, verb: str, resource: str, group: str, namespace: str) -> None:
        """:raises ApiError: 403 in the words of RBAC."""
        self.asked.add((group, resource, verb))
        if self.permits(verb, resource, group):
            return
        qualified = f"{resource}.{group}" if group else resource
        where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        user = "system:serviceaccount:airflow:airflow-worker"
        message = f'{qualified} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}"'
        raise ApiError(403, "Forbidden", message + where, {"group": group, "kind": resource})
