"""The Training Operator 1 on the double of a cluster, with PyTorchJobs alone, after the sources of 1.9."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.objects import copied
from tests.doubles.kubernetes.resources import PODS, Resource
from tests.doubles.kubernetes.store import Object

PYTORCHJOBS = Resource(
    group="kubeflow.org", version="v1", plural="pytorchjobs", kind="PyTorchJob", has_status=True, custom=True
)
_LABELS = "training.kubeflow.org"
_PORT = 23456


@dataclass
class TrainingOperator:
    """The operator, installed in a cluster.

    :ivar created: every PyTorchJob that was ever made, by uid.
    """

    cluster: Cluster
    created: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._store = self.cluster.store
        self._store.resources.append(PYTORCHJOBS)
        self.cluster.controllers.append(self._reconcile)

    def pytorchjobs(self) -> list[Object]:
        return self._store.entries(PYTORCHJOBS, self.cluster.namespace, by_age=True)

    def pods(self, name: str) -> list[Object]:
        """Return the pods of a PyTorchJob, in the order of their names."""
        label = f"{_LABELS}/job-name"
        return [pod for pod in self.cluster.pods() if (pod["metadata"].get("labels") or {}).get(label) == name]

    def _reconcile(self) -> None:
        for job in self.pytorchjobs():
            true = {
                each["type"] for each in (job.get("status") or {}).get("conditions") or [] if each["status"] == "True"
            }
            if "deletionTimestamp" not in job["metadata"] and not {"Succeeded", "Failed"} & true:
                self._follow(job)

    def _follow(self, job: Object) -> None:
        metadata = job["metadata"]
        replicas = job["spec"]["pytorchReplicaSpecs"]
        wanted = [(kind, index) for kind in ("Master", "Worker") for index in range(replicas[kind]["replicas"])]
        if metadata["uid"] not in self.created:
            self.created.append(metadata["uid"])
            for kind, index in wanted:
                self._make_pod(job, kind, index, len(wanted))
            return self._mark(job, "Created", "PyTorchJobCreated", f"PyTorchJob {metadata['name']} is created.")
        pods = self.pods(metadata["name"])
        phases = [pod["status"].get("phase") for pod in pods]
        if "Failed" in phases or len(pods) < len(wanted):
            self._clean(pods)
            why = f"PyTorchJob {metadata['name']} is failed because 1 Worker replica(s) failed."
            return self._mark(job, "Failed", "PyTorchJobFailed", why)
        if phases == ["Succeeded"] * len(wanted):
            return self._mark(job, "Succeeded", "PyTorchJobSucceeded", "PyTorchJob is successfully completed.")
        if phases == ["Running"] * len(wanted):
            self._mark(job, "Running", "PyTorchJobRunning", f"PyTorchJob {metadata['name']} is running.")
        return None

    def _clean(self, pods: list[Object]) -> None:
        """End what runs, as ``cleanPodPolicy: Running`` says."""
        for pod in pods:
            if pod["status"].get("phase") in ("Pending", "Running"):
                self._store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _make_pod(self, job: Object, kind: str, index: int, nodes: int) -> None:
        metadata, spec = job["metadata"], job["spec"]
        name, rank = metadata["name"], index + (kind == "Worker")
        pod = copied(spec["pytorchReplicaSpecs"][kind]["template"])
        pod["spec"]["restartPolicy"] = spec["pytorchReplicaSpecs"][kind]["restartPolicy"]
        told = {
            "MASTER_PORT": str(_PORT),
            "PET_MASTER_PORT": str(_PORT),
            "MASTER_ADDR": f"{name}-master-0",
            "PET_MASTER_ADDR": f"{name}-master-0",
            "WORLD_SIZE": str(nodes * int(spec.get("nprocPerNode", "1"))),
            "RANK": str(rank),
            "PET_NODE_RANK": str(rank),
            "PET_NPROC_PER_NODE": spec.get("nprocPerNode", "1"),
            "PET_NNODES": str(nodes),
        }
        for container in pod["spec"]["containers"]:
            container["env"] = [*(container.get("env") or []), *({"name": k, "value": v} for k, v in told.items())]
        labels = {"job-name": name, "replica-type": kind.lower(), "replica-index": str(index)}
        reference = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": name, "uid": metadata["uid"]}
        pod["metadata"] = {
            **(pod.get("metadata") or {}),
            "name": f"{name}-{kind.lower()}-{index}",
            "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
        }
        pod["metadata"].setdefault("labels", {}).update({f"{_LABELS}/{key}": value for key, value in labels.items()})
        self._store.create(PODS, pod, metadata["namespace"])

    def _mark(self, job: Object, kind: str, reason: str, message: str) -> None:
        status = job.get("status") or {}
        conditions = list(status.get("conditions") or [])
        if kind in {each["type"] for each in conditions}:
            return
        if kind in ("Succeeded", "Failed"):
            conditions = [{**each, "status": "False"} if each["type"] == "Running" else each for each in conditions]
        now = timestamp()
        times = {"lastUpdateTime": now, "lastTransitionTime": now}
        conditions.append({"type": kind, "status": "True", "reason": reason, "message": message, **times})
        new, metadata = {**status, "conditions": conditions}, job["metadata"]
        edit = lambda found: found.update(status=new)  # noqa: E731
        self._store.change(PYTORCHJOBS, metadata["namespace"], metadata["name"], edit, subresource="status")
