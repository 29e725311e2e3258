"""What both modes need: Deployments for predictors, the pods behind them, and where those answer."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.kubernetes.clock import Clock, Lags, timestamp
from tests.doubles.kubernetes.deployments import is_ready, pods_of, reference
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.kubernetes.kserve.settings import KServeSettings
from tests.doubles.kubernetes.kserve.templates import CONTAINER
from tests.doubles.kubernetes.kubelet import Kubelet
from tests.doubles.kubernetes.resources import DEPLOYMENTS, PODS, Resource
from tests.doubles.kubernetes.resources import SERVICES as CORE_SERVICES
from tests.doubles.kubernetes.store import Object, Store


@dataclass(slots=True)
class Route:
    """Where the requests of a host go: Deployments with their shares of the traffic."""

    namespace: str
    shares: list[tuple[str, int]]
    #: Real time from which the gateway knows the route; before that it answers 404, and 503 shortly before.
    known_from: float = 0.0
    waits: bool = False


@dataclass(slots=True)
class World:
    """The parts of the cluster that a KServe controller works on."""

    store: Store
    clock: Clock
    lags: Lags
    kubelet: Kubelet
    settings: KServeSettings
    routes: dict[str, Route] = field(default_factory=dict)

    # Deployments

    def deploy(self, service: Object, name: str, template: Object, replicas: int, **spec: Any) -> Object:
        """Make a Deployment, or bring it up to date."""
        namespace = service["metadata"]["namespace"]
        labels = template["metadata"]["labels"]
        chosen = {key: labels[key] for key in ("app", "serving.knative.dev/revision") if key in labels}
        wanted = {"replicas": replicas, "selector": {"matchLabels": chosen}, "template": template, **spec}
        if self.store.find(DEPLOYMENTS, namespace, name) is None:
            entry = {
                "metadata": {
                    "name": name,
                    "labels": dict(template["metadata"]["labels"]),
                    "annotations": dict(template["metadata"]["annotations"]),
                    "ownerReferences": [reference(SERVICES, service)],
                },
                "spec": wanted,
            }
            return self.store.create(DEPLOYMENTS, entry, namespace)
        changed = self.store.change(DEPLOYMENTS, namespace, name, lambda entry: entry.update(spec=wanted))
        assert changed is not None
        return changed

    def deployment(self, namespace: str, name: str) -> Object | None:
        return self.store.find(DEPLOYMENTS, namespace, name)

    def remove_deployment(self, namespace: str, name: str) -> None:
        self.remove(DEPLOYMENTS, namespace, name)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        with contextlib.suppress(ApiError):
            self.store.delete(resource, namespace, name)

    def pods(self, namespace: str, deployment: str) -> list[Object]:
        found = self.deployment(namespace, deployment)
        return pods_of(self.store, found) if found else []

    def addresses(self, namespace: str, deployment: str) -> list[tuple[str, int]]:
        """Return where the ready pods of a Deployment answer."""
        return [address for pod in self.pods(namespace, deployment) for address in self._listens(pod)]

    def _listens(self, pod: Object) -> list[tuple[str, int]]:
        run = self.kubelet.run_of(pod) if is_ready(pod) else None
        container = run.find_container(CONTAINER) if run else None
        execution = container.execution if container else None
        return list(execution.addresses.values())[:1] if execution else []

    # Services of the core API, which the API server's proxy goes through

    def serve(self, service: Object, name: str, selector: dict[str, str]) -> None:
        """Make a Service in front of pods; without a selector an ExternalName, which has no endpoints."""
        namespace = service["metadata"]["namespace"]
        spec: Object = {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
        if not selector:
            spec = {"type": "ExternalName", "externalName": "knative-local-gateway.istio-system.svc.cluster.local"}
        if self.store.find(CORE_SERVICES, namespace, name):
            self.store.change(CORE_SERVICES, namespace, name, lambda entry: entry.update(spec=spec))
            return
        metadata = {"name": name, "ownerReferences": [reference(SERVICES, service)]}
        self.store.create(CORE_SERVICES, {"metadata": metadata, "spec": spec}, namespace)

    def endpoint(self, namespace: str, service: str) -> tuple[str, int] | None:
        """Return where a service (``name``, ``name:port``) answers, for the API server's proxy."""
        found = self.store.find(CORE_SERVICES, namespace, service.split(":")[0])
        selector = ((found or {}).get("spec", {}).get("selector") or {}).items()
        for pod in self.store.entries(PODS, namespace) if selector else []:
            going = pod["metadata"].get("deletionTimestamp")
            if selector <= (pod["metadata"].get("labels") or {}).items() and not going and (at := self._listens(pod)):
                return at[0]
        return None

    # The gateway

    def host(self, namespace: str, name: str) -> str:
        return f"{name}-{namespace}.{self.settings.domain}"

    def route(self, service: Object, hosts: dict[str, list[tuple[str, int]]], *, waits: bool = False) -> None:
        """Let the gateway send the requests of these hosts, and of no others, to the service's Deployments.

        A host that is new is known to the gateway only after a while.
        """
        known_from = time.monotonic() + self.lags.route_seconds / self.clock.speed
        namespace = service["metadata"]["namespace"]
        for host, shares in hosts.items():
            self.routes.setdefault(host, Route(namespace, shares, known_from, waits)).shares = shares
        name = service["metadata"]["name"]
        own, predictor = self.host(namespace, name), self.host(namespace, f"{name}-predictor")
        for host in list(self.routes):
            if host not in hosts and (host in (own, predictor) or host.endswith(f"-{predictor}")):
                del self.routes[host]


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    entry = {"type": kind, "status": status, "lastTransitionTime": timestamp()}
    return entry | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def ready(dependents: list[Object]) -> Object:
    """Return the condition Ready, which copies the last of these that is False, else the first that is not True."""
    false = [entry for entry in dependents if entry["status"] == "False"]
    others = [entry for entry in dependents if entry["status"] != "True"]
    return {**(false[-1:] or others or [condition("", "True")])[0], "type": "Ready"}


def settled(conditions: list[Object], before: list[Object]) -> list[Object]:
    """Return conditions in the order of their names, with the time since when each has its status."""
    known = {(entry["type"], entry["status"]): entry for entry in before}
    for entry in conditions:
        if found := known.get((entry["type"], entry["status"])):
            entry["lastTransitionTime"] = found["lastTransitionTime"]
    return sorted(conditions, key=lambda entry: str(entry["type"]))
