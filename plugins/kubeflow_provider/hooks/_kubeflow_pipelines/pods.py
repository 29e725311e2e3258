"""The pods of a run, where a connection leads to the cluster: what they have said, and what they wait for."""

from __future__ import annotations

import logging
from typing import Any

from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.kubernetes.extra import is_installed
from kubeflow_provider.kubernetes.pod_start import missing_node

log = logging.getLogger(__name__)

_DEFAULT_NAMESPACE = "kubeflow"


class RunPods:
    """Finds a run's pods; every one of them bears its id as a label.

    :param settings: namespace and cluster; without a cluster there is nothing to be found.
    """

    def __init__(self, settings: PipelinesSettings) -> None:
        self._settings = settings

    def log(self, run_id: str, *, last_lines: int, most_bytes: int) -> str:
        """Return the log of the failed pod, or of the newest where none failed; empty when it cannot be had."""
        if not self._can_ask:
            return ""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            pods = self._find(run_id)
            failed = [pod for pod in pods if pod.status.phase == "Failed"]
            # A failed driver is the one to ask only where no step has failed.
            pods = _without_drivers(failed) or failed or _without_drivers(pods)
            if not pods:
                return ""
            newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
            # Raw, because the client would return the repr of the bytes.
            response = self._core.read_namespaced_pod_log(
                newest.metadata.name,
                self._namespace,
                container="main",
                limit_bytes=most_bytes,
                tail_lines=last_lines,
                _preload_content=False,
            )
            return str(response.data.decode("utf-8", "replace"))
        except (ApiException, HTTPError) as error:
            log.debug("No log in the cluster for run %s: %s", run_id, type(error).__name__)
            return ""

    def waits_for(self, run_id: str) -> str | None:
        """Return what the nodes lack for a pod of a run; ``None`` when nothing is missing, or nobody says."""
        if not self._can_ask:
            return None
        from airflow.sdk.exceptions import AirflowException
        from kubernetes.client import ApiException
        from kubernetes.config import ConfigException
        from urllib3.exceptions import HTTPError

        try:
            waiting = [(pod, missing) for pod in self._find(run_id) if (missing := missing_node(pod))]
        except (ApiException, HTTPError, AirflowException, ConfigException, OSError) as error:
            log.debug("The cluster does not show the pods of run %s: %s", run_id, type(error).__name__)
            return None
        return f"Pod {waiting[0][0].metadata.name} waits for a node: {waiting[0][1]}" if waiting else None

    @property
    def _can_ask(self) -> bool:
        """Whether a connection leads to the cluster, and there is what can follow it: pods are an extra here."""
        if not self._settings.kubernetes_conn_id:
            return False
        if not is_installed():
            log.info("Pods are not asked, for which there would have to be airflow-provider-kubeflow[kubernetes].")
            return False
        return True

    def _find(self, run_id: str) -> list[Any]:
        found = self._core.list_namespaced_pod(self._namespace, label_selector=f"pipeline/runid={run_id}")
        return list(found.items)

    @property
    def _core(self) -> Any:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        return KubernetesHook(conn_id=self._settings.kubernetes_conn_id).core_v1_client

    @property
    def _namespace(self) -> str:
        return self._settings.namespace or _DEFAULT_NAMESPACE


def _without_drivers(pods: list[Any]) -> list[Any]:
    return [pod for pod in pods if "-driver" not in pod.metadata.name]
