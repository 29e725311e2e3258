"""Waits for a pipeline run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubeflow_provider.hooks import PIPELINE_HOOKS, aget_service
from kubeflow_provider.services import PipelineService, Run, RunStep
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import PollingTrigger


class PipelineRunTrigger(PollingTrigger):
    """Waits until a run is over and tells the task log how far it is.

    The event holds ``run_id``, ``state``, ``reason`` and ``failed_step``. A user's "mark failed" or "clear" stops the
    run; a triggerer that shuts down does not.

    :param run_id: the run.
    :param conn_id: Airflow connection of the pipeline service.
    :param deadline: absolute, with a time zone.
    :param poll_interval_seconds: longest pause between two questions.
    :param max_poll_errors: so many failed questions in a row end the waiting with an error.
    """

    hooks = PIPELINE_HOOKS

    def __init__(
        self,
        *,
        run_id: str,
        conn_id: str,
        deadline: datetime,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 10,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_errors=max_poll_errors,
        )
        self.run_id = run_id
        self._logged: set[tuple[int, RunStep]] = set()

    def arguments(self) -> dict[str, Any]:
        """Return what is this trigger's own."""
        return {"run_id": self.run_id}

    async def poll(self, service: PipelineService) -> dict[str, Any] | None:
        """Ask for the run, log what is new, and return how it ended when it has."""
        run = await service.aget_run(self.run_id)
        if run is None:
            return {"state": RunState.UNKNOWN.value, "reason": "the service no longer knows it", "failed_step": None}
        self._log_steps(run)
        if not run.state.is_terminal:
            return None
        failed = [step.name for step in run.steps if step.state is RunState.FAILED]
        return {"state": run.state.value, "reason": run.reason, "failed_step": failed[-1] if failed else None}

    async def on_kill(self) -> None:
        """Stop the run, for a user has said that its task is over."""
        service: PipelineService = await aget_service(self.conn_id, self.hooks)
        self.log.info("Cancelling pipeline run %s.", self.run_id)
        await service.aterminate_run(self.run_id)

    def _log_steps(self, run: Run) -> None:
        for position, step in enumerate(run.steps):
            if (position, step) not in self._logged:
                self._logged.add((position, step))
                self.log.info(
                    "Step %s: %s%s", step.name, step.state.value, f" - {step.progress}" if step.progress else ""
                )
