"""The controllers of TrainJobs, and of the JobSets and Jobs that these are made of."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.events import record
from tests.doubles.kubernetes.resources import CONFIG_MAPS, DEFINITIONS, JOBS, PODS, SERVICES, Resource
from tests.doubles.kubernetes.store import Object
from tests.doubles.trainer import webhooks
from tests.doubles.trainer.definitions import (
    CLUSTER_RUNTIMES,
    JOBSETS,
    RUNTIMES,
    TRAINJOBS,
    definitions,
    version_of,
)
from tests.doubles.trainer.templates import JOB_SET, pod_of, replicated_job

_COUNTS = ("ready", "succeeded", "failed", "active", "suspended")
_LONGEST_POD_NAME = 63


@dataclass
class Trainer:
    """Trainer, installed in a cluster.

    :param version: which fields and habits it has.
    :param master_address: instead of the name of the first pod, which no DNS of this machine knows.
    :param master_port: instead of 29500.
    :ivar created: every TrainJob that was ever made, by name.
    :ivar has_webhooks: whether they answer.
    """

    cluster: Cluster
    version: str = "2.3.0"
    master_address: str = ""
    master_port: int = 29500
    has_webhooks: bool = True
    created: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._store, self._number = self.cluster.store, version_of(self.version)
        self._store.resources += [TRAINJOBS, RUNTIMES, CLUSTER_RUNTIMES, JOBSETS]
        for definition in definitions(self.version):
            self._store.create(DEFINITIONS, definition)
        self._store.admissions.append(self._admit)
        self.cluster.controllers.append(self._reconcile)

    def add_runtime(self, name: str, *, job: Object | None = None, failure: Object | None = None, **pod: Any) -> None:
        """Make a TrainingRuntime for PyTorch.

        :param job: of its Job, such as ``backoffLimit``.
        :param failure: its ``failurePolicy``.
        :param pod: of its pods, such as ``restartPolicy``.
        """
        container = {"name": "node", "image": "torch:1", "terminationMessagePolicy": "FallbackToLogsOnError"}
        template = {"spec": {"containers": [container], **pod}}
        label = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
        jobs = [
            {"name": "node", "template": {"metadata": {"labels": label}, "spec": {"template": template, **(job or {})}}}
        ]
        spec: Object = {"replicatedJobs": jobs} | ({"failurePolicy": failure} if failure else {})
        runtime = {"metadata": {"name": name}, "spec": {"mlPolicy": {"torch": {}}, "template": {"spec": spec}}}
        self._store.create(RUNTIMES, runtime, self.cluster.namespace)

    def trainjobs(self) -> list[Object]:
        return self._store.entries(TRAINJOBS, self.cluster.namespace, by_age=True)

    def pods(self, name: str) -> list[Object]:
        """Return the pods of a TrainJob, in the order of their names."""
        return [
            pod
            for pod in self.cluster.pods()
            if (pod["metadata"].get("labels") or {}).get(f"{JOB_SET}/jobset-name") == name
        ]

    def _admit(self, resource: Resource, new: Object, old: Object | None) -> None:
        if resource == TRAINJOBS:
            webhooks.admit(self._store, self._number, new, old, has_webhooks=self.has_webhooks)

    # TrainJob

    def _reconcile(self) -> None:
        for job in self._store.entries(TRAINJOBS):
            if "deletionTimestamp" not in job["metadata"]:
                self._reconcile_one(job)

    def _reconcile_one(self, job: Object) -> None:
        metadata = job["metadata"]
        name, space = metadata["name"], metadata["namespace"]
        if metadata["uid"] not in self.created:
            self.created.append(metadata["uid"])
        status: Object = job.get("status") or {}
        final = {"Complete", "Failed"} & _true(status)
        jobset = self._store.find(JOBSETS, space, name)
        if final and (
            jobset or _reason(status) == "DeadlineExceeded" or (final == {"Complete"} and self._number > (2, 1))
        ):
            return
        runtime = self._runtime(job)
        if runtime is None:
            what = job["spec"]["runtimeRef"]
            why = f'{what["kind"]}.trainer.kubeflow.org "{what["name"]}" not found'
            why = f"TrainJob resources reconciliation failed: TrainingRuntime specified in TrainJob is not found: {why}"
            record(
                self._store, job, "TrainJobResourcesCreationFailed", why, kind="Warning", source="trainjob-controller"
            )
            return
        nodes = int((job["spec"].get("trainer") or {}).get("numNodes") or 1)
        if len(f"{name}-node-0-{nodes - 1}-xxxxx") > _LONGEST_POD_NAME:
            why = 'admission webhook "vjobset.kb.io" denied the request: pod names generated for replicatedJob "node" '
            why = f"TrainJob resources reconciliation failed: {why}will exceed 63 characters"
            record(
                self._store, job, "TrainJobResourcesCreationFailed", why, kind="Warning", source="trainjob-controller"
            )
            return
        if jobset is None:
            status = {"conditions": [each for each in status.get("conditions", []) if each["type"] == "Suspended"]}
            jobset = self._make_jobset(job, runtime)
        self._put(TRAINJOBS, job, self._followed(job, jobset, runtime, status))

    def _runtime(self, job: Object) -> Object | None:
        reference = job["spec"]["runtimeRef"]
        if reference["kind"] == "TrainingRuntime":
            return self._store.find(RUNTIMES, job["metadata"]["namespace"], reference["name"])
        return self._store.find(CLUSTER_RUNTIMES, "", reference["name"])

    def _make_jobset(self, job: Object, runtime: Object) -> Object:
        metadata = job["metadata"]
        name, space = metadata["name"], metadata["namespace"]
        owned = {"name": name, "ownerReferences": [_owner(TRAINJOBS, job)]}
        spec = {**runtime["spec"]["template"]["spec"], "suspend": job["spec"]["suspend"]}
        spec |= {"network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True}}
        jobset = self._store.create(JOBSETS, {"metadata": owned, "spec": spec}, space)
        of_set = {"ownerReferences": [_owner(JOBSETS, jobset)]}
        if self._store.find(SERVICES, space, name) is None:  # One of somebody else's is taken for it.
            service = {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": {f"{JOB_SET}/jobset-name": name},
            }
            self._store.create(SERVICES, {"metadata": {"name": name, **of_set}, "spec": service}, space)
        if self._number >= (2, 3):
            snapshot = {"metadata": {**owned, "name": f"{name}-runtime-snapshot"}, "data": {}}
            if self._store.find(CONFIG_MAPS, space, snapshot["metadata"]["name"]) is None:
                self._store.create(CONFIG_MAPS, snapshot, space)
        self._store.create(JOBS, {"metadata": {"name": f"{name}-node-0", **of_set}, "spec": {}}, space)
        return jobset

    def _followed(self, job: Object, jobset: Object, runtime: Object, status: Object) -> Object:
        """Bring a JobSet on, and return the TrainJob's status."""
        limit = job["spec"].get("activeDeadlineSeconds")
        if limit and _age(job) * self.cluster.clock.speed >= limit:
            self._store.delete(JOBSETS, jobset["metadata"]["namespace"], jobset["metadata"]["name"])
            # What it counted stays as it was.
            return _with(status, "Failed", "True", "DeadlineExceeded", "TrainJob exceeded its active deadline")
        pods = self.pods(job["metadata"]["name"])
        if job["spec"]["suspend"]:
            self._end(pods)
            status = _with(status, "Suspended", "True", "Suspended", "TrainJob is suspended")
            return status | {"jobsStatus": _counts("suspended")}
        if "Suspended" in _true(status):
            status = _with(status, "Suspended", "False", "Resumed", "TrainJob is resumed")
        return self._follow_pods(job, jobset, runtime, status, pods)

    def _follow_pods(self, job: Object, jobset: Object, runtime: Object, status: Object, pods: list[Object]) -> Object:
        nodes = int((job["spec"].get("trainer") or {}).get("numNodes") or 1)
        phases = [pod["status"].get("phase") for pod in pods]
        made: Object = jobset.get("status") or {"restarts": 0, "made": 0}
        if made["made"] < nodes and len(pods) < nodes and "Failed" not in phases:
            if not pods:
                for rank in range(nodes):
                    self._make_pod(job, jobset, runtime, rank, made["restarts"])
                self._put(JOBSETS, jobset, made | {"made": nodes})
            return status | {"jobsStatus": _counts("active")}
        if "Failed" in phases or len(pods) < nodes:  # One that is deleted from outside counts as failed, too.
            return self._fail(job, jobset, status, pods, made)
        if phases == ["Succeeded"] * nodes:
            done = _with(status, "Complete", "True", "AllJobsCompleted", "jobset completed successfully")
            self._put(JOBSETS, jobset, made | {"terminalState": "Completed"})
            return done | {"jobsStatus": _counts("succeeded")}
        is_ready = all(_is_ready(pod) for pod in pods)
        return status | {"jobsStatus": _counts("active", *(["ready"] if is_ready else []))}

    def _fail(self, job: Object, jobset: Object, status: Object, pods: list[Object], made: Object) -> Object:
        name = job["metadata"]["name"]
        going = [pod for pod in pods if pod["status"].get("phase") not in ("Failed", "Succeeded")]
        self._end(going)
        if going:
            return status | {"jobsStatus": _counts()}
        first = f"(first failed job: {name}-node-0)"
        most = (jobset["spec"].get("failurePolicy") or {}).get("maxRestarts", 0)
        if made["restarts"] < most:
            self._end(pods)
            self._put(JOBSETS, jobset, {"restarts": made["restarts"] + 1, "made": 0})
            return status | {"jobsStatus": _counts()}
        reason, why = "FailedJobs", f"jobset failed due to one or more job failures {first}"
        if most:
            reason, why = "ReachedMaxRestarts", f"jobset failed due to reaching max number of restarts {first}"
        self._put(JOBSETS, jobset, made | {"terminalState": "Failed"})
        return _with(status, "Failed", "True", reason, why) | {"jobsStatus": _counts("failed")}

    def _make_pod(self, job: Object, jobset: Object, runtime: Object, rank: int, restarts: int) -> None:
        name, space = job["metadata"]["name"], job["metadata"]["namespace"]
        of_set = self._store.get(JOBS, space, f"{name}-node-0")
        pod = pod_of(job, replicated_job(runtime), rank, self._number, port=self.master_port)
        pod["metadata"] |= {
            "name": f"{name}-node-0-{rank}-{secrets.token_hex(3)[:5]}",
            "ownerReferences": [_owner(JOBS, of_set)],
        }
        counted = {
            f"{JOB_SET}/jobset-name": name,
            f"{JOB_SET}/jobset-uid": jobset["metadata"]["uid"],
            f"{JOB_SET}/replicatedjob-name": "node",
            f"{JOB_SET}/job-index": "0",
            f"{JOB_SET}/restart-attempt": str(restarts),
            "batch.kubernetes.io/job-completion-index": str(rank),
        }
        pod["metadata"].setdefault("labels", {}).update(counted | {"batch.kubernetes.io/job-name": f"{name}-node-0"})
        pod["metadata"].setdefault("annotations", {}).update(counted)
        if self.master_address:
            for each in pod["spec"]["containers"][0].get("env") or []:
                if each["name"] == "PET_MASTER_ADDR":
                    each["value"] = self.master_address
        self._store.create(PODS, pod, space)

    def _end(self, pods: list[Object]) -> None:
        for pod in pods:
            if "deletionTimestamp" not in pod["metadata"]:
                self._store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _put(self, resource: Resource, entry: Object, status: Object) -> None:
        metadata = entry["metadata"]
        edit = lambda found: found.update(status=status)  # noqa: E731
        self._store.change(resource, metadata["namespace"], metadata["name"], edit, subresource="status")


def _true(status: Object) -> set[str]:
    return {each["type"] for each in status.get("conditions") or [] if each["status"] == "True"}


def _reason(status: Object) -> str:
    return next((each["reason"] for each in status.get("conditions") or [] if each["type"] == "Failed"), "")


def _with(status: Object, kind: str, holds: str, reason: str, message: str) -> Object:
    """Return a status with a condition, where it stood before or behind the others."""
    conditions = list(status.get("conditions") or [])
    found = next((each for each in conditions if each["type"] == kind), None)
    if found and (found["status"], found["reason"]) == (holds, reason):
        return status
    new = {"type": kind, "status": holds, "reason": reason, "message": message, "lastTransitionTime": timestamp()}
    if found:
        conditions[conditions.index(found)] = new
    else:
        conditions.append(new)
    return {**status, "conditions": conditions}


def _counts(*ones: str) -> list[Object]:
    return [{"name": "node", **{count: int(count in ones) for count in _COUNTS}}]


def _is_ready(pod: Object) -> bool:
    return any((each["type"], each["status"]) == ("Ready", "True") for each in pod["status"].get("conditions") or [])


def _owner(resource: Resource, entry: Object) -> Object:
    metadata = entry["metadata"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _age(entry: Object) -> float:
    made = datetime.fromisoformat(re.sub("Z$", "+00:00", entry["metadata"]["creationTimestamp"]))
    return (datetime.now(UTC) - made).total_seconds()
