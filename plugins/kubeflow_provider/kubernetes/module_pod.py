"""Runs a module of the pipeline half in a pod, with the parts of ``KubernetesPodOperator``."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, get_current_context

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, ServiceUnavailableError
from kubeflow_provider.kubernetes.errors import typed_errors
from kubeflow_provider.kubernetes.pod_arguments import pod_arguments
from kubeflow_provider.kubernetes.settings import ClusterSettings

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from kubernetes.client import V1Pod

log = logging.getLogger(__name__)

#: Label that tells a pod of this very call from one that the same task has left behind. Tries that are under way find
#: their pod by it: never rename.
CALL_LABEL = "kubeflow-provider/call"

#: How long a pod may wait for a node, and then for image and volumes. A cluster that has to grow takes minutes.
START_SECONDS = 600
#: How long a pod that was deleted may take to be gone.
GONE_SECONDS = 60

# Airflow leaves a task five seconds after it has asked it to stop.
_GRACE_SECONDS = 5
_POLL_SECONDS = 1
_CONTAINER = "base"
_RIGHTS = "The rights that are needed stand in deploy/."


class ModulePod:
    """One pod that runs ``python -m module --key=value ...``.

    Its name is made from the task's, so that the cluster itself sees to it that there are never two at once. A try
    that finds the pod of an earlier one, whose worker has died, waits for that pod; after a "clear", or when arguments
    or settings have changed meanwhile, it is deleted first.

    :param settings: cluster settings of the model; ``image`` is needed.
    :param kubernetes_conn_id: Airflow connection of type ``kubernetes``.
    :param namespace: where the settings name none; without both, the connection's or the worker's own.
    """

    def __init__(
        self,
        *,
        settings: ClusterSettings,
        kubernetes_conn_id: str = "kubernetes_default",
        namespace: str | None = None,
    ) -> None:
        self._settings = settings
        self._kubernetes_conn_id = kubernetes_conn_id
        self._namespace = settings.namespace or namespace
        self._operator: KubernetesPodOperator | None = None
        self._stopped = False

    def run(self, module: str, arguments: Mapping[str, str], *, timeout_seconds: float) -> None:
        """Run the module and wait for it; its output goes to the task log. An empty value leaves its key out.

        :param timeout_seconds: after this time on a node Kubernetes ends the pod, also when nobody waits any more.
        :raises InvalidRequestError: when it exits with 2 (the message is its last line), or the settings cannot work.
        :raises ServiceUnavailableError: when Kubernetes cannot be asked; the pod goes on, and a retry waits for it.
        :raises KubeflowProviderError: when it exits with another code, takes too long, or does not start.
        """
        command = [module, *(f"--{key}={value}" for key, value in arguments.items() if value != "")]
        self._stopped = False
        try:
            with typed_errors(f"run {module} in a pod", conn_id=self._kubernetes_conn_id, advice={403: _RIGHTS}):
                self._run(command, timeout_seconds)
        except KubeflowProviderError:
            if self._stopped:  # the error only tells that the pod has gone
                raise KubeflowProviderError(f"{module} was stopped.") from None
            raise
        finally:
            self._operator = None

    def terminate(self) -> None:
        """Delete the pod of :meth:`run`, from a signal handler. Harmless when there is none."""
        if operator := self._operator:
            self._stopped = True
            operator.on_kill()

    def _run(self, command: list[str], timeout_seconds: float) -> None:
        from kubernetes.client import ApiException

        context = _context()
        operator = self._new_operator(command, timeout_seconds, context)
        # Known before it exists: `terminate` may be called while it is being made.
        operator.pod = operator.build_pod_request_obj(context)
        self._operator = operator
        _start(operator, operator.pod)
        if self._stopped:
            operator.on_kill()
        try:
            error = _outcome(operator, operator.pod, command[0], timeout_seconds)
        except ApiException as answer:
            if answer.status != 404:
                raise
            error = KubeflowProviderError(
                f"{command[0]} is gone: its pod {_where(operator.pod)} was deleted, by somebody or with its node. "
                "Another try starts anew."
            )
        operator.process_pod_deletion(operator.pod, reraise=False)
        if error:
            raise error

    def _new_operator(
        self, command: list[str], timeout_seconds: float, context: Context | None
    ) -> KubernetesPodOperator:
        """Return the operator whose parts do the work.

        Its ``execute`` stays unused: it needs a task around it, says no exit code, and takes the pod of a task that
        was cleared for its own.
        """
        from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

        settings = self._settings
        if not settings.image:
            raise InvalidRequestError(
                f"cluster.image: {command[0]} needs an image to run in; set `cluster: {{image: ...}}` in the model's "
                "YAML to the one that `make image` has built."
            )
        task, generation = _identity(context)
        call = _digest([generation, command, settings.model_dump(mode="json"), timeout_seconds])
        return KubernetesPodOperator(
            task_id="module",
            kubernetes_conn_id=self._kubernetes_conn_id,
            namespace=self._namespace,
            name=f"{command[0].rpartition('.')[2].replace('_', '-')[:40]}-{_digest(task or command)}",
            random_name_suffix=False,
            # As Kubeflow does for its steps: a mesh's side-car would live on when the module is over.
            labels={CALL_LABEL: call, "sidecar.istio.io/inject": "false"},
            cmds=["python", "-m"],
            # Kubernetes takes `$$` for an escaped `$`, and `$(NAME)` for a variable.
            arguments=[argument.replace("$", "$$") for argument in command],
            active_deadline_seconds=math.ceil(timeout_seconds),
            schedule_timeout_seconds=START_SECONDS,
            startup_timeout_seconds=START_SECONDS,
            startup_check_interval_seconds=_POLL_SECONDS,
            termination_grace_period=_GRACE_SECONDS,
            # The end of the log becomes the container's message: there stand the module's last words.
            termination_message_policy="FallbackToLogsOnError",
            base_container_name=_CONTAINER,
            container_name_log_prefix_enabled=False,
            **pod_arguments(settings),
        )


def _context() -> Context | None:
    try:
        return get_current_context()
    except RuntimeError:
        return None  # somebody uses the hook outside of a task


def _identity(context: Context | None) -> tuple[list[Any], int]:
    """Return what names the task that asks, and a number that a "clear" raises and a retry does not."""
    if context is None:
        return [], 0
    instance = context["ti"]
    task = [instance.dag_id, instance.run_id, instance.task_id, instance.map_index]
    return task, (instance.max_tries or 0) - (context["task"].retries or 0)


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _start(operator: KubernetesPodOperator, request: V1Pod) -> None:
    """Make the pod, unless an earlier try of this call has left it; one of another call makes room first."""
    from kubernetes.client import ApiException

    where = _where(request)
    found = _find(operator, request)
    if found and _is_usable(found, request):
        log.info("An earlier try has left pod %s; waiting for it.", where)
        return
    if found:
        log.info("Deleting pod %s, which an earlier try has left.", where)
        operator.pod_manager.delete_pod(found)
        _wait_until_gone(operator, request)
    try:
        operator.pod_manager.create_pod(request)
    except ApiException as error:
        # A conflict with itself: the answer to an earlier request got lost on its way.
        if error.status != 409 or not ((found := _find(operator, request)) and _is_usable(found, request)):
            raise
    log.info("Pod %s runs `python -m %s`.", where, operator.arguments[0])


def _wait_until_gone(operator: KubernetesPodOperator, pod: V1Pod) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while _find(operator, pod):
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(
                f"Pod {_where(pod)} of an earlier try was deleted {GONE_SECONDS} s ago and is still there; `kubectl "
                "describe pod` says why. No second one is started beside it."
            )
        time.sleep(_POLL_SECONDS)


def _find(operator: KubernetesPodOperator, request: V1Pod) -> V1Pod | None:
    from kubernetes.client import ApiException

    try:
        return operator.pod_manager.read_pod(request)
    except ApiException as error:
        if error.status == 404:
            return None
        raise


def _is_usable(pod: V1Pod, request: V1Pod) -> bool:
    same = (pod.metadata.labels or {}).get(CALL_LABEL) == request.metadata.labels[CALL_LABEL]
    return same and pod.status.phase != "Failed" and pod.metadata.deletion_timestamp is None


def _outcome(
    operator: KubernetesPodOperator, pod: V1Pod, module: str, timeout_seconds: float
) -> KubeflowProviderError | None:
    """Relay the module's output until it is over, and return what went wrong."""
    from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException
    from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException

    try:
        operator.await_pod_start(pod)
    except (PodLaunchFailedException, PodLaunchTimeoutException):
        return KubeflowProviderError(f"{module} did not start: {_obstacle(operator, pod)}")
    operator.await_pod_completion(pod)
    # A mesh that takes no heed of the label: then only the module's own container is waited for.
    istio_enabled = operator.is_istio_enabled(pod)
    return _failure(operator.pod_manager.await_pod_completion(pod, istio_enabled, _CONTAINER), module, timeout_seconds)


def _obstacle(operator: KubernetesPodOperator, pod: V1Pod) -> str:
    """Say why a pod does not start: in the words of its container, of the scheduler, or of its latest warning."""
    status = operator.pod_manager.read_pod(pod).status
    for container in status.container_statuses or []:
        waiting = container.state.waiting
        if waiting and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            return _joined(waiting.reason, waiting.message)
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return _joined(condition.reason, condition.message)
    warnings = [event for event in operator.pod_manager.read_pod_events(pod).items if event.type == "Warning"]
    if warnings:
        return _joined(warnings[-1].reason, warnings[-1].message)
    return _joined(status.reason, status.message) or "the cluster does not say why"


def _failure(pod: V1Pod, module: str, timeout_seconds: float) -> KubeflowProviderError | None:
    status = pod.status
    if status.reason == "DeadlineExceeded":
        return KubeflowProviderError(f"{module} took longer than {timeout_seconds:.0f} s; stopped.")
    containers = {container.name: container for container in status.container_statuses or []}
    ended = containers[_CONTAINER].state.terminated if _CONTAINER in containers else None
    if ended is None:
        reason = _joined(status.reason, status.message) or "no reason was given"
        return KubeflowProviderError(f"{module} was ended by the cluster: {reason}")
    if ended.exit_code == 0:
        return None
    last_words = ((ended.message or "").strip().splitlines() or ["it said nothing"])[-1]
    if ended.exit_code == 2:
        return InvalidRequestError(last_words)
    if ended.reason == "OOMKilled":
        return KubeflowProviderError(
            f"{module} ran out of memory; raise `cluster.module_pod.memory` in the model's YAML. Its last line: "
            f"{last_words}"
        )
    return KubeflowProviderError(f"{module} exited with {ended.exit_code}: {last_words}")


def _where(pod: V1Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _joined(*parts: str | None) -> str:
    return ": ".join(" ".join(part.split()) for part in parts if part)
