"""Does something to what Kubeflow Pipelines keeps: runs that are over, and pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context

from kubeflow_provider.access import was_accepted
from kubeflow_provider.compat import conf
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.links import XCOM_RUN_ID, PipelineRunLink
from kubeflow_provider.operators._given_pipeline import PipelineTask
from kubeflow_provider.operators._on_kubeflow import KubeflowTask
from kubeflow_provider.operators._runs.failure import failure, out_of_sight
from kubeflow_provider.operators._runs.outputs import leave_outputs
from kubeflow_provider.operators.cancelling import cancel_from_signal_handler
from kubeflow_provider.outages import patient, wait_out
from kubeflow_provider.pipelines.reading import read_given
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger


class _OnRun(KubeflowTask):
    """A task for one run.

    :param run_id: the run. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    template_fields: Sequence[str] = ("run_id", "pipelines_conn_id")

    def __init__(self, *, run_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id


class RetryPipelineRunOperator(_OnRun):
    """Run those steps of a failed run again that did not succeed, and wait until the run is over.

    A run that goes on already is waited for, and one that has succeeded is left as it is: a retry of the task asks for
    nothing twice. Marking the task failed stops the run, also while deferred.

    XCom: ``run_id``, ``run_url``; the return value is the run id.

    :param run_id: the run. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions for the run's state, in seconds.
    :param timeout: after which the run is cancelled.
    :param max_poll_errors: so many failed questions in a row fail the task; the run goes on.
    :param wait_for_completion: ``False`` ends the task as soon as the steps run again.
    """

    operator_extra_links = (PipelineRunLink(),)
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_seconds: float = 30,
        timeout: timedelta = timedelta(hours=12),
        max_poll_errors: int = 10,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.poll_interval_seconds = poll_interval_seconds
        self.timeout = timeout
        self.max_poll_errors = max_poll_errors
        self.wait_for_completion = wait_for_completion
        self._hook: KubeflowPipelinesHook | None = None

    def execute(self, context: Context) -> str:
        """Have the steps run again, then wait or defer."""
        hook = self.hook()
        run = wait_out(lambda: hook.get_run(self.run_id))
        if run is None:
            raise InvalidRequestError(f"There is no pipeline run {self.run_id} on this server any more.")
        ti = context["ti"]
        ti.xcom_push(XCOM_RUN_ID, self.run_id)
        ti.xcom_push(PipelineRunLink.key, run.url)
        if run.state.is_successful:
            self.log.info("Pipeline run %s has succeeded already.", self.run_id)
            leave_outputs(context, run.outputs)
            return self.run_id
        if run.state.is_terminal:
            hook.retry_run(self.run_id)
            self.log.info("The steps of pipeline run %s that did not succeed run again.", self.run_id)
        if not self.wait_for_completion:
            return self.run_id
        started_at = datetime.now(tz=UTC)
        trigger = PipelineRunTrigger(
            run_id=self.run_id,
            conn_id=self.pipelines_conn_id,
            deadline=started_at + self.timeout,
            started_at=started_at,
            poll_interval_seconds=self.poll_interval_seconds,
            max_poll_errors=self.max_poll_errors,
            was_accepted=was_accepted(hook),
        )
        if self.deferrable:
            self.defer(trigger=trigger, method_name="execute_complete")
        self._hook = hook
        return self.execute_complete(context, asyncio.run(trigger.wait()))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what the trigger has found out."""
        run_id: str = event["run_id"]
        if event["outcome"] == WaitOutcome.ERROR:
            raise_for_error(event | {"message": out_of_sight(run_id, event["message"])})
        if event["outcome"] == WaitOutcome.OVER and RunState(event["state"]).is_successful:
            self.log.info("Pipeline run %s has succeeded.", run_id)
            leave_outputs(context, event.get("outputs"))
            return run_id
        raise failure(event, patient(self.hook()), timeout=self.timeout)

    def on_kill(self) -> None:
        """Stop the run."""
        if (hook := self._hook) is not None:
            cancel_from_signal_handler(lambda: hook.terminate_run(self.run_id))


class ArchivePipelineRunOperator(_OnRun):
    """Take a run out of the lists that people see; Kubeflow keeps it. Safe to repeat.

    :param run_id: the run. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    ui_color = "#eeeeee"

    def execute(self, context: Context) -> str:
        """Archive it, and return its id."""
        patient(self.hook()).archive_run(self.run_id)
        self.log.info("Pipeline run %s is archived.", self.run_id)
        return self.run_id


class DeletePipelineRunOperator(_OnRun):
    """Delete a run, and stop it where it still goes on. Harmless when it is gone.

    Artifacts that the run has written stay where they are.

    :param run_id: the run. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    ui_color = "#f3d9d9"

    def execute(self, context: Context) -> str:
        """Delete it, and return its id."""
        patient(self.hook()).delete_run(self.run_id)
        self.log.info("Pipeline run %s is deleted.", self.run_id)
        return self.run_id


class UploadPipelineOperator(PipelineTask, KubeflowTask):
    """Have Kubeflow keep a pipeline, as a version that is named after what it holds; the same content is uploaded once.

    The return value is ``pipeline_id`` and ``pipeline_version_id``. Exactly one argument says what is uploaded.

    :param pipeline_file: compiled pipeline: a path or a URI, as
        :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator` takes it. Templated.
    :param pipeline_spec: compiled pipeline, as it is or as YAML or JSON text; it may be the output of another task, and
        is not rendered otherwise.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    template_fields: Sequence[str] = ("pipeline_file", "pipeline_spec", "pipelines_conn_id")
    template_fields_renderers = {"pipeline_spec": "json"}
    ui_color = "#d6e6ff"

    def __init__(
        self, *, pipeline_file: str | None = None, pipeline_spec: Mapping[str, Any] | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if (pipeline_file is None) is (pipeline_spec is None):
            raise ValueError("exactly one of pipeline_file and pipeline_spec says what is uploaded")
        self.pipeline_file = pipeline_file
        self.pipeline_spec = pipeline_spec

    def execute(self, context: Context) -> dict[str, str]:
        """Upload it, or find it there."""
        spec = read_given(pipeline_file=self.pipeline_file, pipeline_spec=self.pipeline_spec)
        reference = patient(self.hook()).upload_pipeline(spec)
        self.log.info("Kubeflow keeps pipeline %s as version %s.", spec.name, reference["pipeline_version_id"])
        return reference
