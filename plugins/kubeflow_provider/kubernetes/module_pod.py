"""Runs a module of the pipeline half in a pod, with the parts of ``KubernetesPodOperator``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, get_current_context

from kubeflow_provider.access import Access
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from kubeflow_provider.kubernetes.errors import typed_errors
from kubeflow_provider.kubernetes.pod_arguments import pod_arguments
from kubeflow_provider.kubernetes.pod_start import (
    CALL_LABEL,
    RIGHTS,
    START_SECONDS,
    find,
    is_of_call,
    missing_node,
    name_of,
    start,
)
from kubeflow_provider.kubernetes.settings import ClusterSettings

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from kubernetes.client import V1Pod

# Airflow leaves a task five seconds after it has asked it to stop.
_GRACE_SECONDS = 5
_POLL_SECONDS = 1
#: What is over when it is looked at needs no time to start.
_STARTED_SECONDS = 1
_CONTAINER = "base"
_NO_ROOM = "Ask for less (`cluster.module_pod`), or give the cluster more, and try again"


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

    def prepare(self, module: str, arguments: Mapping[str, str], *, timeout_seconds: float) -> dict[str, Any]:
        """Return the pod as it is to be made, for a :class:`~kubeflow_provider.kubernetes.pod_start.PreparedPod`.

        :raises InvalidRequestError: when the settings cannot work.
        """
        from kubernetes.client import ApiClient

        context = _context()
        with typed_errors(f"prepare {module} in a pod", conn_id=self._kubernetes_conn_id):
            operator = self._new_operator(_command(module, arguments), timeout_seconds, context)
            document: dict[str, Any] = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(context))
        return document

    def run(
        self, module: str, arguments: Mapping[str, str], *, timeout_seconds: float, is_prepared: bool = False
    ) -> None:
        """Run the module and wait for it; its output goes to the task log. An empty value leaves its key out.

        :param timeout_seconds: after this time on a node Kubernetes ends the pod, also when nobody waits any more.
        :param is_prepared: the pod that :meth:`prepare` has described was started by somebody else and is over;
            what became of it is told here.
        :raises InvalidRequestError: when it exits with 2 (the message is its last line), or the settings cannot work.
        :raises OutageError: when Kubernetes is away; to be called again.
        :raises ServiceUnavailableError: when Kubernetes cannot be asked; the pod goes on, and a retry waits for it.
        :raises KubeflowProviderError: when it exits with another code, takes too long, or does not start.
        """
        self._stopped = False
        conn_id = self._kubernetes_conn_id
        access = _access(conn_id)
        if is_prepared:
            access.recall()  # whoever started it was let in
        try:
            with typed_errors(f"run {module} in a pod", conn_id=conn_id, advice={403: RIGHTS}, access=access):
                self._run(_command(module, arguments), timeout_seconds, is_prepared)
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

    def _run(self, command: list[str], timeout_seconds: float, is_prepared: bool) -> None:
        from kubernetes.client import ApiException

        context = _context()
        operator = self._new_operator(command, timeout_seconds, context)
        if is_prepared:
            operator.schedule_timeout_seconds = operator.startup_timeout_seconds = _STARTED_SECONDS
        # Known before it exists: `terminate` may be called while it is being made.
        operator.pod = operator.build_pod_request_obj(context)
        self._operator = operator
        if not is_prepared:
            start(operator.pod_manager, operator.pod)
        elif not ((found := find(operator.pod_manager, operator.pod)) and is_of_call(found, operator.pod)):
            raise _gone(command[0], operator.pod)
        if self._stopped:
            operator.on_kill()
        try:
            error = _outcome(operator, operator.pod, command[0], timeout_seconds)
        except ApiException as answer:
            if answer.status != 404:
                raise
            error = _gone(command[0], operator.pod)
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
                f"cluster.image: {command[0]} needs an image to run in; name one in which Python finds it, "
                "as `image` of the `cluster` settings."
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


def _access(conn_id: str) -> Access:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    from kubeflow_provider.kubernetes.client import kubernetes_access

    with typed_errors("find the cluster's connection", conn_id=conn_id):
        return kubernetes_access(KubernetesHook.get_connection(conn_id))


def _gone(module: str, pod: V1Pod) -> KubeflowProviderError:
    return KubeflowProviderError(
        f"{module} is gone: its pod {name_of(pod)} was deleted, by somebody or with its node. Another try starts anew."
    )


def _command(module: str, arguments: Mapping[str, str]) -> list[str]:
    return [module, *(f"--{key}={value}" for key, value in arguments.items() if value != "")]


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
    found = operator.pod_manager.read_pod(pod)
    status = found.status
    for container in status.container_statuses or []:
        waiting = container.state.waiting
        if waiting and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
            return _joined(waiting.reason, waiting.message)
    if missing := missing_node(found):
        return missing if "persistentvolumeclaim" in missing else f"{missing.rstrip('.')}. {_NO_ROOM}"
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
            f"{module} ran out of memory; raise `cluster.module_pod.memory`. Its last line: {last_words}"
        )
    return KubeflowProviderError(f"{module} exited with {ended.exit_code}: {last_words}")


def _joined(*parts: str | None) -> str:
    return ": ".join(" ".join(part.split()) for part in parts if part)
