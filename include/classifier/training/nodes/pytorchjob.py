"""The PyTorchJob of Kubeflow's Training Operator 1, for clusters whose Kubeflow has no Trainer yet.

As its sources of 1.9 say: ``pkg/apis/kubeflow.org/v1``, ``pkg/controller.v1/pytorch``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.classifier.cluster import own_pod
from include.classifier.cluster.api import conditions, in_words
from include.classifier.training.nodes.kinds import Wanted

_LABELS = "training.kubeflow.org"
_OF_THE_CONTAINER = ("imagePullPolicy", "envFrom", "securityContext")


class PyTorchJob:
    """PyTorchJobs: a first pod, the master, and others, the workers."""

    group = "kubeflow.org"
    version = "v1"
    plural = "pytorchjobs"
    title = "PyTorchJob"
    #: The operator knows the container by it.
    container = "pytorch"

    def body(self, wanted: Wanted) -> dict[str, Any]:
        """Return the job as an object."""
        spec = {
            "nprocPerNode": str(wanted.processes),
            "runPolicy": {
                "backoffLimit": 0,
                # Those that are over stay: why they ended stands nowhere else.
                "cleanPodPolicy": "Running",
                "activeDeadlineSeconds": int(wanted.seconds),
            },
            "pytorchReplicaSpecs": {
                "Master": self._replicas(wanted, 1),
                "Worker": self._replicas(wanted, wanted.nodes - 1),
            },
        }
        version = f"{self.group}/{self.version}"
        return {"apiVersion": version, "kind": self.title, "metadata": wanted.metadata(), "spec": spec}

    def left_out(self, wanted: Wanted) -> list[str]:
        """Return nothing: the pods may have whatever the step's has."""
        return []

    def selector(self, name: str) -> str:
        """Return the labels of a job's pods."""
        return f"{_LABELS}/job-name={name}"

    def rank(self, pod: Mapping[str, Any]) -> int:
        """Return which node a pod is: the master is the first."""
        labels = pod["metadata"].get("labels") or {}
        index = str(labels.get(f"{_LABELS}/replica-index", "0"))
        is_worker = labels.get(f"{_LABELS}/replica-type", "").lower() == "worker"
        return (int(index) if index.isdecimal() else 0) + is_worker

    def restarts(self, pod: Mapping[str, Any]) -> int:
        """Return none: no pod is started anew."""
        return 0

    def ended(self, job: Mapping[str, Any]) -> tuple[str, str]:
        """Return what the conditions say."""
        true = conditions(job)
        for condition, state in (("Succeeded", "complete"), ("Failed", "failed"), ("Suspended", "suspended")):
            if condition in true:
                return state, in_words(true[condition])
        return "", ""

    def _replicas(self, wanted: Wanted, number: int) -> dict[str, Any]:
        main = own_pod.main_container(wanted.pod)
        container = {
            "name": self.container,
            **wanted.container(),
            "resources": wanted.resources(),
            "volumeMounts": own_pod.mounts(main),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **{key: main[key] for key in _OF_THE_CONTAINER if main.get(key)},
        }
        template = {
            "metadata": {"labels": wanted.labels()},
            "spec": {
                "containers": [container],
                "volumes": own_pod.volumes(wanted.pod),
                "automountServiceAccountToken": False,
                **own_pod.placement(wanted.pod),
            },
        }
        return {"replicas": number, "restartPolicy": "Never", "template": template}
