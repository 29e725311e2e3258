"""KServe's Standard mode: a Deployment for each predictor, updated by Kubernetes itself."""

from __future__ import annotations

import math
import time
from typing import Any

from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.kubernetes.kserve.model_status import model_status
from tests.doubles.kubernetes.kserve.settings import KServeSettings
from tests.doubles.kubernetes.kserve.templates import render
from tests.doubles.kubernetes.kserve.world import World, condition, ready, settled
from tests.doubles.kubernetes.resources import DEPLOYMENTS
from tests.doubles.kubernetes.resources import SERVICES as CORE_SERVICES
from tests.doubles.kubernetes.store import Object


class StandardMode:
    """Reconciles InferenceServices into Deployments. ``canaryTrafficPercent`` means nothing here."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: What of a service and its Deployment the model's status was made of.
        self._looked_at: dict[str, Any] = {}

    def reconcile(self, service: Object) -> Object:
        """Return the new status."""
        predictor = service["spec"]["predictor"]
        stable = deployment_name(service, predictor)
        replicas = max(predictor.get("minReplicas") or 1, 1)
        wanted = {stable: self._deploy(service, predictor, stable, replicas)}
        canaries: list[Object] = []
        for entry in service["spec"].get("canary") or []:
            own = {**predictor, **entry["predictor"]}
            name = deployment_name(service, own)
            # Its share of the replicas: none at 0 %, so that such a canary is never ready without minReplicas.
            share = entry["predictor"].get("minReplicas") or math.ceil(replicas * entry["trafficPercent"] / 100)
            wanted[name] = self._deploy(service, own, name, share)
            ready = wanted[name].get("status", {}).get("availableReplicas", 0) > 0
            canaries.append({"name": own["name"], "ready": ready, "trafficPercent": entry["trafficPercent"]})
        self._route(service, stable, canaries)
        self._remove_orphans(service, set(wanted))
        return self._status(service, stable, wanted[stable], canaries)

    def forget(self, service: Object) -> None:
        """Forget what was seen of a service."""
        self._looked_at.pop(service["metadata"]["uid"], None)

    def _deploy(self, service: Object, predictor: dict[str, Any], name: str, replicas: int) -> Object:
        template = render(self._world.store, service, predictor)
        template["metadata"]["labels"]["app"] = f"isvc.{name}"
        spec = {"strategy": predictor.get("deploymentStrategy") or {"type": "RollingUpdate"}}
        self._world.serve(service, name, {"app": f"isvc.{name}"})
        return self._world.deploy(service, name, template, replicas, **spec)

    def _remove_orphans(self, service: Object, wanted: set[str]) -> None:
        namespace, uid = service["metadata"]["namespace"], service["metadata"]["uid"]
        for resource in (DEPLOYMENTS, CORE_SERVICES):
            for entry in self._world.store.entries(resource, namespace):
                owners = entry["metadata"].get("ownerReferences") or []
                name = entry["metadata"]["name"]
                if (
                    any(owner["uid"] == uid and owner["kind"] == SERVICES.kind for owner in owners)
                    and name not in wanted
                ):
                    self._world.remove(resource, namespace, name)

    def _route(self, service: Object, stable: str, canaries: list[Object]) -> None:
        world, metadata = self._world, service["metadata"]
        namespace = metadata["namespace"]
        host = world.host(namespace, metadata["name"])
        if not world.addresses(namespace, stable) and host not in world.routes:
            return
        shares: list[tuple[str, int]] = []
        if world.settings.canary_carries_weights:
            ready = [item for item in canaries if item["ready"]]
            shares = [(f"{metadata['name']}-{item['name']}-predictor", item["trafficPercent"]) for item in ready]
        shares.append((stable, 100 - sum(percent for _, percent in shares)))
        world.route(service, {host: shares})

    def _status(self, service: Object, stable: str, deployment: Object, canaries: list[Object]) -> Object:
        world, metadata = self._world, service["metadata"]
        before, namespace = service.get("status", {}), metadata["namespace"]
        host = world.host(namespace, metadata["name"])
        predictor = _predictor_ready(deployment, world.settings)
        route = world.routes.get(host)
        ingress = condition("IngressReady", "True")
        if route is None:
            ingress = condition("IngressReady", "False", "Predictor ingress not created")
        elif world.settings.gateway_api and time.monotonic() < route.known_from - _half_the_lag(world):
            message = "HTTPRoute parents are not ready"
            ingress = condition("IngressReady", "False", "HttpRouteParentStatusNotAvailable", message)
        conditions = [predictor, ingress, ready([predictor, ingress]), condition("Stopped", "False")]
        conditions[-1]["severity"] = "Info"
        url = {"url": f"http://{stable}-{namespace}.{world.settings.domain}"}
        status = {
            **before,
            "deploymentMode": before.get("deploymentMode") or world.settings.name_of("Standard"),
            "components": {"predictor": url if predictor["status"] == "True" else {}},
            "servingRuntimeName": service["spec"]["predictor"].get("model", {}).get("runtime", ""),
            "modelStatus": self._model_status(service, stable, deployment),
            # The generation of the Deployment, which has nothing to do with that of the InferenceService.
            "observedGeneration": deployment["metadata"].get("generation", 1),
        }
        status.pop("canaryStatuses", None)
        if canaries:
            status["canaryStatuses"] = canaries
            all_ready = all(item["ready"] for item in canaries)
            reason = "AllCanariesReady" if all_ready else "CanariesNotReady"
            conditions.append(condition("CanaryPredictorReady", "True" if all_ready else "False", reason))
        status["conditions"] = settled(conditions, before.get("conditions", []))
        if route:
            status["url"] = f"http://{host}"
            status["address"] = {"url": f"http://{stable}.{namespace}.svc.cluster.local"}
        return status

    def _model_status(self, service: Object, stable: str, deployment: Object) -> Object:
        """Look at the pods when their Deployment or what loads their model has changed, which no crash brings about."""
        uid, before = service["metadata"]["uid"], service.get("status", {}).get("modelStatus", {})
        pods = self._world.pods(service["metadata"]["namespace"], stable)
        loading = [pod.get("status", {}).get("initContainerStatuses") for pod in pods]
        seen = (service["spec"], deployment.get("status"), loading)
        if before and self._looked_at.get(uid) == seen:
            return dict(before)
        self._looked_at[uid] = seen
        return model_status(before, pods, serves=_is_rolled_out(deployment))


def deployment_name(service: Object, predictor: dict[str, Any]) -> str:
    name = service["metadata"]["name"]
    return f"{name}-{predictor['name']}-predictor" if predictor.get("name") else f"{name}-predictor"


def _half_the_lag(world: World) -> float:
    return world.lags.route_seconds / world.clock.speed / 2


def _is_rolled_out(deployment: Object) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counted = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    return status.get("observedGeneration") == deployment["metadata"].get("generation") and counted == [wanted] * 3


def _predictor_ready(deployment: Object, settings: KServeSettings) -> Object:
    """Copy the Deployment's conditions: as long as enough old pods serve, a failing update does not show."""
    found = {item["type"]: item for item in deployment.get("status", {}).get("conditions", [])}
    available, progress = found.get("Available"), found.get("Progressing")
    if not available or not progress:
        return condition("PredictorReady", "Unknown")
    failure = found.get("ReplicaFailure")
    if available["status"] == "True":
        return condition("PredictorReady", "True", progress["reason"], progress["message"])
    if failure:
        return condition("PredictorReady", "False", failure["reason"], failure["message"])
    if progress["status"] == "False":
        return condition("PredictorReady", "False", progress["reason"], progress["message"])
    if progress["reason"] == "ReplicaSetUpdated" and settings.number >= (0, 21):
        return condition("PredictorReady", "Unknown", progress["reason"], progress["message"])
    return condition("PredictorReady", "False", available["reason"], available["message"])
