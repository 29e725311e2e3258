"""Finds the steps of a compiled pipeline that run in a container of their own, and changes what they ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings_base import amount
from kubeflow_provider.kubernetes.step_settings import StepSettings

#: Images of what the server does itself (CreatePVC and the like): it knows them by this name.
_STUB_IMAGE = "argostub/"
#: A value that the pipeline itself chooses at run time, by one of its parameters.
PLACEHOLDER = "{{$"

#: Setting -> how the field that Kubeflow before 2.5 reads counts it: CPUs, and 10^9 bytes.
_RESOURCES = {"cpu_request": 1.0, "cpu_limit": 1.0, "memory_request": 1e9, "memory_limit": 1e9}


class Step(NamedTuple):
    """One step of a pipeline: its task, and the executor that its container stands under."""

    name: str
    task: dict[str, Any]
    executor: str
    container: dict[str, Any]


def steps_of(document: Mapping[str, Any]) -> Iterator[Step]:
    """Yield everything that runs in a container of the pipeline's own, nested pipelines included."""
    components = document.get("components", {})
    executors = document["deploymentSpec"].get("executors", {})
    for name, task in tasks_of(document):
        label = components.get(_component(task), {}).get("executorLabel")
        container = executors.get(label, {}).get("container")
        if container and not container["image"].startswith(_STUB_IMAGE):
            yield Step(name, task, label, container)


def tasks_of(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every task of a pipeline with its name, nested pipelines, loops and what the server does included."""
    for part in (document["root"], *document.get("components", {}).values()):
        yield from part.get("dag", {}).get("tasks", {}).items()


def part_executors(document: dict[str, Any], platform: dict[str, Any], names: Collection[str]) -> None:
    """Give steps an executor of their own where they share it: the compiler writes what is the same only once.

    :param document: the pipeline spec. :param platform: the platform spec. Both are changed.
    :param names: of the steps.
    """
    users = Counter(_component(task) for _, task in tasks_of(document))
    components, executors = document.get("components", {}), document["deploymentSpec"].get("executors", {})
    settings = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    for step in list(steps_of(document)):
        shared = _component(step.task)
        if step.name not in names or users[shared] < 2:
            continue
        users[shared] -= 1
        own, executor = _unused(f"{shared}-{step.name}", components), _unused(f"{step.executor}-{step.name}", executors)
        components[own] = deepcopy(components[shared]) | {"executorLabel": executor}
        executors[executor] = deepcopy(executors[step.executor])
        if step.executor in settings:
            settings[executor] = deepcopy(settings[step.executor])
        step.task["componentRef"] = {"name": own}


def _component(task: Mapping[str, Any]) -> str:
    return str(task.get("componentRef", {}).get("name"))


def _unused(name: str, taken: Collection[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def set_resources(step: Step, settings: StepSettings) -> None:
    """Put a step's resources and accelerators into its container, beside those of the author that are not changed.

    :raises InvalidRequestError: when a request is larger than its limit, or an accelerator lacks type or number.
    """
    resources = deepcopy(step.container.get("resources", {}))
    for name, unit in _RESOURCES.items():
        if value := getattr(settings, name):
            first, second = name.split("_")
            resources[f"{first}{second.title()}"] = amount(value) / unit
            resources[f"resource{first.title()}{second.title()}"] = value
    _set_accelerator(resources, step.name, settings)
    _check(resources, step.name)
    if resources:
        step.container["resources"] = resources
    else:
        step.container.pop("resources", None)


def _set_accelerator(resources: dict[str, Any], step: str, settings: StepSettings) -> None:
    kind, number = settings.accelerator_type, settings.accelerator_limit
    if number == 0:
        resources.pop("accelerator", None)
        return
    accelerator = resources.get("accelerator", {})
    if kind is not None:
        accelerator |= {"type": kind, "resourceType": kind}
    if number is not None:
        accelerator |= {"count": str(number), "resourceCount": str(number)}
    if not accelerator:
        return
    # Kubeflow leaves out, without a word, an accelerator of which it does not know both.
    for fields, setting in (
        (("type", "resourceType"), "accelerator_type"),
        (("count", "resourceCount"), "accelerator_limit"),
    ):
        if (kind or number) and not any(accelerator.get(field) for field in fields):
            raise InvalidRequestError(f"cluster.steps.{step}: its accelerators need `{setting}` as well.")
    resources["accelerator"] = accelerator


def _check(resources: Mapping[str, Any], step: str) -> None:
    """Kubernetes refuses a request above the limit only when the step's pod is made."""
    for what in ("cpu", "memory"):
        request, limit = (resources.get(f"resource{what.title()}{part}") for part in ("Request", "Limit"))
        if not request or not limit or PLACEHOLDER in request + limit:
            continue
        try:
            is_above = amount(request) > amount(limit)
        except (ValueError, KeyError):  # written by somebody else, in a way that we do not know
            continue
        if is_above:
            raise InvalidRequestError(
                f"cluster.steps.{step}: {what}_request is {request}, above {what}_limit, which is {limit}; one of "
                "them may be the pipeline's own. Set both."
            )
