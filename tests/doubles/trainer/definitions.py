"""What a version of Trainer takes: its resources, and the fields that it knows."""

from __future__ import annotations

from typing import Any

from tests.doubles.kubernetes.resources import Resource

GROUP = "trainer.kubeflow.org"
TRAINJOBS = Resource(group=GROUP, version="v1alpha1", plural="trainjobs", kind="TrainJob", has_status=True, custom=True)
RUNTIMES = Resource(group=GROUP, version="v1alpha1", plural="trainingruntimes", kind="TrainingRuntime", custom=True)
CLUSTER_RUNTIMES = Resource(
    group=GROUP,
    version="v1alpha1",
    plural="clustertrainingruntimes",
    kind="ClusterTrainingRuntime",
    namespaced=False,
    custom=True,
)
JOBSETS = Resource(
    group="jobset.x-k8s.io", version="v1alpha2", plural="jobsets", kind="JobSet", has_status=True, custom=True
)

Schema = dict[str, Any]

_ANY: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}


def version_of(text: str) -> tuple[int, int]:
    """Return ``(2, 3)`` for ``2.3.0``."""
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def definitions(version: str) -> list[dict[str, Any]]:
    """Return the definitions that a version of Trainer installs."""
    runtime = _object({"spec": _object({"mlPolicy": _ANY, "podGroupPolicy": _ANY, "template": _ANY})})
    schemas = {TRAINJOBS: _object({"spec": spec_of_a_trainjob(version_of(version)), "status": _ANY})}
    return [_definition(kind, schema) for kind, schema in {**schemas, RUNTIMES: runtime}.items()]


def spec_of_a_trainjob(version: tuple[int, int]) -> Schema:
    """Return the schema of a TrainJob's specification."""
    trainer = {"image": _TEXT, "command": _list(_TEXT), "args": _list(_TEXT), "env": _list(_ANY)}
    trainer |= {"numNodes": _NUMBER, "numProcPerNode": _ANY if version < (2, 2) else _NUMBER, "resourcesPerNode": _ANY}
    fields: dict[str, Schema] = {
        "runtimeRef": _object(dict.fromkeys(("name", "apiGroup", "kind"), _TEXT)),
        "initializer": _ANY,
        "trainer": _object(trainer),
        "suspend": _FLAG,
        "managedBy": _TEXT,
    }
    if version < (2, 2):
        fields |= {"labels": _ANY, "annotations": _ANY}
    else:
        fields["activeDeadlineSeconds"] = _NUMBER
    name, patches = _patches(version)
    return _object({**fields, name: _list(_object(patches))})


def _patches(version: tuple[int, int]) -> tuple[str, dict[str, Schema]]:
    container = {"name": _TEXT, "env": _list(_ANY), "volumeMounts": _list(_ANY)}
    pod = {"serviceAccountName": _TEXT, "nodeSelector": _ANY, "tolerations": _list(_ANY), "volumes": _list(_ANY)}
    if version >= (2, 1):
        pod |= {"affinity": _ANY, "imagePullSecrets": _list(_ANY), "schedulingGates": _list(_ANY)}
    if version >= (2, 2):
        container["securityContext"] = _ANY
        pod["securityContext"] = _ANY
    if version >= (2, 3):
        pod["terminationGracePeriodSeconds"] = _NUMBER
    pod |= dict.fromkeys(("containers", "initContainers"), _list(_object(container)))
    metadata = _object({"labels": _ANY, "annotations": _ANY})
    targets = {"targetJobs": _list(_object({"name": _TEXT}))}
    if version < (2, 1):
        return "podSpecOverrides", {**targets, **pod}
    template = {"metadata": metadata, "spec": _object(pod)}
    if version < (2, 2):
        return "podTemplateOverrides", {**targets, **template}
    job = _object({"metadata": metadata, "spec": _object({"template": _object(template)})})
    jobs = _object({"replicatedJobs": _list(_object({"name": _TEXT, "template": job}))})
    runtime = _object({"template": _object({"metadata": metadata, "spec": jobs})})
    return "runtimePatches", {"manager": _TEXT, "time": _TEXT, "trainingRuntimeSpec": runtime}


def _definition(resource: Resource, schema: Schema) -> dict[str, Any]:
    whole = {**schema["properties"], "apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}}
    served = {"name": resource.version, "served": True, "schema": {"openAPIV3Schema": _object(whole)}}
    return {
        "metadata": {"name": resource.qualified},
        "spec": {
            "group": resource.group,
            "names": {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind},
            "scope": "Namespaced",
            "versions": [served],
        },
    }


def _object(properties: dict[str, Any]) -> Schema:
    return {"type": "object", "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}
