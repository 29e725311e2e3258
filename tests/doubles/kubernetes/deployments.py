"""The controller of Deployments: replica sets, pods, rolling updates, and the status that says how far they are."""

from __future__ import annotations

import hashlib
import json
import math
import time
from typing import Any

from tests.doubles.kubernetes.clock import Clock, Lags, timestamp
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.events import record
from tests.doubles.kubernetes.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Resource
from tests.doubles.kubernetes.store import Object, Store

_TRIES_AGAIN_SECONDS = 1.0


class DeploymentController:
    """Keeps the pods of every Deployment as it says."""

    def __init__(self, store: Store, clock: Clock, lags: Lags) -> None:
        self._store = store
        self._clock = clock
        self._lags = lags
        self._refused: dict[str, tuple[float, str]] = {}
        self._progress: dict[str, tuple[Any, float]] = {}

    def reconcile(self) -> None:
        for deployment in self._store.entries(DEPLOYMENTS):
            self._reconcile(deployment)

    def _reconcile(self, deployment: Object) -> None:
        replica_set = self._replica_set(deployment)
        pods = pods_of(self._store, deployment)
        new = [pod for pod in pods if _owner(pod) == replica_set["metadata"]["uid"]]
        old = [pod for pod in pods if _owner(pod) != replica_set["metadata"]["uid"]]
        wanted = int(deployment["spec"].get("replicas", 1))
        surge, unavailable = _limits(deployment, wanted)
        for _ in range(min(wanted - len(new), wanted + surge - len(pods))):
            self._create_pod(deployment, replica_set)
        for pod in new[wanted:]:
            self._delete(pod)
        ready = sum(is_ready(pod) for pod in pods)
        spare = ready - (wanted - unavailable)
        for pod in old:
            # A pod that is not ready serves nobody: it goes first, as in a real cluster.
            if not is_ready(pod) or spare > 0:
                spare -= is_ready(pod)
                self._delete(pod)
        self._report(deployment, new, old)

    def _replica_set(self, deployment: Object) -> Object:
        """Return the replica set of the present template, made when there is none."""
        metadata = deployment["metadata"]
        digest = template_hash(deployment["spec"]["template"])
        name = f"{metadata['name']}-{digest}"
        found = self._store.find(REPLICA_SETS, metadata["namespace"], name)
        if found:
            return found
        labels = {**deployment["spec"]["template"]["metadata"].get("labels", {}), "pod-template-hash": digest}
        entry = {
            "metadata": {"name": name, "labels": labels, "ownerReferences": [reference(DEPLOYMENTS, deployment)]},
            "spec": {"template": deployment["spec"]["template"]},
        }
        return self._store.create(REPLICA_SETS, entry, metadata["namespace"])

    def _create_pod(self, deployment: Object, replica_set: Object) -> None:
        uid = deployment["metadata"]["uid"]
        if time.monotonic() < self._refused.get(uid, (0.0, ""))[0]:
            return
        template = deployment["spec"]["template"]
        metadata = template["metadata"]
        pod = {
            "metadata": {
                "generateName": f"{replica_set['metadata']['name']}-",
                "labels": replica_set["metadata"]["labels"],
                "annotations": metadata.get("annotations", {}),
                "ownerReferences": [reference(REPLICA_SETS, replica_set)],
            },
            "spec": json.loads(json.dumps(template["spec"])),
        }
        try:
            self._store.create(PODS, pod, deployment["metadata"]["namespace"])
            self._refused.pop(uid, None)
        except ApiError as error:
            again = time.monotonic() + _TRIES_AGAIN_SECONDS / self._clock.speed
            self._refused[uid] = (again, str(error))
            message = f"Error creating: {error}"
            record(self._store, replica_set, "FailedCreate", message, kind="Warning", source="replicaset-controller")

    def _delete(self, pod: Object) -> None:
        try:
            self._store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        except ApiError:
            return  # gone already

    def _report(self, deployment: Object, new: list[Object], old: list[Object]) -> None:
        wanted = int(deployment["spec"].get("replicas", 1))
        updated, available = len(new), sum(is_ready(pod) for pod in new + old)
        complete = updated == wanted and not old and sum(is_ready(pod) for pod in new) >= wanted
        counted: Object = {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "replicas": len(new) + len(old),
            "updatedReplicas": updated,
            "readyReplicas": available,
            "availableReplicas": available,
            "unavailableReplicas": max(wanted - available, 0),
        }
        status = {name: number for name, number in counted.items() if number}
        status["conditions"] = self._conditions(deployment, complete, available, updated)
        metadata = deployment["metadata"]
        known = {(item["type"], item["status"]): item for item in deployment.get("status", {}).get("conditions", [])}
        for condition in status["conditions"]:
            if before := known.get((condition["type"], condition["status"])):
                condition["lastTransitionTime"] = before["lastTransitionTime"]
        self._store.change(
            DEPLOYMENTS,
            metadata["namespace"],
            metadata["name"],
            lambda present: present.update(status=status),
            subresource="status",
        )

    def _conditions(self, deployment: Object, complete: bool, available: int, updated: int) -> list[Object]:
        metadata, spec = deployment["metadata"], deployment["spec"]
        wanted = int(spec.get("replicas", 1))
        _, unavailable = _limits(deployment, wanted)
        name = f"{metadata['name']}-{template_hash(spec['template'])}"
        enough = available >= wanted - unavailable
        conditions = [
            _condition("Available", enough, "MinimumReplicasAvailable", "Deployment has minimum availability.")
            if enough
            else _condition(
                "Available", False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
            )
        ]
        if complete:
            message = f'ReplicaSet "{name}" has successfully progressed.'
            conditions.append(_condition("Progressing", True, "NewReplicaSetAvailable", message))
        elif self._is_stuck(deployment, (name, available, updated)):
            message = f'ReplicaSet "{name}" has timed out progressing.'
            conditions.append(_condition("Progressing", False, "ProgressDeadlineExceeded", message))
        else:
            message = f'ReplicaSet "{name}" is progressing.'
            conditions.append(_condition("Progressing", True, "ReplicaSetUpdated", message))
        if metadata["uid"] in self._refused:
            conditions.append(_condition("ReplicaFailure", True, "FailedCreate", self._refused[metadata["uid"]][1]))
        return conditions

    def _is_stuck(self, deployment: Object, progress: Any) -> bool:
        uid = deployment["metadata"]["uid"]
        if self._progress.get(uid, (None, 0.0))[0] != progress:
            self._progress[uid] = (progress, time.monotonic())
        deadline = deployment["spec"].get("progressDeadlineSeconds", self._lags.progress_deadline_seconds)
        return time.monotonic() - self._progress[uid][1] > deadline / self._clock.speed


def template_hash(template: Object) -> str:
    """Return what tells one pod template from another, short enough for a name."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def pods_of(store: Store, deployment: Object) -> list[Object]:
    """Return a Deployment's pods that nobody is deleting, the oldest first."""
    metadata = deployment["metadata"]
    sets = {
        entry["metadata"]["uid"]
        for entry in store.entries(REPLICA_SETS, metadata["namespace"])
        if _owner(entry) == metadata["uid"]
    }
    pods = store.entries(PODS, metadata["namespace"], by_age=True)
    return [pod for pod in pods if _owner(pod) in sets and not pod["metadata"].get("deletionTimestamp")]


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def reference(resource: Resource, owner: Object) -> Object:
    """Return an owner reference."""
    metadata = owner["metadata"]
    names = {"apiVersion": resource.api_version, "kind": resource.kind, "name": metadata["name"]}
    return {**names, "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}


def _owner(entry: Object) -> str:
    owners = entry["metadata"].get("ownerReferences") or [{"uid": ""}]
    return str(owners[0]["uid"])


def _limits(deployment: Object, wanted: int) -> tuple[int, int]:
    """Return how many pods an update may have too many, and too few."""
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})

    def share(value: int | str, rounding: Any) -> int:
        return int(rounding(wanted * int(value.rstrip("%")) / 100)) if isinstance(value, str) else value

    return share(rolling.get("maxSurge", "25%"), math.ceil), share(rolling.get("maxUnavailable", "25%"), math.floor)


def _condition(kind: str, holds: bool, reason: str, message: str) -> Object:
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": timestamp()}
