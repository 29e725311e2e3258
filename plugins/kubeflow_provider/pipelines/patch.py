"""Puts cluster settings into a compiled pipeline, in the form that ``kfp.kubernetes`` and the KFP compiler give them.

The pipeline itself stays generic: one compiled file for every world, cluster and model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings import ClusterSettings, EnvironmentSource, StepSettings, Toleration
from kubeflow_provider.pipeline_spec import PipelineSpec

log = logging.getLogger(__name__)

#: Images of what the server does itself (CreatePVC and the like): it knows them by this name.
_STUB_IMAGE = "argostub/"
#: An image that the pipeline itself chooses at run time, by one of its parameters.
_PLACEHOLDER = "{{$"
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


class _Step(NamedTuple):
    """One step of a pipeline: its task, and the executor that its container stands under."""

    name: str
    task: dict[str, Any]
    executor: str
    container: dict[str, Any]


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
    if version and version < _SUB_PATH_SINCE and any(volume.sub_path for volume in settings.volumes):
        raise InvalidRequestError(
            f"cluster.volumes: `sub_path` needs Kubeflow Pipelines 2.16, this server is {server_version}, which would "
            "mount the whole volume in its place. Leave it out and name the folder in the paths instead."
        )
    steps = list(_steps(document))
    known = {step.name for step in steps}
    if unknown := sorted(settings.steps.keys() - known):
        raise InvalidRequestError(
            f"cluster.steps: {', '.join(unknown)} not in pipeline {spec.name!r}; its steps are "
            f"{', '.join(sorted(known))}."
        )
    for step in steps:
        own = settings.steps.get(step.name, StepSettings())
        _set_task(step.task, own)
        _set_container(step.container, settings)
        config = _executor_config(settings, own)
        if config or (platform and settings.variables):
            present = _below(platform, "platforms", "kubernetes", "deploymentSpec", "executors", step.executor)
            _make_room(present, settings.variables, config)
            _merge(present, config)
    _set_pipeline_config(platform, settings, version)
    return replace(spec, document=document, platform=platform or None)


def _version(text: str | None) -> tuple[int, int] | None:
    found = re.search(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else None


def _steps(document: Mapping[str, Any]) -> Iterator[_Step]:
    """Yield everything that runs in a container of the pipeline's own, nested pipelines included."""
    components = document.get("components", {})
    executors = document["deploymentSpec"].get("executors", {})
    for part in (document["root"], *components.values()):
        for name, task in part.get("dag", {}).get("tasks", {}).items():
            label = components.get(task.get("componentRef", {}).get("name"), {}).get("executorLabel")
            container = executors.get(label, {}).get("container")
            if container and not container["image"].startswith(_STUB_IMAGE):
                yield _Step(name, task, label, container)


def _set_task(task: dict[str, Any], step: StepSettings) -> None:
    if step.display_name is not None:
        task.setdefault("taskInfo", {})["name"] = step.display_name
    if step.cache is not None:
        task["cachingOptions"] = {"enableCache": True} if step.cache else {}
    if step.retries:
        task["retryPolicy"] = {
            "backoffDuration": f"{step.retry_backoff_seconds}s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": _LONGEST_BACKOFF,
            "maxRetryCount": step.retries,
        }
    elif step.retries == 0:
        task.pop("retryPolicy", None)


def _set_container(container: dict[str, Any], settings: ClusterSettings) -> None:
    if settings.image and _PLACEHOLDER not in container["image"]:
        container["image"] = settings.image
    kept = [variable for variable in container.get("env", []) if variable["name"] not in settings.variables]
    env = [*kept, *({"name": name, "value": value} for name, value in settings.env.items())]
    if env or "env" in container:
        container["env"] = env


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


def _executor_config(settings: ClusterSettings, step: StepSettings) -> dict[str, Any]:
    """Return the ``KubernetesExecutorConfig`` of one step; int64 fields are text there, as protobuf's JSON has them."""
    user, group = settings.run_as_user, settings.run_as_group
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
        "tolerations": [_toleration(toleration) for toleration in (*settings.tolerations, *step.tolerations)],
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
