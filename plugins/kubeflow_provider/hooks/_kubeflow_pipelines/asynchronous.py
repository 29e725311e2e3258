"""The verbs of the hook for an event loop, where they are more than one request: each in a thread."""

from __future__ import annotations

import asyncio
from typing import Protocol

from kubeflow_provider.hooks._kubeflow_pipelines.kept.recurring_runs import RecurringRuns
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.recurring_runs import RecurringRun, RecurringRunRequest
from kubeflow_provider.services import Run, RunRequest


class _Verbs(Protocol):
    def find_pipeline(self, pipeline: str, version: str | None = None) -> PipelineSpec: ...

    def upload_pipeline(self, spec: PipelineSpec) -> dict[str, str]: ...

    def create_run(self, request: RunRequest) -> Run: ...

    def retry_run(self, run_id: str) -> None: ...

    def get_run_log(self, run_id: str, *, last_lines: int = 30) -> str: ...


class AsyncVerbs(RecurringRuns):
    """The part of a pipeline service that does the same without blocking the event loop."""

    async def afind_pipeline(self: _Verbs, pipeline: str, version: str | None = None) -> PipelineSpec:
        """Like :meth:`find_pipeline`."""
        return await asyncio.to_thread(self.find_pipeline, pipeline, version)

    async def aupload_pipeline(self: _Verbs, spec: PipelineSpec) -> dict[str, str]:
        """Like :meth:`upload_pipeline`."""
        return await asyncio.to_thread(self.upload_pipeline, spec)

    async def acreate_run(self: _Verbs, request: RunRequest) -> Run:
        """Like :meth:`create_run`."""
        return await asyncio.to_thread(self.create_run, request)

    async def aretry_run(self: _Verbs, run_id: str) -> None:
        """Like :meth:`retry_run`."""
        await asyncio.to_thread(self.retry_run, run_id)

    async def aget_run_log(self: _Verbs, run_id: str, *, last_lines: int = 30) -> str:
        """Like :meth:`get_run_log`."""
        return await asyncio.to_thread(self.get_run_log, run_id, last_lines=last_lines)

    async def acreate_recurring_run(self, request: RecurringRunRequest, *, replace: bool = False) -> RecurringRun:
        """Like :meth:`create_recurring_run`."""
        return await asyncio.to_thread(self.create_recurring_run, request, replace=replace)

    async def aget_recurring_run(self, recurring_run_id: str) -> RecurringRun | None:
        """Like :meth:`get_recurring_run`."""
        return await asyncio.to_thread(self.get_recurring_run, recurring_run_id)

    async def afind_recurring_runs(self, display_name: str, *, experiment: str) -> list[RecurringRun]:
        """Like :meth:`find_recurring_runs`."""
        return await asyncio.to_thread(self.find_recurring_runs, display_name, experiment=experiment)

    async def aenable_recurring_run(self, recurring_run_id: str) -> None:
        """Like :meth:`enable_recurring_run`."""
        await asyncio.to_thread(self.enable_recurring_run, recurring_run_id)

    async def adisable_recurring_run(self, recurring_run_id: str) -> None:
        """Like :meth:`disable_recurring_run`."""
        await asyncio.to_thread(self.disable_recurring_run, recurring_run_id)

    async def adelete_recurring_run(self, recurring_run_id: str, *, keep_runs: bool = True) -> None:
        """Like :meth:`delete_recurring_run`."""
        await asyncio.to_thread(self.delete_recurring_run, recurring_run_id, keep_runs=keep_runs)
