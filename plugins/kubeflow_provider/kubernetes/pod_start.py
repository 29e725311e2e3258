"""Starts a module's pod: one for each call of a task, whoever asks for it how often."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kubeflow_provider.access import Access
from kubeflow_provider.exceptions import ServiceUnavailableError
from kubeflow_provider.kubernetes.errors import typed_errors

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager
    from kubernetes.client import V1Pod

    from kubeflow_provider.kubernetes.client import ConnectedKubernetesHook

log = logging.getLogger(__name__)

#: Label that tells a pod of this very call from one that the same task has left behind. Tries that are under way find
#: their pod by it: never rename.
CALL_LABEL = "kubeflow-provider/call"

#: How long a pod may wait for a node, and then for image and volumes. A cluster that has to grow takes minutes.
START_SECONDS = 600
#: After so long without having begun a pod is given up that a triggerer looks after.
GIVE_UP_SECONDS = 2 * START_SECONDS
#: How long a pod that was deleted may take to be gone.
GONE_SECONDS = 60

RIGHTS = "The rights that are needed stand in docs/operators/modules.md#rights."

_POLL_SECONDS = 1
_OVER = ("Succeeded", "Failed")


def start(pods: PodManager, request: V1Pod) -> None:
    """Make the pod, unless an earlier try of this call has left it; one of another call makes room first."""
    from kubernetes.client import ApiException

    where = name_of(request)
    found = find(pods, request)
    if found and _is_usable(found, request):
        log.info("Pod %s is there already; waiting for it.", where)
        return
    if found:
        log.info("Deleting pod %s, which an earlier try has left.", where)
        pods.delete_pod(found)
        _wait_until_gone(pods, request)
    try:
        pods.create_pod(request)
    except ApiException as error:
        # A conflict with itself: the answer to an earlier request got lost on its way.
        if error.status != 409 or not ((found := find(pods, request)) and _is_usable(found, request)):
            raise
    log.info("Pod %s runs `python -m %s`.", where, request.spec.containers[0].args[0])


def find(pods: PodManager, request: V1Pod) -> V1Pod | None:
    """Return the pod of a name, ``None`` when there is none."""
    from kubernetes.client import ApiException

    try:
        return pods.read_pod(request)
    except ApiException as error:
        if error.status == 404:
            return None
        raise


def is_of_call(pod: V1Pod, request: V1Pod) -> bool:
    """Tell whether a pod belongs to this very call."""
    return bool((pod.metadata.labels or {}).get(CALL_LABEL) == request.metadata.labels[CALL_LABEL])


def name_of(pod: V1Pod) -> str:
    """Return namespace and name, for messages."""
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def missing_node(pod: V1Pod) -> str | None:
    """Return in the scheduler's words why a pod has no node; ``None`` for one that has, or was not looked at."""
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return ": ".join(" ".join(part.split()) for part in (condition.reason, condition.message) if part)
    return None


class PodLook(NamedTuple):
    """How a pod is.

    :param is_over: waiting longer is of no use: it has ended, is gone, or does not start.
    :param waits_for: what a node lacks for it, and how long it waits for one; ``None`` when nothing is missing.
    """

    is_over: bool
    waits_for: str | None = None


class PreparedPod:
    """A module's pod that somebody has prepared elsewhere: a triggerer starts it and looks after it.

    :param document: the pod as it is to be made; JSON types.
    :param hook: leads to the cluster.
    :param access: what is known of the hook's credentials.
    """

    def __init__(self, document: Mapping[str, Any], hook: ConnectedKubernetesHook, access: Access) -> None:
        from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
        from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager

        self.access = access
        self._request = PodGenerator.deserialize_model_dict(dict(document))
        with typed_errors("make a client", was_sent=False):
            self._pods = PodManager(kube_client=hook.core_v1_client)

    @property
    def name(self) -> str:
        """Namespace and name, for messages."""
        return name_of(self._request)

    def start(self) -> None:
        """Make it, unless it is there. Safe to repeat."""
        with typed_errors(f"run pod {self.name}", advice={403: RIGHTS}, was_sent=False, access=self.access):
            start(self._pods, self._request)

    def look(self) -> PodLook:
        """Say how it is now."""
        from airflow.providers.cncf.kubernetes.utils.pod_manager import detect_pod_terminate_early_issues

        with typed_errors(f"look at pod {self.name}", advice={403: RIGHTS}, access=self.access):
            pod = find(self._pods, self._request)
        if pod is None or not is_of_call(pod, self._request) or pod.status.phase in _OVER:
            return PodLook(is_over=True)
        if pod.status.phase != "Pending":
            ended = (one.name == "base" and one.state.terminated for one in pod.status.container_statuses or [])
            return PodLook(is_over=any(ended))
        waited = time.time() - pod.metadata.creation_timestamp.timestamp()
        missing = missing_node(pod)
        return PodLook(
            is_over=bool(detect_pod_terminate_early_issues(pod)) or waited > GIVE_UP_SECONDS,
            waits_for=missing and f"Pod {self.name} waits for a node, {GIVE_UP_SECONDS} s at most: {missing}",
        )

    def delete(self) -> None:
        """Delete it; a pod of the same name that a later call has made stays. Harmless when there is none."""
        with typed_errors(f"delete pod {self.name}", advice={403: RIGHTS}, access=self.access):
            pod = find(self._pods, self._request)
            if pod is not None and is_of_call(pod, self._request):
                self._pods.delete_pod(pod)


def _wait_until_gone(pods: PodManager, pod: V1Pod) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while find(pods, pod):
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(
                f"Pod {name_of(pod)} of an earlier try was deleted {GONE_SECONDS} s ago and is still there; `kubectl "
                "describe pod` says why. No second one is started beside it."
            )
        time.sleep(_POLL_SECONDS)


def _is_usable(pod: V1Pod, request: V1Pod) -> bool:
    return is_of_call(pod, request) and pod.status.phase != "Failed" and pod.metadata.deletion_timestamp is None
