"""Runs a compiled pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow.sdk import BaseOperator, Context, conf
from airflow.sdk.exceptions import TaskDeferralTimeout

from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.links import XCOM_EXPERIMENT_URL, XCOM_RUN_ID, XCOM_RUN_URL, ExperimentLink, PipelineRunLink
from kubeflow_provider.operators._cancelling import cancel_from_signal_handler
from kubeflow_provider.operators._run_failure import failure, interrupted, out_of_sight
from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import PipelineService, Run, RunRequest
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

#: Key in the task state store under which a task keeps its run: ``run_id``, ``generation``, ``deadline`` and
#: ``started_at``. Renaming it, or a field, makes every task that is under way at that moment start its run a second
#: time.
PIPELINE_RUN_KEY = "kubeflow_pipeline_run"

#: Key in the task state store for the id of the run that this task has stopped itself. Kubeflow reports such a run
#: as FAILED, and a try after a worker's shutdown must not take it for a failure. A key of its own, because it is
#: written from a process that is ending, perhaps after the next try has stored a run.
PIPELINE_CANCELLED_KEY = "kubeflow_pipeline_run_cancelled"

#: How long after the trigger's own deadline Airflow ends the deferral, should the trigger not have done so.
_BACKSTOP = timedelta(minutes=5)


class RunPipelineOperator(BaseOperator):
    """Run a compiled pipeline and wait until it is over.

    The run outlives the task's process. A try that finds a run of this task under way (the worker was killed, the
    service could not be asked for a while) picks it up; a task that was cleared starts a new one, and so does a retry
    after a failure that the operator has reported, or after a worker that was shut down. Marking the task failed stops
    the run, also while deferred.

    XCom: ``run_id``, ``run_url``, ``experiment_url``; the return value is the run id.

    With Airflow's OpenLineage provider, its events name the run and the pipeline. What the run reads and writes are
    the task's ``inlets`` and ``outlets``, or where it has none the parameters ``dataset_uri`` and ``output_uri``.

    :param pipeline_file: absolute path of the compiled pipeline (IR YAML). Templated.
    :param parameters: values for the pipeline's parameters; text that spells a number is cast. Templated.
    :param display_name: the run's name for people. Templated.
    :param experiment: groups runs in the service's UI. Templated.
    :param cluster: image, storage and scheduling in a cluster, see :class:`RunRequest`; other services have no use
        for it. Templated.
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
        "cluster",
        "pipelines_conn_id",
    )
    template_fields_renderers = {"parameters": "json", "cluster": "json"}
    operator_extra_links = (PipelineRunLink(), ExperimentLink())
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        pipeline_file: str,
        parameters: Mapping[str, Any] | None = None,
        display_name: str = "{{ dag.dag_id }} {{ run_id }}",
        experiment: str = "Default",
        cluster: Mapping[str, Any] | None = None,
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
        self.cluster = cluster or {}
        self.pipelines_conn_id = pipelines_conn_id
        self.deferrable = deferrable
        self.poll_interval_seconds = poll_interval_seconds
        self.timeout = timeout
        self.max_poll_errors = max_poll_errors
        self.wait_for_completion = wait_for_completion
        self._service: PipelineService | None = None
        self._store: Any = None
        self._run_id: str | None = None
        self._killed = False
        #: What lineage says about the run: ``run_id``, ``state``, ``url``.
        self._facts: dict[str, str | None] = {}

    def execute(self, context: Context) -> str:
        """Start the run or pick it up, then wait or defer."""
        parameters = bind(self.pipeline_file, self.parameters)
        service = get_pipeline_service(self.pipelines_conn_id)
        self._service, self._store = service, context["task_state_store"]
        record, is_repeat = self._record(context, service)
        run = self._submit(service, record, parameters, is_repeat=is_repeat)
        for key, value in (
            (XCOM_RUN_ID, run.run_id),
            (XCOM_RUN_URL, run.url),
            (XCOM_EXPERIMENT_URL, run.experiment_url),
        ):
            context["ti"].xcom_push(key, value)
        where = f": {run.url}" if run.url else ""
        self.log.info("Pipeline run %s (%s) is %s%s", run.run_id, self.display_name, run.state.value, where)
        if not self.wait_for_completion:
            return run.run_id
        return self._wait(context, record, is_over=run.state.is_terminal)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what the trigger has found out; the event is all that this fresh operator knows."""
        run_id: str = event["run_id"]
        store = context["task_state_store"]
        record: Any = store.get(PIPELINE_RUN_KEY)
        if record and record["run_id"] != run_id:
            # SQLite gives the id of a trigger away again: the one of a cleared try may outlive it, and speak for this.
            self.log.info("That was pipeline run %s, of an earlier try; waiting for %s.", run_id, record["run_id"])
            return self._wait(context, record)
        self._facts = {"run_id": run_id, "state": event.get("state"), "url": event.get("url")}
        if event["outcome"] == WaitOutcome.ERROR:
            raise_for_error(event | {"message": out_of_sight(run_id, event["message"])})
        if event["outcome"] == WaitOutcome.OVER and RunState(event["state"]).is_successful:
            self.log.info("Pipeline run %s has succeeded.", run_id)
            return run_id
        cancelled = self._killed or store.get(PIPELINE_CANCELLED_KEY) == run_id
        service = get_pipeline_service(self.pipelines_conn_id)
        error = interrupted(run_id) if cancelled else failure(event, service, timeout=self.timeout)
        # This run is settled: if the task has a retry left and its policy allows one, that is to be a new run.
        store.delete(PIPELINE_RUN_KEY)
        raise error

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; a deferral that Airflow itself ended counts as a timeout of the run."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            record: Any = context["task_state_store"].get(PIPELINE_RUN_KEY)
            return self.execute_complete(context, {"outcome": WaitOutcome.TIMEOUT.value, "run_id": record["run_id"]})

    def on_kill(self) -> None:
        """Stop the run and remember having done so."""
        self._killed = True
        service, store, run_id = self._service, self._store, self._run_id
        if service and run_id:
            cancel_from_signal_handler(
                lambda: service.terminate_run(run_id), lambda: store.set(PIPELINE_CANCELLED_KEY, run_id)
            )

    def get_openlineage_facets_on_start(self) -> OperatorLineage:
        """Say what will run."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Say what has run."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage:
        """Say what has failed."""
        return self._lineage()

    def _lineage(self) -> OperatorLineage:
        from kubeflow_provider.operators._lineage import lineage

        declared = bool(self.inlets or self.outlets)
        return lineage(self.pipeline_file, self.parameters, has_declared_datasets=declared, **self._facts)

    def _record(self, context: Context, service: PipelineService) -> tuple[dict[str, Any], bool]:
        """Return the run that this task owns by the task state store, or store a new one; True for one that was there.

        It is stored before anything is submitted, so that a try finds the run whenever the one before it died. The
        generation tells a retry from a user's "clear": clearing raises ``max_tries``, a retry does not.
        """
        store = context["task_state_store"]
        generation = context["ti"].max_tries - (self.retries or 0)
        record: Any = store.get(PIPELINE_RUN_KEY)
        if record and record["generation"] == generation:
            if not self._was_cancelled(service, record["run_id"]):
                self.log.info("An earlier try has left pipeline run %s; picking it up.", record["run_id"])
                return dict(record), True
            self.log.info("An earlier try has left pipeline run %s, which was cancelled.", record["run_id"])
        if record:
            # After a "clear" the old trigger stops its run as well, but nobody promises when, or whether.
            service.terminate_run(record["run_id"])
        # Drawn, not derived from the DAG run: one that was deleted and made again must not find its old result.
        now = datetime.now(tz=UTC)
        record = {
            "run_id": str(uuid4()),
            "generation": generation,
            "started_at": now.isoformat(),
            "deadline": (now + self.timeout).isoformat(),
        }
        store.set(PIPELINE_RUN_KEY, record)
        return record, False

    def _was_cancelled(self, service: PipelineService, run_id: str) -> bool:
        """Say whether a run was stopped before its task could report anything, as when a worker is shut down."""
        if self._store.get(PIPELINE_CANCELLED_KEY) == run_id:
            return True
        run = service.get_run(run_id)
        return run is not None and run.state in (RunState.CANCELING, RunState.CANCELED)

    def _submit(
        self, service: PipelineService, record: dict[str, Any], parameters: Mapping[str, Any], *, is_repeat: bool
    ) -> Run:
        """Have the run started; leave its own id in the record."""
        self._run_id = record["run_id"]
        if self._killed:
            raise interrupted(record["run_id"])
        run = service.create_run(
            RunRequest(
                run_id=record["run_id"],
                pipeline_file=self.pipeline_file,
                parameters=parameters,
                display_name=self.display_name,
                experiment=self.experiment,
                cluster=self.cluster,
                is_repeat=is_repeat,
            )
        )
        self._run_id = run.run_id
        self._facts = {"run_id": run.run_id, "state": run.state.value, "url": run.url}
        if run.run_id != record["run_id"]:
            # The service gives ids of its own: from now on this one finds the run.
            record["run_id"] = run.run_id
            self._store.set(PIPELINE_RUN_KEY, record)
        if self._killed:
            # Airflow asked to stop while the request was under way, when there was no run to stop yet.
            service.terminate_run(run.run_id)
            self._store.set(PIPELINE_CANCELLED_KEY, run.run_id)
            raise interrupted(run.run_id)
        return run

    def _wait(self, context: Context, record: Mapping[str, str], *, is_over: bool = False) -> str:
        deadline = datetime.fromisoformat(record["deadline"])
        trigger = PipelineRunTrigger(
            run_id=record["run_id"],
            conn_id=self.pipelines_conn_id,
            deadline=deadline,
            started_at=datetime.fromisoformat(record["started_at"]) if "started_at" in record else None,
            poll_interval_seconds=self.poll_interval_seconds,
            max_poll_errors=self.max_poll_errors,
        )
        if self.deferrable and not is_over:
            self.defer(
                trigger=trigger,
                method_name="execute_complete",
                timeout=max(deadline - datetime.now(tz=UTC), timedelta()) + _BACKSTOP,
            )
        return self.execute_complete(context, asyncio.run(trigger.wait()))
