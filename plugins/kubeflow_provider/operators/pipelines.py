"""Runs a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, NoReturn

from airflow.sdk import Context

from kubeflow_provider.access import recall, was_accepted
from kubeflow_provider.airflow_id import airflow_id
from kubeflow_provider.compat import TaskDeferralTimeout, conf
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.links import XCOM_RUN_ID, ExperimentLink, PipelineRunLink
from kubeflow_provider.operators._base import cluster_with
from kubeflow_provider.operators._given_pipeline import PipelineTask
from kubeflow_provider.operators._openlineage import TellsLineage
from kubeflow_provider.operators._runs.failure import failure, interrupted, out_of_sight
from kubeflow_provider.operators._runs.marks import RunMark, shortened
from kubeflow_provider.operators._runs.outputs import collect_outputs, leave_outputs
from kubeflow_provider.operators._runs.record import RunRecord
from kubeflow_provider.operators.cancelling import cancel_from_signal_handler
from kubeflow_provider.outages import patient, wait_out
from kubeflow_provider.pipelines.outputs import place_of, with_place
from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import PipelineService, PreparedRun, Run, RunRequest
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.pipelines import FollowedRunTrigger, PipelineRunTrigger

#: How long after the trigger's own deadline Airflow ends the deferral, should the trigger not have done so.
_BACKSTOP = timedelta(minutes=5)


class RunPipelineOperator(TellsLineage, PipelineTask):
    """Run a pipeline and wait until it is over.

    Which one is said by exactly one of ``pipeline_file``, ``pipeline`` and ``pipeline_spec``.

    A deferrable task prepares the run and leaves its start to the trigger, so that there is never a run that nobody
    looks after. The run outlives the task's process. A try that finds a run of this task under way (the worker was
    killed, the service could not be asked for a while) picks it up; a task that was cleared starts a new one, and so
    does a retry after a failure that the operator has reported, or after a worker that was shut down. Marking the task
    failed stops the run, also while deferred.

    XCom: ``run_id``, ``run_url``, ``experiment_url``, and of a run that has succeeded ``outputs``, see
    :mod:`kubeflow_provider.run_outputs`; the return value is the run id.

    With Airflow's OpenLineage provider, its events name the run and the pipeline. What the run reads and writes are
    the task's ``inlets`` and ``outlets``, or where it has none what the run imports and has made, and the parameters
    ``dataset_uri`` and ``output_uri``.

    :param pipeline_file: compiled pipeline (IR YAML): its path, or a URI that begins with ``file://``, ``https://``,
        ``s3://`` or ``gs://`` (``s3://conn_id@bucket/key`` with a connection of its own). The service keeps it, as a
        version named after what it holds. Templated.
    :param pipeline: name or id of a pipeline that the service keeps. Templated.
    :param pipeline_version: name or id of its version. Default: the newest when the run is prepared. Templated.
    :param pipeline_spec: compiled pipeline, as it is or as YAML or JSON text; the service keeps it with this run only,
        so that the right to create pipelines is not needed. Not rendered, for it has curly brackets of its own; it may
        be the output of another task.
    :param parameters: values for the pipeline's parameters; text is cast to the types that it declares, and stays as
        it is written where that is text, also in a DAG that renders native objects. Templated.
    :param display_name: the run's name for people. Templated.
    :param description: of the run, for people; at most about a hundred characters of it are kept, because the server
        keeps 255 and the run is found again by the rest of them. Templated.
    :param experiment: groups runs in the service's UI. Templated.
    :param enable_caching: whether steps may reuse results of earlier runs; ``None`` leaves that to the pipeline.
        Templated.
    :param service_account: of the steps' pods. Default: the server's. Templated.
    :param pipeline_root: where the run keeps its artifacts. Default: the connection's, else the server's. Templated.
    :param cluster: image, storage, scheduling and what differs by step, see
        :class:`~kubeflow_provider.kubernetes.settings.ClusterSettings`; the three arguments before count for more.
        Services without a cluster have no use for any of these. Templated.
    :param outputs_uri: where the pipeline itself writes its outputs, for services that tell none; ``{run_id}`` in it
        is the run's id. A pipeline with a parameter of this name is told. Templated.
    :param outputs_conn_id: Airflow connection for ``outputs_uri``, where its store needs one and the URI names none.
        Templated.
    :param required_outputs: names of outputs (``accuracy``, or ``train.model`` of a step) without which the task fails
        though the run has succeeded. Templated.
    :param pipelines_conn_id: Airflow connection; its type decides where the pipeline runs. Templated.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions for the run's state, in seconds.
    :param timeout: from the start of the run to the moment at which it is cancelled, retries included. A shorter
        ``execution_timeout`` counts as well, also while deferred.
    :param max_poll_errors: so many failed questions in a row fail the task; the run goes on, and a retry picks it up.
        A service that is away is waited for instead, for as long as its connection says (``outage_seconds``).
    :param wait_for_completion: ``False`` ends the task as soon as the run exists.
    :param keep_on_kill: let the run go on when the task is marked, cleared or stopped. A retry picks it up; a clear
        starts another one beside it. The end of ``timeout`` cancels it all the same.

    Without a ``retry_policy`` of its own, or of its DAG's ``default_args``, it has
    :data:`kubeflow_provider.exceptions.RETRY_POLICY`.
    """

    template_fields: Sequence[str] = (
        "pipeline_file",
        "pipeline",
        "pipeline_version",
        "pipeline_spec",
        "parameters",
        "display_name",
        "description",
        "experiment",
        "enable_caching",
        "service_account",
        "pipeline_root",
        "cluster",
        "outputs_uri",
        "outputs_conn_id",
        "required_outputs",
        "pipelines_conn_id",
    )
    template_fields_renderers = {"pipeline_spec": "json", "parameters": "json", "cluster": "json"}
    operator_extra_links = (PipelineRunLink(), ExperimentLink())
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        pipeline_file: str | None = None,
        pipeline: str | None = None,
        pipeline_version: str | None = None,
        pipeline_spec: Mapping[str, Any] | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        display_name: str = "{{ dag.dag_id }} {{ run_id }}",
        description: str = "",
        experiment: str = "Default",
        enable_caching: bool | str | None = None,
        service_account: str | None = None,
        pipeline_root: str | None = None,
        cluster: Mapping[str, Any] | None = None,
        outputs_uri: str | None = None,
        outputs_conn_id: str | None = None,
        required_outputs: Sequence[str] = (),
        pipelines_conn_id: str = "kubeflow_pipelines_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_seconds: float = 30,
        timeout: timedelta = timedelta(hours=12),
        max_poll_errors: int = 10,
        wait_for_completion: bool = True,
        keep_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline_file = pipeline_file
        self.pipeline = pipeline
        self.pipeline_version = pipeline_version
        self.pipeline_spec = pipeline_spec
        self.check_pipeline()
        self.parameters = parameters or {}
        self.display_name = display_name
        self.description = description
        self.experiment = experiment
        self.enable_caching = enable_caching
        self.service_account = service_account
        self.pipeline_root = pipeline_root
        self.cluster = cluster or {}
        self.outputs_uri = outputs_uri
        self.outputs_conn_id = outputs_conn_id
        self.required_outputs = required_outputs
        self.pipelines_conn_id = pipelines_conn_id
        self.deferrable = deferrable
        self.poll_interval_seconds = poll_interval_seconds
        self.timeout = timeout
        self.max_poll_errors = max_poll_errors
        self.wait_for_completion = wait_for_completion
        self.keep_on_kill = keep_on_kill
        self._service: PipelineService | None = None
        self._record: RunRecord | None = None
        self._run_id: str | None = None
        self._killed = False
        self._facts = {}

    @property
    def time_limit(self) -> timedelta:
        """How long a run may take; Airflow itself does not mind ``execution_timeout`` while a task is deferred."""
        return min(self.timeout, self.execution_timeout or self.timeout)

    def execute(self, context: Context) -> str:
        """Have the run started or pick it up, then wait or defer."""
        self._service = get_pipeline_service(self.pipelines_conn_id)
        service = patient(self._service)
        self._record = RunRecord(context, retries=self.retries or 0)
        record, run, is_repeat = self._record.pick_up(service, limit=self.time_limit, keeps=self.keep_on_kill)
        self._run_id = record["run_id"]
        if run is not None:
            self._show(context, run.run_id, run.url, run.experiment_url)
            return self._go_on(context, record, run)
        prepared = self._prepare(context, service, record)
        self._show(context, prepared.run_id, prepared.url, prepared.experiment_url)
        if self._killed:
            raise interrupted(record["run_id"])
        self._record.write(record)
        if self.deferrable and self.wait_for_completion:
            self.log.info("Pipeline run %s (%s) is started by the triggerer.", prepared.run_id, self.display_name)
            self._defer(context, record, submission=prepared.document, is_repeat=is_repeat)
        run = self._start(self._service, prepared, is_repeat=is_repeat)
        if run.run_id != record["run_id"]:
            self._rename(context, run.run_id, record)
        if self._killed and not self.keep_on_kill:
            # Airflow asked to stop while the request was under way, when there was no run to stop yet.
            self._service.terminate_run(run.run_id)
            self._record.note_cancelled(run.run_id)
            raise interrupted(run.run_id)
        return self._go_on(context, record, run)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what the trigger has found out; the event is all that this fresh operator knows."""
        run_id: str = event["run_id"]
        asked_for: str = event.get("asked_for", run_id)
        records = RunRecord(context, retries=self.retries or 0)
        mine = records.run_id()
        if mine not in (None, run_id, asked_for):
            # SQLite gives the id of a trigger away again: the one of a cleared try may outlive it, and speak for this.
            self.log.info("That was pipeline run %s, of an earlier try; waiting for %s.", run_id, mine)
            return self.execute(context)
        self._facts = {"run_id": run_id, "state": event.get("state"), "url": event.get("url")}
        if run_id != asked_for:
            self._rename(context, run_id, records.read())
        if event["outcome"] == WaitOutcome.ERROR:
            if event.get("is_started", True):
                event = event | {"message": out_of_sight(run_id, event["message"])}
            raise_for_error(event)
        if event["outcome"] == WaitOutcome.OVER and RunState(event["state"]).is_successful:
            self.log.info("Pipeline run %s has succeeded.", run_id)
            self._facts["outputs"] = outputs = collect_outputs(
                event,
                outputs_uri=self.outputs_uri or None,
                conn_id=self.outputs_conn_id or None,
                required=self.required_outputs,
            )
            leave_outputs(context, outputs)
            return run_id
        service = patient(get_pipeline_service(self.pipelines_conn_id))
        recall(service)  # it has let in who waited for the run
        cancelled = (self._killed and not self.keep_on_kill) or records.was_cancelled(run_id)
        error = interrupted(run_id) if cancelled else failure(event, service, timeout=self.time_limit)
        records.settle()
        raise error

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume; a deferral that Airflow itself ended counts as a timeout of the run."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            run_id = RunRecord(context, retries=self.retries or 0).run_id()
            if run_id is None:
                raise
            return self.execute_complete(context, {"outcome": WaitOutcome.TIMEOUT.value, "run_id": run_id})

    def on_kill(self) -> None:
        """Stop the run and remember having done so, unless it is to be kept."""
        self._killed = True
        if self.keep_on_kill:
            self.log.info("Pipeline run %s is left to go on.", self._run_id)
            return
        service, record, run_id = self._service, self._record, self._run_id
        if service and record and run_id:
            cancel_from_signal_handler(lambda: service.terminate_run(run_id), lambda: record.note_cancelled(run_id))

    def run_parameters(self, context: Context) -> Mapping[str, Any]:
        """Return the parameters of a run that is to be started."""
        return self.parameters

    def _prepare(self, context: Context, service: PipelineService, record: Mapping[str, Any]) -> PreparedRun:
        pipeline, parameters = self.read_pipeline(service), self.run_parameters(context)
        if self.outputs_uri:
            parameters = with_place(pipeline, parameters, place_of(self.outputs_uri, record["run_id"]))
        is_waited_for = self.wait_for_completion and not self.keep_on_kill
        mark = RunMark.of(context, asked_for=record["run_id"], is_waited_for=is_waited_for)
        airflow, text = airflow_id(), str(self.description or "")
        return service.prepare_run(
            RunRequest(
                run_id=record["run_id"],
                pipeline=pipeline,
                parameters=bind(pipeline, parameters),
                display_name=str(self.display_name),
                experiment=str(self.experiment),
                cluster=cluster_with(
                    self.cluster,
                    cache=self.enable_caching,
                    service_account=self.service_account,
                    pipeline_root=self.pipeline_root,
                ),
                description=mark.description(airflow, text) if airflow else shortened(text),
                keep_pipeline=self.pipeline_spec is None,
            )
        )

    def _start(self, service: PipelineService, prepared: PreparedRun, *, is_repeat: bool) -> Run:
        """Start the run, however long the service is away; after the first time it may have been asked for before."""
        tries = chain([is_repeat], repeat(True))
        return wait_out(lambda: service.start_run(prepared.document, is_repeat=next(tries)))

    def _show(self, context: Context, run_id: str, url: str | None, experiment_url: str | None) -> None:
        """Leave ids and links for people and tasks at once; Airflow asks for links when the task's process ends."""
        ti = context["ti"]
        ti.xcom_push(XCOM_RUN_ID, run_id)
        for link, address in ((PipelineRunLink(), url), (ExperimentLink(), experiment_url)):
            ti.xcom_push(link.key, address)
            if address:
                ti.xcom_push(link.xcom_key, address)

    def _rename(self, context: Context, run_id: str, record: dict[str, Any] | None) -> None:
        """Take over the id that a service has given; from now on this one finds the run."""
        self._run_id = run_id
        context["ti"].xcom_push(XCOM_RUN_ID, run_id)
        if record is not None:
            record["run_id"] = run_id
            RunRecord(context, retries=self.retries or 0).write(record)

    def _go_on(self, context: Context, record: Mapping[str, Any], run: Run) -> str:
        """Wait for a run that is started, as far as this task waits."""
        self._facts = {"run_id": run.run_id, "state": run.state.value, "url": run.url}
        where = f": {run.url}" if run.url else ""
        self.log.info("Pipeline run %s (%s) is %s%s", run.run_id, self.display_name, run.state.value, where)
        if not self.wait_for_completion:
            return run.run_id
        if self.deferrable and not run.state.is_terminal:
            self._defer(context, record)
        return self.execute_complete(context, asyncio.run(self._trigger(record).wait()))

    def _defer(self, context: Context, record: Mapping[str, Any], **submission: Any) -> NoReturn:
        left = datetime.fromisoformat(record["deadline"]) - datetime.now(tz=UTC)
        self.defer(
            trigger=self._trigger(record, **submission),
            method_name="execute_complete",
            timeout=max(left, timedelta()) + _BACKSTOP,
        )
        raise AssertionError("deferring ends the task's process")

    def _trigger(self, record: Mapping[str, Any], **submission: Any) -> PipelineRunTrigger:
        kind = FollowedRunTrigger if self.keep_on_kill else PipelineRunTrigger
        return kind(
            run_id=record["run_id"],
            conn_id=self.pipelines_conn_id,
            deadline=datetime.fromisoformat(record["deadline"]),
            started_at=datetime.fromisoformat(record["started_at"]) if "started_at" in record else None,
            poll_interval_seconds=self.poll_interval_seconds,
            max_poll_errors=self.max_poll_errors,
            was_accepted=was_accepted(self._service),
            **submission,
        )
