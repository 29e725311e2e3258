"""What the connection form's Test button finds out: that KServe is there, and lets the caller do what tasks do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubeflow_provider.exceptions import PermissionDeniedError
from kubeflow_provider.hooks._kserve.api import GROUP, PLURAL, ClusterApi
from kubeflow_provider.hooks._kserve.settings import DoorKind

#: Group and resource -> verbs.
Rights = Mapping[tuple[str, str], Sequence[str]]

#: Of the operators and the sensor for InferenceServices.
TASKS: Rights = {
    (GROUP, PLURAL): ("get", "create", "patch", "delete"),
    ("apps", "deployments"): ("list",),
    ("", "pods"): ("list",),
    ("", "events"): ("list",),
    ("", "pods/log"): ("get",),
}
#: Of predictions by the door `service_proxy`.
SERVICE_PROXY: Rights = {("", "services/proxy"): ("create",)}
#: Of what is done besides where versions are released through the hook.
RELEASES: Rights = {
    (GROUP, PLURAL): ("list",),
    (GROUP, "servingruntimes"): ("list",),
    ("apps", "controllerrevisions"): ("get", "create", "delete"),
}


def check_access(api: ClusterApi, *, door: DoorKind) -> str:
    """Look at what is there, and ask Kubernetes whether the caller may do what tasks do.

    :param door: of predictions.
    :return: what has been found out, as the end of a sentence.
    :raises PermissionDeniedError: naming every right that tasks need and that is missing.
    """
    needed = [TASKS, SERVICE_PROXY] if door is DoorKind.SERVICE_PROXY else [TASKS]
    if missing := [right for rights in needed for right in _missing(api, rights)]:
        raise PermissionDeniedError(
            f"Airflow may not {', '.join(missing)} in namespace {api.namespace}. The rights that are needed stand in "
            "docs/operators/inference-services.md#rights.",
            http_status=403,
        )
    if missing := list(_missing(api, RELEASES)):
        api.get_service("any")
        return f"tasks may do all that they do. Not allowed, and needed for releases only: {', '.join(missing)}"
    services, runtimes = api.services(), api.runtimes()
    return f"{len(services)} InferenceService(s), ServingRuntimes of its own: {', '.join(runtimes) or 'none'}"


def _missing(api: ClusterApi, rights: Rights) -> Iterable[str]:
    for (group, resource), verbs in rights.items():
        if refused := [verb for verb in verbs if not api.may(verb, resource, group)]:
            yield f"{'/'.join(refused)} {resource}"
