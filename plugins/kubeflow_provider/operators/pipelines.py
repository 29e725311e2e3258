"""Operators that run work of the pipeline half: a whole pipeline, or one of its modules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from airflow.sdk import BaseOperator, Context, conf
from airflow.sdk.exceptions import TaskDeferralTimeout

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
)
from kubeflow_provider.hooks import PIPELINE_HOOKS, get_service
from kubeflow_provider.links import XCOM_RUN_ID, XCOM_RUN_URL, PipelineRunLink
from kubeflow_provider.pipeline_spec import bind
from kubeflow_provider.services import PipelineService, Run, RunRequest
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger

#: Key in the task state store under which a task keeps its run: ``run_id``, ``generation`` and ``deadline``.
#: Renaming it, or a field, makes every task that is under way at that moment start its run a second time.
PIPELINE_RUN_KEY = "kubeflow_pipeline_run"

#: How long after the trigger's own deadline Airflow ends the deferral, should the trigger not have done so.
_BACKSTOP = timedelta(minutes=5)


class RunPipelineOperator(BaseOperator):
    """Run a compiled pipeline and wait until it is over.

    The run outlives the task's process. A try that finds a run of this task under way (the worker was killed, the
    service could not be asked for a while) picks it up; a task that was cleared starts a new one, and so does a retry
    after a failure that the operator has reported. Marking the task failed stops the run, also while deferred.

    XCom: ``run_id``, ``run_url``; the return value is the run id.

    :param pipeline_file: absolute path of the compiled pipeline (IR YAML). Templated.
    :param parameters: values for the pipeline's parameters; text that spells a number is cast. Templated.
    :param display_name: the run's name for people. Templated.
    :param experiment: groups runs in the service's UI. Templated.
    :param pipelines_conn_id: Airflow connection; its type decides where the pipeline runs. Templated.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions for the run's state, in seconds.
    :param timeout: from the start of the run to the moment at which it is cancelled, retries included.
    :param max_poll_errors: so many failed questions in a row fail the task; the run goes on, and a retry picks it up.
    :param wait_for_completion: ``False`` ends the task as soon as the run exists.
    """

    template_fields: Sequence[str] = (
        "pipeline_file",
        "parameters",
        "display_name",
        "experiment",
        "pipelines_conn_id",
    )
    template_fields_renderers = {"parameters": "json"}
    operator_extra_links = (PipelineRunLink(),)
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        pipeline_file: str,
        parameters: Mapping[str, Any] | None = None,
        display_name: str = "{{ dag.dag_id }} {{ run_id }}",
        experiment: str = "Default",
        pipelines_conn_id: str = "pipelines_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_seconds: float = 30,
        timeout: timedelta = timedelta(hours=12),
        max_poll_errors: int = 10,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline_file = pipeline_file
        self.parameters = parameters or {}
        self.display_name = display_name
        self.experiment = experiment
        self.pipelines_conn_id = pipelines_conn_id
        self.deferrable = deferrable
        self.poll_interval_seconds = poll_interval_seconds
        self.timeout = timeout
        self.max_poll_errors = max_poll_errors
        self.wait_for_completion = wait_for_completion
        self._service: PipelineService | None = None
        self._run_id: str | None = None
        self._killed = False

    def execute(self, context: Context) -> str:
        """Start the run or pick it up, then wait or defer."""
        parameters = bind(self.pipeline_file, self.parameters)
        service: PipelineService = get_service(self.pipelines_conn_id, PIPELINE_HOOKS)
        record = self._record(context, service)
        self._service, self._run_id = service, record["run_id"]
        run = service.create_run(
            RunRequest(
                run_id=record["run_id"],
                pipeline_file=self.pipeline_file,
                parameters=parameters,
                display_name=self.display_name,
                experiment=self.experiment,
            )
        )
        if self._killed:
            # Airflow asked to stop while the request was under way, when there was no run to stop yet.
            service.terminate_run(run.run_id)
        context["ti"].xcom_push(XCOM_RUN_ID, run.run_id)
        context["ti"].xcom_push(XCOM_RUN_URL, run.url)
        where = f": {run.url}" if run.url else ""
        self.log.info("Pipeline run %s (%s) is %s%s", run.run_id, self.display_name, run.state.value, where)
        if not self.wait_for_completion:
            return run.run_id
        return self._wait(context, run, datetime.fromisoformat(record["deadline"]))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what the trigger has found out; the event is all that this fresh operator knows."""
        raise_for_error(event)
        run_id: str = event["run_id"]
        if event["outcome"] == WaitOutcome.OVER and RunState(event["state"]).is_successful:
            self.log.info("Pipeline run %s has succeeded.", run_id)
            return run_id
        error = self._failure(event, get_service(self.pipelines_conn_id, PIPELINE_HOOKS))
        # This run is settled: if the task has a retry left and its policy allows one, that is to be a new run.
        context["task_state_store"].delete(PIPELINE_RUN_KEY)
        raise error

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; a deferral that Airflow itself ended counts as a timeout of the run."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            record: Any = context["task_state_store"].get(PIPELINE_RUN_KEY)
            return self.execute_complete(context, {"outcome": WaitOutcome.TIMEOUT.value, "run_id": record["run_id"]})

    def on_kill(self) -> None:
        """Stop the run. Runs in a signal handler: no call to Airflow from here, it may be in the middle of one."""
        self._killed = True
        if self._service and self._run_id:
            self._service.terminate_run(self._run_id)

    def _record(self, context: Context, service: PipelineService) -> dict[str, Any]:
        """Return the run that this task owns by the task state store, or store a new one.

        It is stored before anything is submitted, so that a try finds the run whenever the one before it died. The
        generation tells a retry from a user's "clear": clearing raises ``max_tries``, a retry does not.
        """
        store = context["task_state_store"]
        generation = context["ti"].max_tries - (self.retries or 0)
        record: Any = store.get(PIPELINE_RUN_KEY)
        if record and record["generation"] == generation and not _was_cancelled(service, record["run_id"]):
            self.log.info("An earlier try has left pipeline run %s; picking it up.", record["run_id"])
            return dict(record)
        if record:
            # After a "clear" the old trigger stops its run as well, but nobody promises when, or whether.
            service.terminate_run(record["run_id"])
        # Drawn, not derived from the DAG run: one that was deleted and made again must not find its old result.
        deadline = datetime.now(tz=UTC) + self.timeout
        record = {"run_id": str(uuid4()), "generation": generation, "deadline": deadline.isoformat()}
        store.set(PIPELINE_RUN_KEY, record)
        return record

    def _wait(self, context: Context, run: Run, deadline: datetime) -> str:
        trigger = PipelineRunTrigger(
            run_id=run.run_id,
            conn_id=self.pipelines_conn_id,
            deadline=deadline,
            poll_interval_seconds=self.poll_interval_seconds,
            max_poll_errors=self.max_poll_errors,
        )
        if self.deferrable and not run.state.is_terminal:
            self.defer(
                trigger=trigger,
                method_name="execute_complete",
                timeout=max(deadline - datetime.now(tz=UTC), timedelta()) + _BACKSTOP,
            )
        return self.execute_complete(context, asyncio.run(trigger.wait()))

    def _failure(self, event: dict[str, Any], service: PipelineService) -> RunFailedError:
        """Return the error for a run that did not succeed; one whose time is over is cancelled first."""
        run_id: str = event["run_id"]
        if event["outcome"] == WaitOutcome.TIMEOUT:
            service.terminate_run(run_id)
            return RunTimeoutError(
                f"Pipeline run {run_id} was not over after {self.timeout} and has been cancelled. Give the task a "
                f"longer `timeout`, or the run less to do.{_quoted(service.get_run_log(run_id))}",
                run_id=run_id,
            )
        state = RunState(event["state"])
        if state is RunState.CANCELED:
            return RunCancelledError(
                f"Pipeline run {run_id} was cancelled. Clear the task for a new run.", run_id=run_id
            )
        step = f" in step {event['failed_step']!r}" if event["failed_step"] else ""
        return RunFailedError(
            f"Pipeline run {run_id} ended as {state.value}{step}: {event['reason'] or 'no reason was given'}"
            f"{_quoted(service.get_run_log(run_id))}",
            run_id=run_id,
        )


class RunModuleOperator(BaseOperator):
    """Run one module of the pipeline half in its environment and wait for it, with its output in the task log.

    :param module: dotted name, for example ``include.classifier.preprocess``. Templated.
    :param arguments: argument name without dashes -> value; an empty value leaves the argument out. Templated.
    :param timeout: the module is stopped after this time.
    :param pipelines_conn_id: Airflow connection of the pipeline service. Templated.
    """

    template_fields: Sequence[str] = ("module", "arguments", "pipelines_conn_id")
    template_fields_renderers = {"arguments": "json"}
    ui_color = "#e3f0d8"

    def __init__(
        self,
        *,
        module: str,
        arguments: Mapping[str, str] | None = None,
        timeout: timedelta = timedelta(hours=2),
        pipelines_conn_id: str = "pipelines_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments or {}
        self.timeout = timeout
        self.pipelines_conn_id = pipelines_conn_id
        self._service: PipelineService | None = None

    def execute(self, context: Context) -> None:
        """Run the module."""
        if wrong := sorted(name for name, value in self.arguments.items() if not isinstance(value, str)):
            raise InvalidRequestError(f"Arguments of {self.module} must be text; these are not: {', '.join(wrong)}.")
        self._service = get_service(self.pipelines_conn_id, PIPELINE_HOOKS)
        self._service.run_module(self.module, self.arguments, timeout_seconds=self.timeout.total_seconds())

    def on_kill(self) -> None:
        """Stop the module."""
        if self._service:
            self._service.stop_module()


def _quoted(log: str) -> str:
    return f"\nThe last lines of its log:\n{log}" if log else ""


def _was_cancelled(service: PipelineService, run_id: str) -> bool:
    """Say whether a run was stopped before its task could report anything, as when a worker is shut down."""
    run = service.get_run(run_id)
    return run is not None and run.state in (RunState.CANCELING, RunState.CANCELED)
