"""Starts a module's pod and waits until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubeflow_provider.compat import AirflowNotFoundException, aget_connection
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.pod_start import PreparedPod
from kubeflow_provider.triggers._cancelling import cancel_patiently, outlive_the_trigger
from kubeflow_provider.triggers.base import PollingTrigger
from kubeflow_provider.triggers.blocking_work import BlockingWork


class ModulePodTrigger(PollingTrigger):
    """Starts a prepared pod, and waits until there is something to be told of it; its task does the telling.

    As with a pipeline run, a worker that started it would be gone before anybody looks after it. A user's "mark failed"
    or "clear" deletes the pod; a triggerer that takes over finds it.

    :param pod: document of :meth:`~kubeflow_provider.services.PipelineService.prepare_module`.
    :param conn_id: Airflow connection of the cluster.
    :param deadline: see :class:`PollingTrigger`, as the rest.
    """

    def __init__(
        self,
        *,
        pod: Mapping[str, Any],
        conn_id: str,
        deadline: datetime,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 10,
        was_accepted: bool = False,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_errors=max_poll_errors,
            was_accepted=was_accepted,
        )
        self.pod = dict(pod)
        self._is_started = False
        self._waits_for: str | None = None
        self._work = BlockingWork()

    def arguments(self) -> dict[str, Any]:
        """Return the pod as it is to be made."""
        return {"pod": self.pod}

    def facts(self) -> dict[str, Any]:
        """Say nothing: whoever resumes asks the cluster."""
        return {}

    async def connect(self) -> PreparedPod:
        """Return the pod, with a way to its cluster."""
        # Only where there is one: parsing a DAG file must not load the Kubernetes client.
        from kubeflow_provider.kubernetes.client import ConnectedKubernetesHook, kubernetes_access

        try:
            connection = await aget_connection(self.conn_id)
        except AirflowNotFoundException as error:
            if self.conn_id != ConnectedKubernetesHook.default_conn_name:
                raise InvalidRequestError(
                    f"There is no connection {self.conn_id!r} to a Kubernetes cluster; make it, or mend "
                    "`kubernetes_conn_id` of the pipelines' connection."
                ) from error
            connection = None  # then the pod's own service account leads there
        access = kubernetes_access(connection)
        return await asyncio.to_thread(lambda: PreparedPod(self.pod, ConnectedKubernetesHook(connection), access))

    @property
    def acts(self) -> bool:
        """Whether it starts the pod first."""
        return not self._is_started

    async def poll(self, service: PreparedPod, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Start the pod, and later ask for it."""
        if not self._is_started:
            await self._work.do(service.start)
            self._is_started = True
            return None
        is_over, waits_for = await self._work.do(service.look)
        if waits_for != self._waits_for:  # what is missing changes with the nodes that come and go
            self._waits_for = waits_for
            self.log.info("%s", waits_for or f"Pod {service.name} waits for no node any more.")
        return {} if is_over else None

    async def on_kill(self) -> None:
        """Delete the pod if a user has said that its task is over, or is to run again."""
        await outlive_the_trigger(self._delete())

    async def _delete(self) -> None:
        if await self.is_still_waited_for():
            self.log.info("The module's pod is left to another triggerer: its task still waits for it.")
            return

        async def delete() -> None:
            await self._work.settle()  # it could make the pod after all
            pod = await self.connect()
            await self._work.do(pod.delete)

        await cancel_patiently("The module's pod", delete, self.log)
