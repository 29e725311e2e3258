"""Trainings over nodes, reached through the Kubernetes API from inside the pod of the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from include.classifier.cluster.api import ClusterError, StepCluster
from include.classifier.training.nodes import trainjob
from include.classifier.training.nodes.kinds import Kind
from include.classifier.training.nodes.pytorchjob import PyTorchJob
from include.classifier.training.nodes.trainjob import TrainJob

#: Of a log, at one look.
_MOST_LOG_BYTES = 1 << 20
_FIRST_LINES = 200
#: Looks overlap by so many seconds, because the server counts whole ones; what was seen before is left out.
_OVERLAP_SECONDS = 10


class TrainingCluster(StepCluster):
    """Jobs of trainings, and their pods, in one namespace."""

    rights = "training-over-nodes-rbac.yaml"

    def kind(self) -> Kind:
        """Return what the cluster has: TrainJobs, else PyTorchJobs.

        :raises ClusterError: when it has neither.
        """
        if trainjob.PLURAL in self.served(trainjob.GROUP, trainjob.VERSION):
            return TrainJob.described(self._description())
        older = PyTorchJob()
        if older.plural in self.served(older.group, older.version):
            return older
        raise ClusterError(
            f"the cluster has neither TrainJobs ({trainjob.GROUP}/{trainjob.VERSION}) nor PyTorchJobs "
            f"({older.group}/{older.version}): install Kubeflow Trainer, or take training.nodes: 1"
        )

    def find(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """Return a job; ``None`` when there is none."""
        found: dict[str, Any] | None = self._call("get_namespaced_custom_object", *self._place(kind), name)
        return found

    def try_out(self, kind: Kind, body: dict[str, Any]) -> None:
        """Ask whether a job would be taken, the Trainer's own checks included, and make nothing.

        :raises ClusterError: when it would not; the message says what is missing.
        """
        try:
            self._create(kind, body, dry_run="All")
        except ClusterError as error:
            said = str(error)
            if "must be created before the TrainJob is created" in said:
                said += f". Apply deploy/training-runtime.yaml to namespace {self.namespace}"
            raise type(error)(said) from None
        # The Trainer looks at none of these before a step wants them.
        self.pods(kind, body["metadata"]["name"])

    def create(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any] | None:
        """Make a job, and return it; ``None`` when one with its name is there."""
        return self._create(kind, body)

    def delete(self, kind: Kind, name: str, uid: str) -> None:
        """Delete a job, which is there until its pods are gone. It may be gone, and another one of its name stays."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        place = self._place(kind)
        self._call("delete_namespaced_custom_object", *place, name, body=body, passing=(404, 409))

    def pods(self, kind: Kind, name: str) -> list[dict[str, Any]]:
        """Return a job's pods by the ranks of their nodes, of its last start if the cluster has started it anew."""
        from kubernetes.client import CoreV1Api

        call = CoreV1Api(self._api).list_namespaced_pod
        found = self._ask(call, self.namespace, label_selector=kind.selector(name))
        pods = self._api.sanitize_for_serialization(found)["items"] if found else []
        last = max((kind.restarts(pod) for pod in pods), default=0)
        return sorted((pod for pod in pods if kind.restarts(pod) == last), key=kind.rank)

    def log(self, pod: str, container: str, *, since_seconds: int | None) -> list[str] | None:
        """Return the lines of a pod's log, each behind its time; ``None`` when it has not begun, or is gone.

        :param since_seconds: how old they may be; ``None``: the last ones.
        :raises ClusterError: when it may not be read.
        """
        from kubernetes.client import CoreV1Api

        how = {"tail_lines": _FIRST_LINES} if since_seconds is None else {"since_seconds": since_seconds}
        call = CoreV1Api(self._api).read_namespaced_pod_log
        named = {"container": container, "timestamps": True, "limit_bytes": _MOST_LOG_BYTES}
        said = self._ask(call, pod, self.namespace, passing=(400, 404), **named, **how)
        return None if said is None else str(said).splitlines()

    def _create(self, kind: Kind, body: dict[str, Any], **how: Any) -> dict[str, Any] | None:
        place = self._place(kind)
        # Fields that a version does not know are dropped in silence otherwise.
        how["field_validation"] = "Strict"
        made: dict[str, Any] | None = self._call("create_namespaced_custom_object", *place, body, passing=(409,), **how)
        return made

    def _description(self) -> dict[str, Any]:
        def call(**more: Any) -> Any:
            return self._api.call_api(
                trainjob.DESCRIPTION,
                "GET",
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
                response_type="object",
                _return_http_data_only=True,
                **more,
            )

        found: dict[str, Any] = self._ask(call) or {}
        return found

    def _place(self, kind: Kind) -> tuple[str, str, str, str]:
        return kind.group, kind.version, self.namespace, kind.plural


class Log:
    """What a node says, as it comes.

    :param container: of its pod.
    :param clock: returns seconds.
    :ivar refused: why it could not be read the last time.
    """

    def __init__(self, cluster: TrainingCluster, container: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._container = container
        self._clock = clock
        self._pod = ""
        self._seen: set[str] = set()
        self._looked = 0.0
        self.refused = ""

    def new_lines(self, pod: str) -> list[str]:
        """Return what a pod has said since the last look; at the first one, its last lines.

        :raises ClusterError: when it may not be read.
        """
        now, is_known = self._clock(), pod == self._pod
        since = int(now - self._looked) + _OVERLAP_SECONDS if is_known else None
        lines = self._cluster.log(pod, self._container, since_seconds=since)
        if lines is None:
            return []
        new = [line.partition(" ")[2] for line in lines if not is_known or line not in self._seen]
        self._pod, self._seen, self._looked = pod, set(lines), now
        return new
