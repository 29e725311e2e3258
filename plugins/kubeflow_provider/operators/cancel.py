"""Cancels runs that no task waits for any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context

from kubeflow_provider.airflow_id import airflow_id
from kubeflow_provider.compat import XCom
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, ServiceUnavailableError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.links import XCOM_RUN_ID
from kubeflow_provider.operators._base import ServiceOperator
from kubeflow_provider.operators._runs.marks import RunMark, airflow_text, task_text
from kubeflow_provider.services import PipelineService, Run
from kubeflow_provider.states import TASK_OVER
from kubeflow_provider.triggers.base import state_key


class CancelPipelineRunOperator(ServiceOperator):
    """Cancel a run, or whatever tasks of the same DAG run have left going; the latter is made to be a teardown.

    Marking a task, or its DAG run, cancels its pipeline run by itself, as long as a triggerer or a worker is there to
    do it. ``CancelPipelineRunOperator(task_id="cancel", tasks="train").as_teardown(setups=first)`` does it whatever
    has become of those; ``first`` is a task before ``train``. Airflow runs it also when the DAG run is marked failed.

    The return value is the ids of the runs that were cancelled. A run that is over, or gone, is none of them, and no
    error.

    :param tasks: task id of a :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator`, or a list of them;
        all their map indexes. Templated.
    :param run_id: the run, whoever has started it, in place of ``tasks``. Templated.
    :param pipelines_conn_id: Airflow connection of the pipeline service. Templated.
    """

    template_fields: Sequence[str] = ("tasks", "run_id", "pipelines_conn_id")
    ui_color = "#f3d9d9"

    def __init__(
        self,
        *,
        tasks: str | Sequence[str] | None = None,
        run_id: str | None = None,
        pipelines_conn_id: str = "kubeflow_pipelines_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (tasks is None) == (run_id is None):
            raise ValueError("exactly one of tasks and run_id says what is cancelled")
        self.tasks = tasks
        self.run_id = run_id
        self.pipelines_conn_id = pipelines_conn_id

    def execute(self, context: Context) -> list[str]:
        """Cancel what goes on.

        :raises InvalidRequestError: when the template of ``run_id`` has given nothing.
        """
        service = get_pipeline_service(self.pipelines_conn_id)
        cancelled = []
        for run_id in self._meant(context, service):
            run = service.get_run(run_id)
            if run is not None and run.state.goes_on:
                self.log.info("Pipeline run %s goes on and is cancelled.", run_id)
                service.terminate_run(run_id)
                cancelled.append(run_id)
            elif self.run_id is not None:
                self.log.info("Pipeline run %s is %s; nothing to cancel.", run_id, run.state if run else "not there")
        return cancelled

    def _meant(self, context: Context, service: PipelineService) -> Iterator[str]:
        if self.run_id is not None:
            if self.run_id in ("", "None"):
                raise InvalidRequestError("run_id: empty; its template has found no run.")
            yield self.run_id
        for task_id in [self.tasks] if isinstance(self.tasks, str) else self.tasks or ():
            yield from self._runs(context, service, task_id)

    def _runs(self, context: Context, service: PipelineService, task_id: str) -> list[str]:
        """Return the runs of a task: by what it has left in its XCom, and by the marks in their descriptions."""
        ti = context["ti"]
        told = XCom.get_all(key=XCOM_RUN_ID, dag_id=ti.dag_id, task_id=task_id, run_id=ti.run_id)
        airflow = airflow_id()
        marked = service.find_runs(task_text(airflow, ti.dag_id, ti.run_id, task_id)) if airflow else []
        return list(dict.fromkeys([*(str(run_id) for run_id in told), *(run.run_id for run in marked)]))


class CancelOrphanedRunsOperator(ServiceOperator):
    """Cancel the runs of this Airflow that go on though the task that waited for them is over, or waits for another.

    It finds what nothing else can: a run whose triggerer and worker were lost, or Kubeflow away, when it should have
    been cancelled, and one whose DAG run was deleted. A run is known by the mark in its description; those of other
    Airflows, of people, of tasks with ``wait_for_completion=False``, and of tasks whose names (DAG, run and task
    together more than 150 characters) leave no room for the mark are left alone.

    The return value is the ids of the runs that were found.

    :param pipelines_conn_id: Airflow connection of the pipeline service. Templated.
    :param grace: younger runs are left alone: whoever is to cancel them may still be at it.
    :param cancel: ``False`` only tells which runs would be cancelled; "true" and "false" are taken as well. Templated.
    """

    template_fields: Sequence[str] = ("pipelines_conn_id", "cancel")
    ui_color = "#f3d9d9"

    def __init__(
        self,
        *,
        pipelines_conn_id: str = "kubeflow_pipelines_default",
        grace: timedelta = timedelta(minutes=30),
        cancel: bool | str = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipelines_conn_id = pipelines_conn_id
        self.grace = grace
        self.cancel = cancel

    def execute(self, context: Context) -> list[str]:
        """Find them, and cancel them where that is wanted.

        :raises ServiceUnavailableError: when some could not be cancelled.
        """
        service = get_pipeline_service(self.pipelines_conn_id)
        is_wanted = str(self.cancel).lower() == "true"
        found, failed = [], []
        for run, mark, why in self._orphans(context, service):
            found.append(run.run_id)
            where = f"task {mark.task_id} of DAG {mark.dag_id}, run {mark.dag_run_id}"
            doing = "is cancelled" if is_wanted else "would be cancelled"
            self.log.warning("Pipeline run %s (%s) %s: %s.", run.run_id, where, doing, why)
            try:
                if is_wanted:
                    service.terminate_run(run.run_id)
            except KubeflowProviderError as error:
                failed.append(f"{run.run_id}: {error}")
        self.log.info("%s runs that no task waits for.", len(found) or "No")
        if failed:
            raise ServiceUnavailableError(f"These runs could not be cancelled, a retry asks again: {'; '.join(failed)}")
        return found

    def _orphans(self, context: Context, service: PipelineService) -> Iterator[tuple[Run, RunMark, str]]:
        airflow = airflow_id()
        if airflow is None:
            return
        born_before = datetime.now(tz=UTC) - self.grace
        for run in service.find_runs(airflow_text(airflow)):
            mark = RunMark.read(run.description)
            if mark is None or not mark.is_waited_for:
                continue
            if run.created_at is None or run.created_at > born_before:
                continue
            if why := self._why_orphaned(context, run, mark):
                yield run, mark, why

    def _why_orphaned(self, context: Context, run: Run, mark: RunMark) -> str | None:
        ids: dict[str, Any] = {"dag_id": mark.dag_id, "map_index": mark.map_index}
        found = context["ti"].get_task_states(task_ids=[mark.task_id], run_ids=[mark.dag_run_id], **ids)
        states = found.get(mark.dag_run_id, {})
        key = state_key(mark.task_id, mark.map_index)
        if key not in states:
            return "its task is gone"
        if states[key] in TASK_OVER:
            return f"its task is {states[key]}"
        # A task that is not over may have been cleared, and wait for another run.
        other = XCom.get_one(key=XCOM_RUN_ID, task_id=mark.task_id, run_id=mark.dag_run_id, **ids)
        if other is None or other == run.run_id or str(other).startswith(mark.asked_for):
            return None
        return f"its task waits for run {other}"
