"""KServe on Knative: revisions, and the traffic between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.doubles.kubernetes.deployments import template_hash
from tests.doubles.kubernetes.kserve.model_status import model_status
from tests.doubles.kubernetes.kserve.templates import QUEUE_PROXY_IMAGE, render
from tests.doubles.kubernetes.kserve.world import World, condition, settled
from tests.doubles.kubernetes.store import Object

TAG_ROUTING = "serving.kserve.io/enable-tag-routing"


@dataclass(slots=True)
class Revision:
    """A pod template that Knative keeps.

    :param failure: reason and message why it is not ready; empty while it may become so.
    """

    name: str
    digest: str
    template: Object
    replicas: int
    was_ready: bool = False
    failure: tuple[str, str] = ("", "")

    @property
    def deployment(self) -> str:
        return f"{self.name}-deployment"


class KnativeMode:
    """Reconciles InferenceServices into revisions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._revisions: dict[str, list[Revision]] = {}

    def reconcile(self, service: Object) -> Object:
        """Return the new status."""
        metadata, predictor = service["metadata"], service["spec"]["predictor"]
        revisions = self._revisions.setdefault(metadata["uid"], [])
        newest = self._newest(service, predictor, revisions)
        before = (service.get("status", {}).get("components") or {}).get("predictor") or {}
        self._look(service, newest, set() if not before else {item["revisionName"] for item in before["traffic"]})
        ready = next((entry.name for entry in reversed(revisions) if entry.was_ready), "")
        component = {**before, "latestCreatedRevision": newest.name, "traffic": before.get("traffic", [])}
        if ready:
            component["latestReadyRevision"] = ready
            component["traffic"] = self._traffic(service, predictor.get("canaryTrafficPercent"), component)
            component |= _rolled_out(component)
            component["url"] = f"http://{self._world.host(metadata['namespace'], metadata['name'] + '-predictor')}"
            address = f"http://{metadata['name']}-predictor.{metadata['namespace']}.svc.cluster.local"
            component["address"] = {"url": address}
        self._route(service, component["traffic"])
        self._scale(service, revisions, newest, component["traffic"])
        return self._status(service, component, newest)

    def forget(self, service: Object) -> None:
        self._revisions.pop(service["metadata"]["uid"], None)

    # Revisions

    def _newest(self, service: Object, predictor: dict[str, Any], revisions: list[Revision]) -> Revision:
        template = render(self._world.store, service, predictor)
        replicas = max(predictor.get("minReplicas") or 0, 1)
        scale = {key: predictor.get(key) for key in ("minReplicas", "maxReplicas", "scaleTarget", "scaleMetric")}
        digest = template_hash({"template": template, "scale": scale})
        if not revisions or revisions[-1].digest != digest:
            name = f"{service['metadata']['name']}-predictor-{len(revisions) + 1:05d}"
            labels = {"serving.knative.dev/revision": name, "serving.knative.dev/service": name.rsplit("-", 1)[0]}
            template["metadata"]["labels"] |= labels
            template["spec"]["containers"].append({"name": "queue-proxy", "image": QUEUE_PROXY_IMAGE})
            revisions.append(Revision(name, digest, template, replicas))
        return revisions[-1]

    def _look(self, service: Object, revision: Revision, reachable: set[str]) -> None:
        """See whether the newest revision has become ready, or why it cannot."""
        world, namespace = self._world, service["metadata"]["namespace"]
        image = revision.template["spec"]["containers"][0]["image"]
        if image not in world.kubelet.images:
            why = f'Unable to fetch image "{image}": failed to resolve image to digest: GET https://registry.example.com/v2/'
            revision.failure = ("ContainerMissing", f"{why}: MANIFEST_UNKNOWN: manifest unknown")
            return
        deployment = world.deployment(namespace, revision.deployment)
        if not deployment:
            return
        status = deployment.get("status", {})
        if status.get("availableReplicas", 0) >= revision.replicas:
            revision.was_ready, revision.failure = True, ("", "")
        elif revision.name not in reachable or not revision.was_ready:
            revision.failure = _failure(status, world.pods(namespace, revision.deployment))

    def _scale(self, service: Object, revisions: list[Revision], newest: Revision, traffic: list[Object]) -> None:
        """Run what traffic can reach, and the newest while it may become ready. The rest is scaled to zero."""
        world = self._world
        reachable = {item["revisionName"] for item in traffic}
        for revision in revisions:
            if revision.failure[0] == "ContainerMissing":
                continue
            runs = revision.name in reachable or revision is newest
            if runs or world.deployment(service["metadata"]["namespace"], revision.deployment):
                world.deploy(service, revision.deployment, revision.template, revision.replicas if runs else 0)
            world.serve(service, f"{revision.name}-private", {"serving.knative.dev/revision": revision.name})
        world.serve(service, service["metadata"]["name"], {})

    # Traffic

    def _traffic(self, service: Object, percent: int | None, component: Object) -> list[Object]:
        ready, rolled_out = component["latestReadyRevision"], component.get("latestRolledoutRevision", "")
        latest: Object = {"revisionName": ready, "latestRevision": True, "percent": 100}
        targets = [latest]
        if percent is not None and percent < 100 and rolled_out:
            latest["percent"] = percent
            targets.append(
                {"revisionName": rolled_out, "latestRevision": False, "percent": 100 - percent, "tag": "prev"}
            )
        if (service["metadata"].get("annotations") or {}).get(TAG_ROUTING) == "true":
            latest["tag"] = "latest"
        metadata = service["metadata"]
        for target in targets:
            if "tag" in target:
                name = f"{target['tag']}-{metadata['name']}-predictor"
                target["url"] = f"http://{self._world.host(metadata['namespace'], name)}"
        return targets

    def _route(self, service: Object, traffic: list[Object]) -> None:
        """Tell the gateway about the service's hosts and those of its tags."""
        world, metadata = self._world, service["metadata"]
        shares = [(f"{item['revisionName']}-deployment", item["percent"]) for item in traffic]
        hosts = {}
        for suffix in ("", "-predictor") if shares else ():
            hosts[world.host(metadata["namespace"], metadata["name"] + suffix)] = shares
        for item in traffic:
            if url := item.get("url"):
                hosts[url.removeprefix("http://")] = [(f"{item['revisionName']}-deployment", 100)]
        world.route(service, hosts, waits=True)

    # Status

    def _status(self, service: Object, component: Object, newest: Revision) -> Object:
        metadata, world = service["metadata"], self._world
        before = service.get("status", {})
        is_ready = newest.was_ready and not newest.failure[0]
        configuration = condition("PredictorConfigurationReady", "True" if is_ready else "Unknown")
        if newest.failure[0]:
            message = f'Revision "{newest.name}" failed with message: {newest.failure[1]}.'
            configuration = condition("PredictorConfigurationReady", "False", "RevisionFailed", message)
        route = condition("PredictorRouteReady", "True")
        if not component["traffic"]:
            message = f'Configuration "{metadata["name"]}-predictor" does not have any ready Revision.'
            reason = (
                ("False", "RevisionMissing", message) if newest.failure[0] else ("Unknown", "RevisionMissing", message)
            )
            route = condition("PredictorRouteReady", *reason)
        worst = min((configuration, route), key=lambda entry: ("False", "Unknown", "True").index(entry["status"]))
        ingress = condition("IngressReady", "True")
        if not component["traffic"]:
            ingress = condition("IngressReady", "False", "Predictor ingress not created")
        ready = worst if worst["status"] != "True" else ingress
        conditions = [
            configuration,
            {**configuration, "type": "LatestDeploymentReady"},
            route,
            {**route, "type": "RoutesReady"},
            {**worst, "type": "PredictorReady"},
            ingress,
            {**ready, "type": "Ready"},
        ]
        pods = world.pods(metadata["namespace"], newest.deployment)
        status = {
            **before,
            "deploymentMode": before.get("deploymentMode") or world.settings.name_of("Knative"),
            "conditions": settled(conditions, before.get("conditions", [])),
            "components": {"predictor": component},
            "modelStatus": model_status(before.get("modelStatus", {}), pods, serves=is_ready, revision=newest.name),
            # The generation of the Knative service, which has nothing to do with that of the InferenceService.
            "observedGeneration": int(newest.name.rsplit("-", 1)[1]),
        }
        if component["traffic"]:
            status["url"] = f"http://{world.host(metadata['namespace'], metadata['name'])}"
            status["address"] = {"url": f"http://{metadata['name']}.{metadata['namespace']}.svc.cluster.local"}
        return status


def _rolled_out(component: Object) -> Object:
    """Return which revisions had all the traffic last, and before that.

    When the revision that is rolled out gets less than all of it, and there is no newer one, it is being rolled back:
    the one before counts as rolled out again.
    """
    latest = component["traffic"][0]
    ready, rolled_out = component["latestReadyRevision"], component.get("latestRolledoutRevision", "")
    previous = component.get("previousRolledoutRevision", "")
    if rolled_out != ready:
        if latest["percent"] == 100:
            return {"latestRolledoutRevision": ready, "previousRolledoutRevision": rolled_out}
    elif latest["percent"] < 100 and ready == component["latestCreatedRevision"] and previous:
        return {"latestRolledoutRevision": previous}
    return {}


def _failure(status: Object, pods: list[Object]) -> tuple[str, str]:
    """Return why a revision is not ready, as far as Knative sees it."""
    found = {item["type"]: item for item in status.get("conditions", [])}
    if (refused := found.get("ReplicaFailure")) and refused["status"] == "True":
        return str(refused["reason"]), str(refused["message"])
    if (progress := found.get("Progressing")) and progress["status"] == "False":
        return "ProgressDeadlineExceeded", "Initial scale was never achieved"
    for pod in reversed(pods):
        for scheduled in pod["status"].get("conditions") or []:
            if scheduled.get("reason") == "Unschedulable":
                return "Unschedulable", str(scheduled["message"])
        for container in pod["status"].get("containerStatuses") or []:
            ended = container["state"].get("terminated") or container["lastState"].get("terminated")
            if ended and ended["exitCode"]:
                return f"ExitCode{ended['exitCode']}", f"Container failed with: {ended.get('message', '')}"
            waiting = container["state"].get("waiting", {})
            if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"):
                return str(waiting["reason"]), str(waiting.get("message", ""))
    return "", ""
