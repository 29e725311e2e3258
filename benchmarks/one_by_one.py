"""The trigger that ours is compared with: a hook of its own, and one GET for each run and poll."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger


class OneByOneTrigger(PipelineRunTrigger):
    """Waits for a run as triggers usually do: nobody knows of the others. Pace and patience are the same as ours."""

    slack_share = 0.0
    _own: KubeflowPipelinesHook | None = None

    async def poll(self, service: Any, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Ask for the run with a hook that nobody shares."""
        if self._own is None:
            self._own = KubeflowPipelinesHook(self.conn_id, connection=await BaseHook.aget_connection(self.conn_id))
        return await super().poll(self._own)
