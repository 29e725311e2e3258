"""The TrainJob of Kubeflow Trainer 2.0 and later.

All of them call it ``trainer.kubeflow.org/v1alpha1``; what a pod may have besides image, command, environment and
resources stands in another field in 2.0, in 2.1 and from 2.2 on. The server's own description says which is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.classifier.cluster import own_pod
from include.classifier.cluster.api import ClusterError, conditions, in_words
from include.classifier.training.nodes.kinds import Wanted

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
DESCRIPTION = f"/openapi/v3/apis/{GROUP}/{VERSION}"

#: The TrainingRuntime of deploy/training-runtime.yaml, and the names in it that the Trainer goes by.
RUNTIME = "release-training"
NODE = "node"

#: Of whoever patches a runtime, as the Trainer wants it: a domain and a path.
_MANAGER = "kubeflow-model-release.example.com/training"

_IN_A_JOB_SET = "jobset.sigs.k8s.io"
_INDEX = "batch.kubernetes.io/job-completion-index"

#: From 2.2 on: the way from a patch to the template of its pods.
_TO_PODS = ("trainingRuntimeSpec", "template", "spec", "replicatedJobs", "template", "spec", "template")


@dataclass(frozen=True)
class TrainJob:
    """TrainJobs as a certain server takes them.

    :param patches: the field for what pods have besides.
    :param of_the_pod: what that may say of a pod.
    :param of_the_container: and of its container.
    :param has_deadline: whether the Trainer can end what takes too long.
    """

    patches: str
    of_the_pod: frozenset[str]
    of_the_container: frozenset[str]
    has_deadline: bool

    group = GROUP
    version = VERSION
    plural = PLURAL
    title = "TrainJob"
    container = NODE

    @classmethod
    def described(cls, document: Mapping[str, Any]) -> TrainJob:
        """Return what a server takes.

        :param document: OpenAPI's of the group.
        :raises ClusterError: when it describes no TrainJob, or none whose pods could be told anything.
        """
        fields = _fields_of_a_trainjob(document)
        for patches, way in (("runtimePatches", _TO_PODS), ("podTemplateOverrides", ()), ("podSpecOverrides", ())):
            if patches in fields:
                spec = _below(fields[patches], *way, *(() if patches == "podSpecOverrides" else ("spec",)))
                containers = _below({"properties": spec}, "containers")
                return cls(patches, frozenset(spec), frozenset(containers), "activeDeadlineSeconds" in fields)
        raise ClusterError(
            "the cluster's TrainJobs have neither runtimePatches nor podTemplateOverrides nor podSpecOverrides: this "
            "version of Kubeflow Trainer is not known here"
        )

    def body(self, wanted: Wanted) -> dict[str, Any]:
        """Return the job as an object."""
        trainer = {
            **wanted.container(),
            "numNodes": wanted.nodes,
            "numProcPerNode": wanted.processes,
            "resourcesPerNode": wanted.resources(),
        }
        spec: dict[str, Any] = {
            "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": RUNTIME},
            "trainer": trainer,
            self.patches: [self._patch(wanted)],
        }
        if self.has_deadline:
            spec["activeDeadlineSeconds"] = int(wanted.seconds)
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": self.title, "metadata": wanted.metadata(), "spec": spec}

    def left_out(self, wanted: Wanted) -> list[str]:
        """Return what the step's pod has and a node's cannot have, in words."""
        main = own_pod.main_container(wanted.pod)
        of_pod = [key for key in _pod_spec(wanted) if key not in self.of_the_pod]
        of_container = [f"{key} of its container" for key in _container(wanted) if key not in self.of_the_container]
        # Kubeflow's own, for its launcher.
        others = [each for each in main.get("envFrom") or () if "metadata-grpc" not in str(each)]
        return [*of_pod, *of_container, *(["envFrom of its container"] if others else [])]

    def selector(self, name: str) -> str:
        """Return the labels of a job's pods; none of them is the Trainer's, and none the TrainJob's own."""
        return f"{_IN_A_JOB_SET}/jobset-name={name}"

    def rank(self, pod: Mapping[str, Any]) -> int:
        """Return which node a pod is."""
        return _number(pod, _INDEX)

    def restarts(self, pod: Mapping[str, Any]) -> int:
        """Return how often the JobSet had been started anew."""
        return _number(pod, f"{_IN_A_JOB_SET}/restart-attempt")

    def ended(self, job: Mapping[str, Any]) -> tuple[str, str]:
        """Look conditions up by their type: the last one of a resumed job is ``Suspended``, and false."""
        true = conditions(job)
        for condition, state in (("Complete", "complete"), ("Failed", "failed"), ("Suspended", "suspended")):
            if condition in true:
                return state, in_words(true[condition])
        return "", ""

    def _patch(self, wanted: Wanted) -> dict[str, Any]:
        container = {key: value for key, value in _container(wanted).items() if key in self.of_the_container}
        spec = {key: value for key, value in _pod_spec(wanted).items() if key in self.of_the_pod}
        if container:
            spec["containers"] = [{"name": NODE, **container}]
        labels = wanted.labels()
        metadata = {
            "labels": labels,
            # Istio before 1.8 knows the annotation alone.
            "annotations": {key: value for key, value in labels.items() if key.startswith("sidecar")},
        }
        if self.patches == "podSpecOverrides":
            return {"targetJobs": [{"name": NODE}], **spec}
        template = {"metadata": metadata, "spec": spec}
        if self.patches == "podTemplateOverrides":
            return {"targetJobs": [{"name": NODE}], **template}
        jobs = [{"name": NODE, "template": {"spec": {"template": template}}}]
        return {"manager": _MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}


def _pod_spec(wanted: Wanted) -> dict[str, Any]:
    found = {**own_pod.placement(wanted.pod), "volumes": own_pod.volumes(wanted.pod)}
    return {key: value for key, value in found.items() if value}


def _container(wanted: Wanted) -> dict[str, Any]:
    main = own_pod.main_container(wanted.pod)
    found = {"volumeMounts": own_pod.mounts(main), "securityContext": main.get("securityContext")}
    return {key: value for key, value in found.items() if value}


def _fields_of_a_trainjob(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a TrainJob's specification; the kinds beside it have fields of the same names."""
    for schema in ((document.get("components") or {}).get("schemas") or {}).values():
        kinds = schema.get("x-kubernetes-group-version-kind") or []
        if {"group": GROUP, "version": VERSION, "kind": "TrainJob"} in kinds:
            return _below(schema, "spec")
    raise ClusterError(f"{DESCRIPTION} describes no TrainJob: is Kubeflow Trainer being installed or upgraded?")


def _below(schema: Mapping[str, Any], *way: str) -> dict[str, Any]:
    """Return the fields of what stands at a place of a schema, through lists."""
    for name in way:
        schema = schema.get("items") or schema
        schema = (schema.get("properties") or {}).get(name) or {}
    schema = schema.get("items") or schema
    return dict(schema.get("properties") or {})


def _number(pod: Mapping[str, Any], name: str) -> int:
    labels, notes = pod["metadata"].get("labels") or {}, pod["metadata"].get("annotations") or {}
    try:
        return int(labels.get(name, notes.get(name, 0)))
    except ValueError:
        return 0
