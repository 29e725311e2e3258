"""Runs modules of the pipeline half in pods beside the pipelines."""

from __future__ import annotations

from collections.abc import Mapping

from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.kubernetes.module_pod import ModulePod
from kubeflow_provider.kubernetes.settings import ClusterSettings
from kubeflow_provider.services import JsonValue, PreparedModule

#: What Airflow's Kubernetes provider calls its connection; without one of that name it takes what the pod offers.
_KUBERNETES_CONN_ID = "kubernetes_default"


class ModulesInPods:
    """The part of a pipeline service that is about modules.

    :ivar settings: of the connection.
    """

    settings: PipelinesSettings
    #: In the pod's specification.
    shows_arguments = True
    _module_pod: ModulePod | None = None

    def run_module(
        self,
        module: str,
        arguments: Mapping[str, str],
        *,
        timeout_seconds: float,
        cluster: Mapping[str, JsonValue] | None = None,
        is_prepared: bool = False,
    ) -> None:
        """Run ``python -m module --key=value ...`` of the pipeline half in a pod and wait for it.

        :raises InvalidRequestError: when it exits with 2; the message is its last line on stderr.
        :raises KubeflowProviderError: when it exits with another non-zero code or takes too long.
        """
        pod = self._module_pod = self._new_pod(cluster)
        try:
            pod.run(module, arguments, timeout_seconds=timeout_seconds, is_prepared=is_prepared)
        finally:
            self._module_pod = None

    def prepare_module(
        self,
        module: str,
        arguments: Mapping[str, str],
        *,
        timeout_seconds: float,
        cluster: Mapping[str, JsonValue] | None = None,
    ) -> PreparedModule:
        """Return the pod, and the cluster in which it is to be made.

        :raises InvalidRequestError: when the settings cannot work.
        """
        pod = self._new_pod(cluster).prepare(module, arguments, timeout_seconds=timeout_seconds)
        return PreparedModule(pod=pod, kubernetes_conn_id=self._kubernetes_conn_id)

    def terminate_module(self) -> None:
        """Stop what :meth:`run_module` is running for this hook. Harmless when there is nothing."""
        if pod := self._module_pod:
            pod.terminate()

    @property
    def _kubernetes_conn_id(self) -> str:
        return self.settings.kubernetes_conn_id or _KUBERNETES_CONN_ID

    def _new_pod(self, cluster: Mapping[str, JsonValue] | None) -> ModulePod:
        return ModulePod(
            settings=ClusterSettings.from_mapping(cluster or {}),
            kubernetes_conn_id=self._kubernetes_conn_id,
            namespace=self.settings.namespace,
        )
