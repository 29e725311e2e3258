"""Makes, pauses and deletes recurring runs: schedules that Kubeflow Pipelines keeps by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from airflow.sdk import Context

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.links import RecurringRunLink
from kubeflow_provider.operators._base import cluster_with
from kubeflow_provider.operators._given_pipeline import PipelineTask
from kubeflow_provider.operators._on_kubeflow import KubeflowTask
from kubeflow_provider.outages import patient
from kubeflow_provider.pipelines.recurring_runs import RecurringRunRequest, Schedule
from kubeflow_provider.pipelines.spec import bind


class CreateRecurringRunOperator(PipelineTask, KubeflowTask):
    """Have Kubeflow run a pipeline again and again, by a schedule of its own; Airflow need not be there for it.

    Safe to repeat: the recurring run that a task like this has made, and that asks for the same, is found by its name
    in its experiment and stays as it is. Another one of that name is refused, or replaced where ``replace`` says so:
    Kubeflow cannot change one.

    XCom: ``recurring_run_url``; the return value is the id of the recurring run. There is nothing to wait for.

    :param pipeline_file: compiled pipeline: a path or a URI, as
        :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator` takes it; every run takes the version that
        is uploaded now. Templated.
    :param pipeline: name or id of a pipeline that Kubeflow keeps. Templated.
    :param pipeline_version: name or id of its version. Default: each run takes the version that is the newest then (a
        Kubeflow before 2.5: the one that is the newest now). Templated.
    :param pipeline_spec: compiled pipeline, as it is or as YAML or JSON text; it may be the output of another task, and
        is not rendered otherwise.
    :param parameters: values for the pipeline's parameters, as ``RunPipelineOperator`` takes them. Templated.
    :param display_name: its name, by which it is found again; nothing in it may change from run to run. Templated.
    :param experiment: groups runs in Kubeflow's UI. Templated.
    :param description: for people. Templated.
    :param cron: when: five fields as in Airflow, six with a second before them, ``@daily`` and its like, or
        ``@every 90m``. In the time zone of Kubeflow's controller, which is UTC unless its operators say otherwise.
        Templated.
    :param interval: between the starts of two runs, in place of ``cron``.
    :param start_time: nothing runs before; with a time zone, as text in the form of ISO 8601. Templated.
    :param end_time: nothing runs after. Templated.
    :param catchup: make up for moments that were missed since the start time, or while it was paused: a run for each,
        instead of one for the latest.
    :param max_concurrency: so many of its runs go on at the same time, 1 to 10; what is due then waits.
    :param enabled: ``False`` makes it paused.
    :param replace: delete others of its name in its experiment, once this one is there; their runs go on.
    :param enable_caching: whether steps may reuse results of earlier runs; ``None`` leaves that to the pipeline.
        Templated.
    :param service_account: of the steps' pods. Default: the server's. Templated.
    :param pipeline_root: where its runs keep their artifacts. Default: the connection's, else the server's. Templated.
    :param cluster: image, storage, scheduling and what differs by step, see
        :class:`~kubeflow_provider.kubernetes.settings.ClusterSettings`; the three arguments before count for more. What
        changes the pipeline needs a ``pipeline_version``. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    template_fields: Sequence[str] = (
        "pipeline_file",
        "pipeline",
        "pipeline_version",
        "pipeline_spec",
        "parameters",
        "display_name",
        "experiment",
        "description",
        "cron",
        "start_time",
        "end_time",
        "enable_caching",
        "service_account",
        "pipeline_root",
        "cluster",
        "pipelines_conn_id",
    )
    template_fields_renderers = {"pipeline_spec": "json", "parameters": "json", "cluster": "json"}
    operator_extra_links = (RecurringRunLink(),)
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        display_name: str,
        pipeline_file: str | None = None,
        pipeline: str | None = None,
        pipeline_version: str | None = None,
        pipeline_spec: Mapping[str, Any] | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        experiment: str = "Default",
        description: str = "",
        cron: str | None = None,
        interval: timedelta | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        catchup: bool = False,
        max_concurrency: int = 1,
        enabled: bool = True,
        replace: bool = False,
        enable_caching: bool | str | None = None,
        service_account: str | None = None,
        pipeline_root: str | None = None,
        cluster: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline_file = pipeline_file
        self.pipeline = pipeline
        self.pipeline_version = pipeline_version
        self.pipeline_spec = pipeline_spec
        self.check_pipeline()
        if (cron is None) is (interval is None):
            raise ValueError("exactly one of cron and interval says when it runs")
        self.parameters = parameters or {}
        self.display_name = display_name
        self.experiment = experiment
        self.description = description
        self.cron = cron
        self.interval = interval
        self.start_time = start_time
        self.end_time = end_time
        self.catchup = catchup
        self.max_concurrency = max_concurrency
        self.enabled = enabled
        self.replace = replace
        self.enable_caching = enable_caching
        self.service_account = service_account
        self.pipeline_root = pipeline_root
        self.cluster = cluster or {}

    def execute(self, context: Context) -> str:
        """Make it, or find it there, and return its id."""
        schedule = Schedule.of(
            cron=self.cron, interval=self.interval, start_time=self.start_time, end_time=self.end_time
        )
        hook = patient(self.hook())
        pipeline = self.read_pipeline(hook)
        request = RecurringRunRequest(
            display_name=str(self.display_name),
            pipeline=pipeline,
            parameters=bind(pipeline, self.parameters),
            schedule=schedule,
            experiment=str(self.experiment),
            cluster=cluster_with(
                self.cluster,
                cache=self.enable_caching,
                service_account=self.service_account,
                pipeline_root=self.pipeline_root,
            ),
            description=str(self.description or ""),
            max_concurrency=self.max_concurrency,
            catchup=self.catchup,
            is_enabled=self.enabled,
            follows_newest=self.pipeline is not None and not self.pipeline_version,
            keep_pipeline=self.pipeline_spec is None,
        )
        made = hook.create_recurring_run(request, replace=self.replace)
        self.log.info(
            "Recurring run %s (%s) is %s%s",
            made.display_name,
            made.recurring_run_id,
            "enabled" if made.is_enabled else "paused",
            f": {made.url}" if made.url else "",
        )
        if made.url:
            context["ti"].xcom_push(RecurringRunLink.key, made.url)
        return made.recurring_run_id


class _OnRecurringRun(KubeflowTask):
    """A task for one recurring run.

    :param recurring_run: its id, or its name in the experiment. Templated.
    :param experiment: where its name is looked for; an id needs none. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    template_fields: Sequence[str] = ("recurring_run", "experiment", "pipelines_conn_id")
    ui_color = "#eeeeee"

    def __init__(self, *, recurring_run: str, experiment: str = "Default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurring_run = recurring_run
        self.experiment = experiment

    def find(self, hook: KubeflowPipelinesHook) -> str | None:
        """Return its id, ``None`` where no recurring run has this name.

        :raises InvalidRequestError: when several have.
        """
        if _is_id(self.recurring_run):
            return self.recurring_run
        found = hook.find_recurring_runs(self.recurring_run, experiment=self.experiment)
        if len(found) > 1:
            ids = ", ".join(run.recurring_run_id for run in found)
            raise InvalidRequestError(
                f"There are {len(found)} recurring runs {self.recurring_run!r} in experiment {self.experiment!r}, "
                f"and Kubeflow tells them apart by their ids only: {ids}. Give one of these as recurring_run."
            )
        return found[0].recurring_run_id if found else None

    def must_find(self, hook: KubeflowPipelinesHook) -> str:
        """Return its id.

        :raises InvalidRequestError: when no recurring run has this name, or several have.
        """
        if (found := self.find(hook)) is None:
            raise InvalidRequestError(
                f"There is no recurring run {self.recurring_run!r} in experiment {self.experiment!r}, by its name or "
                "id."
            )
        return found


class PauseRecurringRunOperator(_OnRecurringRun):
    """Have a recurring run start no more runs, until it is resumed. Its runs that go on do so. Safe to repeat.

    :param recurring_run: its id, or its name in the experiment. Templated.
    :param experiment: where its name is looked for; an id needs none. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    def execute(self, context: Context) -> str:
        """Pause it, and return its id."""
        hook = patient(self.hook())
        recurring_run_id = self.must_find(hook)
        hook.disable_recurring_run(recurring_run_id)
        self.log.info("Recurring run %s (%s) is paused.", self.recurring_run, recurring_run_id)
        return recurring_run_id


class ResumeRecurringRunOperator(_OnRecurringRun):
    """Have a recurring run that was paused start runs again. Safe to repeat.

    What it has missed it makes up for where it was made with ``catchup``, and otherwise by one run at once.

    :param recurring_run: its id, or its name in the experiment. Templated.
    :param experiment: where its name is looked for; an id needs none. Templated.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    ui_color = "#d6e6ff"

    def execute(self, context: Context) -> str:
        """Resume it, and return its id."""
        hook = patient(self.hook())
        recurring_run_id = self.must_find(hook)
        hook.enable_recurring_run(recurring_run_id)
        self.log.info("Recurring run %s (%s) starts runs again.", self.recurring_run, recurring_run_id)
        return recurring_run_id


class DeleteRecurringRunOperator(_OnRecurringRun):
    """Delete a recurring run. Harmless when it is gone.

    The return value is its id, nothing where it was gone.

    :param recurring_run: its id, or its name in the experiment. Templated.
    :param experiment: where its name is looked for; an id needs none. Templated.
    :param keep_runs: let those of its runs that go on do so. ``False``, and a Kubeflow before 2.16, takes their
        workflows away with it; such runs may show as going on for ever.
    :param pipelines_conn_id: Airflow connection, of type ``kubeflow_pipelines``. Templated.
    """

    ui_color = "#f3d9d9"

    def __init__(self, *, keep_runs: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_runs = keep_runs

    def execute(self, context: Context) -> str | None:
        """Delete it, and return its id."""
        hook = patient(self.hook())
        if (recurring_run_id := self.find(hook)) is None:
            self.log.info("There is no recurring run %s in experiment %s.", self.recurring_run, self.experiment)
            return None
        hook.delete_recurring_run(recurring_run_id, keep_runs=self.keep_runs)
        self.log.info("Recurring run %s (%s) is deleted.", self.recurring_run, recurring_run_id)
        return recurring_run_id


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
