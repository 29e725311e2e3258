"""Runs a module of the pipeline half in a pod."""

from __future__ import annotations

from collections.abc import Mapping

from kubeflow_provider.cluster_settings import ClusterSettings


class ModulePod:
    """One pod that runs ``python -m module --key=value ...``, and waits for it.

    :param settings: cluster settings of the model; ``image`` is needed.
    :param kubernetes_conn_id: Airflow connection of type ``kubernetes``.
    :param namespace: where the settings name none.
    """

    def __init__(
        self, *, settings: ClusterSettings, kubernetes_conn_id: str | None = None, namespace: str | None = None
    ) -> None:
        self._settings = settings
        self._kubernetes_conn_id = kubernetes_conn_id
        self._namespace = settings.namespace or namespace

    def run(self, module: str, arguments: Mapping[str, str], *, timeout_seconds: float) -> None:
        """Run the module and wait for it; its output goes to the task log."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop what :meth:`run` is running, from a signal handler. Harmless otherwise."""
