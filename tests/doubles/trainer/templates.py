"""The pods of a TrainJob: what its runtime says, then its trainer, then its patches, then what torchrun reads."""

from __future__ import annotations

import math
from typing import Any

from tests.doubles.kubernetes.objects import copied
from tests.doubles.kubernetes.store import Object

JOB_SET = "jobset.sigs.k8s.io"
_STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def replicated_job(runtime: Object) -> Object:
    """Return the part of a runtime that the nodes are made of."""
    found: Object = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]
    return found


def pod_of(job: Object, replicated: Object, rank: int, version: tuple[int, int], *, port: int) -> Object:
    """Return the pod of a rank, without its name and the labels that are counted by."""
    template = copied(replicated["template"]["spec"]["template"])
    spec, trainer = template["spec"], job["spec"].get("trainer")
    # JobSet's webhook fills it in.
    spec.setdefault("restartPolicy", "OnFailure")
    node = next((each for each in spec["containers"] if each["name"] == "node"), None)
    labels = replicated["template"].get("metadata", {}).get("labels") or {}
    if node is not None and trainer is not None and labels.get(_STEP) == "trainer":
        _apply_trainer(node, trainer, version)
    metadata = template.setdefault("metadata", {})
    for patch in _patches(job):
        for key in ("labels", "annotations"):
            metadata.setdefault(key, {}).update((patch.get("metadata") or {}).get(key) or {})
        _merge(spec, patch.get("spec") or {}, version)
    if node is not None and trainer is not None:
        _tell_torchrun(node, job, trainer, port)
    name = job["metadata"]["name"]
    spec |= {"hostname": f"{name}-node-0-{rank}", "subdomain": name}
    for each in spec["containers"]:
        each.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(rank)})
    return {"metadata": metadata, "spec": spec}


def _apply_trainer(node: Object, trainer: Object, version: tuple[int, int]) -> None:
    node |= {key: trainer[key] for key in ("image", "command", "args") if trainer.get(key)}
    if trainer.get("env"):
        names = {each["name"] for each in trainer["env"]}
        node["env"] = [each for each in node.get("env") or [] if each["name"] not in names] + trainer["env"]
    if asked := trainer.get("resourcesPerNode"):
        before = node.get("resources") or {}
        node["resources"] = {**before, **asked} if version >= (2, 3) else asked


def _tell_torchrun(node: Object, job: Object, trainer: Object, port: int) -> None:
    name = job["metadata"]["name"]
    cpu = ((node.get("resources") or {}).get("requests") or {}).get("cpu", "1")
    cpus = math.ceil(int(cpu[:-1]) / 1000) if str(cpu).endswith("m") else math.ceil(float(cpu))
    told = {
        "PET_NNODES": str(trainer.get("numNodes") or 1),
        "PET_NPROC_PER_NODE": str(trainer.get("numProcPerNode") or max(1, cpus)),
        "PET_MASTER_ADDR": f"{name}-node-0-0.{name}",
        "PET_MASTER_PORT": str(port),
    }
    variables: list[Any] = [{"name": key, "value": value} for key, value in told.items()]
    variables.insert(2, {"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}})
    node["env"] = [*(node.get("env") or []), *variables]
    node.setdefault("ports", []).append({"containerPort": port, "protocol": "TCP"})


def _patches(job: Object) -> list[Object]:
    """Return what a TrainJob says of its pods, as metadata and specification."""
    spec = job["spec"]
    found = list(spec.get("podTemplateOverrides") or [])
    found += [
        {"spec": {k: v for k, v in each.items() if k != "targetJobs"}} for each in spec.get("podSpecOverrides") or []
    ]
    for patch in spec.get("runtimePatches") or []:
        jobs = patch["trainingRuntimeSpec"].get("template", {}).get("spec", {}).get("replicatedJobs") or []
        found += [each["template"]["spec"]["template"] for each in jobs if each["name"] == "node"]
    return found


def _merge(spec: Object, patch: Object, version: tuple[int, int]) -> None:
    for key, value in patch.items():
        if key == "containers":
            for each in value:
                _merge_container(spec, each, version)
        elif isinstance(value, list):
            spec[key] = [*(spec.get(key) or []), *value]
        elif isinstance(value, dict):
            spec[key] = {**(spec.get(key) or {}), **value}
        else:
            spec[key] = value


def _merge_container(spec: Object, patch: Object, version: tuple[int, int]) -> None:
    found = next((each for each in spec["containers"] if each["name"] == patch["name"]), None)
    if found is None:
        if version >= (2, 3):  # A strategic merge comes before the check, which then finds the name.
            spec["containers"].append(patch)
        return
    found["volumeMounts"] = [*(found.get("volumeMounts") or []), *(patch.get("volumeMounts") or [])]
    if context := patch.get("securityContext"):
        found["securityContext"] = {**(found.get("securityContext") or {}), **context}
