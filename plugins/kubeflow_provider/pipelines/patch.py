"""Puts cluster settings into a compiled pipeline, in the form that ``kfp.kubernetes`` and the KFP compiler give them.

The pipeline itself stays generic: one compiled file for every world, cluster and model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings import ClusterSettings, EnvironmentSource
from kubeflow_provider.kubernetes.step_settings import NodeAffinityTerm, NodeRequirement, StepSettings, Toleration
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.containers import (
    PLACEHOLDER,
    Step,
    part_executors,
    set_resources,
    steps_of,
    tasks_of,
)

log = logging.getLogger(__name__)

_LONGEST_BACKOFF = "3600s"

#: Fields of ``pipelineConfig`` -> first server version that knows them. A server that meets one that it does not know
#: drops the whole platform document without a word: volumes, secrets, everything.
_PIPELINE_CONFIG_SINCE = {
    "resourceTtlOnCompletion": (2, 17),
    "resourceTtlOnSuccess": (2, 17),
    "resourceTtlOnFailure": (2, 17),
    "activeDeadlineSeconds": (2, 17),
}
#: An older server ignores it, and would mount the whole volume at the path.
_SUB_PATH_SINCE = (2, 16)
#: An older server fails every step that has it.
_AFFINITY_SINCE = (2, 14)
#: An older server gives all pods of a run those of its first step.
_METADATA_SINCE = (2, 14)

#: Fields of :class:`StepSettings` that stand with the task. The others are the executor's, which steps may share.
_OF_TASKS = {"display_name", "retries", "retry_backoff_seconds", "cache"}


def apply(spec: PipelineSpec, settings: ClusterSettings, *, server_version: str | None) -> PipelineSpec:
    """Return the pipeline with the settings in its two documents. Neither argument is changed.

    Service account and pipeline root are no part of a pipeline but of its run.

    :param server_version: as the server's ``healthz`` gives it, for example ``2.17.0``; ``None`` when it is unknown,
        which counts as old.
    :raises InvalidRequestError: when a step that the settings name is not in the pipeline, or the server is too old
        for a setting that must not be left out.
    """
    document = deepcopy(dict(spec.document))
    platform = deepcopy(dict(spec.platform or {}))
    version = _version(server_version)
    _check_server(settings, version, server_version)
    known = {step.name for step in steps_of(document)}
    if unknown := sorted(settings.steps.keys() - known):
        raise InvalidRequestError(
            f"cluster.steps: {', '.join(unknown)} not in pipeline {spec.name!r}; its steps are "
            f"{', '.join(sorted(known))}."
        )
    part_executors(document, platform, [name for name, step in settings.steps.items() if _is_of_executor(step)])
    steps = list(steps_of(document))
    _set_caching(document, steps, settings.cache)
    for step in steps:
        own = settings.steps.get(step.name, StepSettings())
        _set_task(step.task, own)
        _set_container(step, settings, own)
        config = _executor_config(settings, own)
        variables = settings.variables | own.env.keys()
        if config or (platform and variables):
            present = _below(platform, "platforms", "kubernetes", "deploymentSpec", "executors", step.executor)
            _make_room(present, variables, config)
            _merge(present, config)
    _set_pipeline_config(platform, settings, version)
    return replace(spec, document=document, platform=platform or None)


def _check_server(settings: ClusterSettings, version: tuple[int, int] | None, told: str | None) -> None:
    """Refuse what must not be left out, and what an older server would make something else of."""
    if version is None:
        return
    parts: list[ClusterSettings | StepSettings] = [settings, *settings.steps.values()]
    if version < _SUB_PATH_SINCE and any(volume.sub_path for volume in settings.volumes):
        raise InvalidRequestError(
            f"cluster.volumes: `sub_path` needs Kubeflow Pipelines 2.16, this server is {told}, which would "
            "mount the whole volume in its place. Leave it out and name the folder in the paths instead."
        )
    if version < _AFFINITY_SINCE and any(part.node_affinity for part in parts):
        raise InvalidRequestError(
            f"cluster: `node_affinity` needs Kubeflow Pipelines 2.14, this server is {told}, in which no step would "
            "start. `node_selector` is known to it."
        )
    if version < _METADATA_SINCE and any(part.pod_labels or part.pod_annotations for part in settings.steps.values()):
        raise InvalidRequestError(
            f"cluster.steps: `pod_labels` and `pod_annotations` need Kubeflow Pipelines 2.14, this server is {told}, "
            "which would give all steps those of the first one. Set them for all steps, in `cluster`."
        )


def _is_of_executor(step: StepSettings) -> bool:
    return bool(step.model_dump(exclude=_OF_TASKS, exclude_defaults=True))


def _version(text: str | None) -> tuple[int, int] | None:
    found = re.search(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else None


def _set_task(task: dict[str, Any], step: StepSettings) -> None:
    if step.display_name is not None:
        task.setdefault("taskInfo", {})["name"] = step.display_name
    if step.cache is not None:
        _cache(task, step.cache)
    if step.retries:
        task["retryPolicy"] = {
            "backoffDuration": f"{step.retry_backoff_seconds}s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": _LONGEST_BACKOFF,
            "maxRetryCount": step.retries,
        }
    elif step.retries == 0:
        task.pop("retryPolicy", None)


def _set_caching(document: Mapping[str, Any], steps: Sequence[Step], cache: bool | None) -> None:
    """Switch caching for all. On, it is the steps' only: a volume that an earlier run has made may be gone since."""
    if cache is None:
        return
    for task in (step.task for step in steps) if cache else (task for _, task in tasks_of(document)):
        _cache(task, cache)


def _cache(task: dict[str, Any], cache: bool) -> None:
    key = {name: value for name, value in task.get("cachingOptions", {}).items() if name == "cacheKey"}
    task["cachingOptions"] = {"enableCache": True} | key if cache else {}


def _set_container(step: Step, settings: ClusterSettings, own: StepSettings) -> None:
    container = step.container
    if settings.image and PLACEHOLDER not in container["image"]:
        container["image"] = settings.image
    variables = settings.variables | own.env.keys()
    kept = [variable for variable in container.get("env", []) if variable["name"] not in variables]
    env = [*kept, *({"name": name, "value": value} for name, value in (settings.env | own.env).items())]
    if env or "env" in container:
        container["env"] = env
    if _is_of_executor(own):
        set_resources(step, own)


def _make_room(present: dict[str, Any], variables: Collection[str], config: Mapping[str, Any]) -> None:
    """Take out what the pipeline's author set and the model sets, too, where Kubeflow would not let the model's win."""
    # A variable with a value and a source is refused by Kubernetes.
    for name in ("secretAsEnv", "configMapAsEnv"):
        if name in present:
            entries = [
                entry | {"keyToEnv": [key for key in entry.get("keyToEnv", []) if key["envVar"] not in variables]}
                for entry in present[name]
            ]
            present[name] = [entry for entry in entries if entry["keyToEnv"]]
    if "fieldPathAsEnv" in present:
        present["fieldPathAsEnv"] = [entry for entry in present["fieldPathAsEnv"] if entry["name"] not in variables]
    # Labels that come with the run would take the place of those that stand here.
    if "nodeSelector" in config:
        present.get("nodeSelector", {}).pop("nodeSelectorJson", None)
    # Kubernetes is content when one of several terms holds, so that the author's would undo ours.
    if "nodeAffinity" in config:
        present.pop("nodeAffinity", None)


def _executor_config(settings: ClusterSettings, step: StepSettings) -> dict[str, Any]:
    """Return the ``KubernetesExecutorConfig`` of one step; int64 fields are text there, as protobuf's JSON has them."""
    user, group = settings.run_as_user, settings.run_as_group
    metadata = {
        "labels": settings.pod_labels | step.pod_labels,
        "annotations": settings.pod_annotations | step.pod_annotations,
    }
    config = {
        "pvcMount": [
            {
                "constant": volume.claim,
                "mountPath": volume.mount_path,
                "pvcNameParameter": _constant(volume.claim),
                **({"subPath": volume.sub_path} if volume.sub_path else {}),
            }
            for volume in settings.volumes
        ],
        "secretAsEnv": [_environment(secret, "secretName", "secretKey") for secret in settings.secrets],
        "configMapAsEnv": [_environment(source, "configMapName", "configMapKey") for source in settings.config_maps],
        "nodeSelector": {"labels": labels} if (labels := settings.node_selector | step.node_selector) else {},
        "nodeAffinity": [_affinity(term) for term in step.node_affinity or settings.node_affinity],
        "tolerations": [_toleration(toleration) for toleration in (*settings.tolerations, *step.tolerations)],
        "podMetadata": {name: entries for name, entries in metadata.items() if entries},
        "activeDeadlineSeconds": None if step.timeout_seconds is None else str(step.timeout_seconds),
        "imagePullSecret": [
            {"secretName": name, "secretNameParameter": _constant(name)} for name in settings.image_pull_secrets
        ],
        "imagePullPolicy": settings.image_pull_policy,
        "securityContext": {
            **({"runAsUser": str(user), "runAsNonRoot": True} if user is not None else {}),
            **({"runAsGroup": str(group)} if group is not None else {}),
        },
    }
    return {name: value for name, value in config.items() if value}


def _constant(value: str) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}


def _environment(source: EnvironmentSource, name_field: str, key_field: str) -> dict[str, Any]:
    return {
        # The plain name is for servers before 2.5, which do not know the parameter.
        name_field: source.name,
        f"{name_field}Parameter": _constant(source.name),
        "keyToEnv": [{key_field: key, "envVar": variable} for key, variable in source.keys.items()],
        "optional": source.optional,
    }


def _affinity(term: NodeAffinityTerm) -> dict[str, Any]:
    terms = {
        "matchExpressions": [_requirement(each) for each in term.match_expressions],
        "matchFields": [_requirement(each) for each in term.match_fields],
        "weight": term.weight,
    }
    return {name: value for name, value in terms.items() if value}


def _requirement(requirement: NodeRequirement) -> dict[str, Any]:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": requirement.operator, **values}


def _toleration(toleration: Toleration) -> dict[str, Any]:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": None if toleration.seconds is None else str(toleration.seconds),
    }
    return {name: value for name, value in fields.items() if value}


def _merge(present: dict[str, Any], added: Mapping[str, Any]) -> None:
    """Add to what the pipeline's author set; where both say something about one thing, the model's setting holds."""
    for name, value in added.items():
        if isinstance(value, dict):
            _merge(present.setdefault(name, {}), value)
        elif isinstance(value, list):
            present[name] = [item for item in present.get(name, []) if not _replaced(item, value)] + value
        else:
            present[name] = value


def _replaced(item: Mapping[str, Any], added: list[dict[str, Any]]) -> bool:
    # A pod with two mounts at one path is refused; the rest of the lists may repeat themselves.
    return item in added or any("mountPath" in item and item["mountPath"] == new.get("mountPath") for new in added)


def _below(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        mapping = mapping.setdefault(name, {})
    return mapping


def _set_pipeline_config(platform: dict[str, Any], settings: ClusterSettings, version: tuple[int, int] | None) -> None:
    wanted = {
        "resourceTtlOnCompletion": settings.time_to_live_seconds,
        "activeDeadlineSeconds": settings.active_deadline_seconds,
    }
    present = platform.get("platforms", {}).get("kubernetes", {}).get("pipelineConfig", {})
    config = present | {name: value for name, value in wanted.items() if value is not None}
    unknown = {name for name in config if (version or (0, 0)) < _PIPELINE_CONFIG_SINCE.get(name, (0, 0))}
    if unknown:
        log.warning(
            "Left out of the pipeline, because they need Kubeflow Pipelines 2.17: %s.", ", ".join(sorted(unknown))
        )
    if kept := {name: value for name, value in config.items() if name not in unknown}:
        _below(platform, "platforms", "kubernetes")["pipelineConfig"] = kept
    elif present:
        del platform["platforms"]["kubernetes"]["pipelineConfig"]
