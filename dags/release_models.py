"""One release DAG for every file in ``include/models``: train, package, prove, promote, or roll back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    AssetAny,
    AssetOrTimeSchedule,
    BaseOperator,
    Context,
    DeadlineAlert,
    MultipleCronTriggerTimetable,
    Param,
)

from include.code_revision import code_revision
from include.contracts.dataset import Dataset
from include.contracts.form import FIELDS, schema_of, templates
from include.contracts.kinds.slices import columns_of
from include.contracts.queries import query_names
from include.contracts.rules.allowed_sources import refusals
from include.contracts.search.document import SETTINGS_FROM_PATTERN
from include.contracts.section import Section
from include.contracts.settings import DataConfig, GateConfig, TrainingConfig
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from model_releases import ids, pipeline_release
from model_releases.addresses import mask, with_secrets
from model_releases.alerts.deadlines import release_deadline
from model_releases.config import ModelConfig, TextClassifierConfig, read_configs_to_build
from model_releases.deployment import add_deployment, default_arguments, notifier_of
from model_releases.forms import set_form
from model_releases.memory.candidate import read_text
from model_releases.memory.claims import claimed_version, release_version
from model_releases.operators.gate import GateOperator
from model_releases.operators.pre_execute.sealed import RefuseSealed
from model_releases.operators.query import QueryOperator
from model_releases.preprocessing import preprocess_task, refused_side_by_side
from model_releases.release_check import add_check
from model_releases.versions import as_of, asked_version


def form(config: ModelConfig) -> dict[str, Param]:
    """Return the fields of the trigger form, with the model's own settings as defaults."""
    own = text_form(config) if isinstance(config, TextClassifierConfig) else pipeline_release.form(config)
    return {
        **own,
        "require_approval": Param(
            config.approval.required, type="boolean", section="Release", title="Ask a person before deploying",
            description=f"No answer within {config.approval.timeout_hours:g} hours is a no.",
        ),
    }  # fmt: skip


def text_form(config: TextClassifierConfig) -> dict[str, Param]:
    """Return the fields that a text classifier has."""
    sources = (
        "One path, URI or Hub data set id (`hub:owner/name[:split]`) on each line; others than the model's own have to "
        "be named in `data.allowed_sources`."
    )
    return {
        "train": Param(
            config.data.train, type="array", items={"type": "string"}, minItems=1, section="Data",
            title="Training data", description=sources,
        ),
        "evaluation": Param(
            config.data.evaluation, type=["array", "null"], items={"type": "string"}, section="Data",
            title="Evaluation data",
            description=f"{sources} Empty: {config.data.evaluation_fraction:.0%} of the training data are split off.",
        ),
        **fields(config.training, "Training"),
        "settings_from": Param(
            "", type="string", pattern=SETTINGS_FROM_PATTERN, section="Training", title="Settings found by",
            description="`search` and its id, for the release's record; a search fills it in. Empty: nothing is said.",
        ),
        **fields(config.gate, "Gate"),
    }  # fmt: skip


def fields(section: Section, group: str) -> dict[str, Param]:
    """Return the fields of the form that stand for settings of a section."""
    names = FIELDS[type(section)]
    return {name: Param(getattr(section, name), section=group, **schema_of(type(section), name)) for name in names}


def schedule(config: ModelConfig) -> Any:
    """Return Airflow's schedule for the model's cron expression and assets, ``None`` for by hand only."""
    assets = AssetAny(*config.release_assets) if config.release_assets else None
    if not config.schedule.crons:
        return assets
    timetable = MultipleCronTriggerTimetable(*config.schedule.crons, timezone=config.schedule.timezone)
    return AssetOrTimeSchedule(timetable=timetable, assets=assets) if assets else timetable


def deadline(config: ModelConfig) -> DeadlineAlert | None:
    """Return the time by which a release of the model should be over, where it has one."""
    if config.alerts.max_release_hours is None:
        return None
    return release_deadline(
        config.name,
        max_release_hours=config.alerts.max_release_hours,
        conn_id=config.alert_connections["normal"],
    )


def dataset_check(uri: str, conn_id: str | None) -> Any:
    """Return a ``pre_execute`` hook that checks what preprocessing has written before anything is trained on it.

    :param uri: template of the URI of its ``dataset.json``.
    :param conn_id: Airflow connection for the model store, where it needs one.
    """

    def check(context: Context) -> None:
        where = context["task"].render_template(uri, context)
        Dataset.parse(read_text(where, conn_id=conn_id), where=where)

    return check


def refused_sources(config: TextClassifierConfig, form: Mapping[str, Any]) -> str:
    """Return what the form names and may not have read, in sentences; empty when that is nothing."""
    mask(named_addresses(config, form))
    sources = [*form["train"], *(form["evaluation"] or ())]
    found = refusals(sources, config.allowed_sources, base_model=form["base_model"])
    return " ".join([*found, *refused_side_by_side(config, sources)])


def data_config(config: TextClassifierConfig, form: Mapping[str, Any]) -> DataConfig:
    """Return the model's data settings with the sources that the form names."""
    mask(named_addresses(config, form))
    return config.data.with_sources(form["train"], form["evaluation"])


def named_addresses(config: TextClassifierConfig, form: Mapping[str, Any]) -> list[str]:
    """Return all that preprocessing is told of addresses."""
    return [*form["train"], *(form["evaluation"] or ()), form["base_model"], *config.allowed_sources]


def pipeline_parameters(config: TextClassifierConfig, version: str) -> dict[str, Any]:
    """Return the pipeline's parameters as far as they are known before a release begins.

    :param version: template of the version.
    """
    folder = f"{config.store_uri}/{version}"
    return {
        "dataset_uri": f"{folder}/dataset/dataset.json",
        "output_uri": folder,
        "model_name": config.name,
        "model_version": version,
        "training": config.training.model_dump(exclude_none=True) | templates(TrainingConfig),
        "confidence": config.gate.confidence,
        "serving": config.serving.packaging,
        "experiment_name": config.name,
        "cpu": config.resources.cpu,
        "memory": config.resources.memory,
        "accelerator_type": config.resources.accelerator_type,
        "accelerator_count": str(config.resources.accelerator_count),
    }


def macros(config: TextClassifierConfig) -> dict[str, Any]:
    """Return what the templates of its tasks ask for."""
    return {
        "as_of": as_of,
        "code_revision": code_revision,
        "allowed_sources": lambda: json.dumps(config.allowed_sources),
        "refused_sources": lambda params: refused_sources(config, params),
        "private_sources": lambda params: with_secrets(named_addresses(config, params)),
        "data_config": lambda params: data_config(config, params),
        "query_names": lambda params: ",".join(query_names([*params["train"], *(params["evaluation"] or ())])),
    }


def add_candidate_tasks(config: TextClassifierConfig, *, asked: str, version: str) -> BaseOperator:
    """Add the tasks up to the gate, and return it.

    :param asked: template of the version that the run asks for.
    :param version: template of the version that it has claimed.
    """
    folder = f"{config.store_uri}/{version}"
    dataset_uri = f"{folder}/dataset/dataset.json"
    checked = f"ti.xcom_pull('{ids.CHECK}')"
    live_version = f"{{{{ {checked}['live_version'] }}}}"
    registry_conn_id = config.connection("registry")
    sealed = {"model": config.name, "version": version, "registry_conn_id": registry_conn_id}
    cluster, data = config.cluster.model_dump(mode="json"), "{{ data_config(params).model_dump_json() }}"

    check = add_check(
        config,
        asked=asked,
        data=data,
        pipeline_file=config.pipeline_file,
        parameters=pipeline_parameters(config, asked),
        refused_sources="{{ refused_sources(params) }}",
        private_sources="{{ private_sources(params) }}",
    )
    queries_uri = f"{folder}/queries"
    query: list[Any] = []
    if config.data.queries:
        query = [
            QueryOperator(
                task_id=ids.QUERY,
                pre_execute=RefuseSealed(**sealed, writes=True),
                candidate_uri=None,
                candidate_sha256=None,
                queries=config.data.queries,
                columns=[*config.data.columns, *map(str, columns_of(config.data.slices))],
                date_column=config.data.date_column,
                names="{{ query_names(params) }}",
                folder_uri=queries_uri,
                execution_timeout=timedelta(hours=2),  # as preprocessing
            )
        ]
    preprocess = preprocess_task(
        config,
        folder_uri=folder,
        data=data,
        seed="{{ params.seed }}",
        queries_uri=queries_uri,
        display_name=f"{config.name} {version} data",
        pre_execute=RefuseSealed(**sealed, writes=True),
    )
    train = RunPipelineOperator(
        task_id="train",
        pre_execute=RefuseSealed(**sealed, writes=True, then=dataset_check(dataset_uri, config.store_conn_id)),
        pipeline_file=config.pipeline_file,
        parameters=pipeline_parameters(config, version)
        | {
            # Rendered again when the training is over: a check by version 0.1.0 said `champion_uri`, read until the
            # version after next.
            "live_uri": f"{{{{ {checked}['live_uri'] | default({checked}['champion_uri']) }}}}",
            "tracking_uri": f"{{{{ {checked}['tracking_uri'] }}}}",
            "code_revision": "{{ code_revision() }}",
            # A pipeline of a version before this parameter goes on where nothing is captured.
            **({"shadow": shadow} if (shadow := config.replay(live_version=live_version)) else {}),
        },
        display_name=f"{config.name} {version}",
        experiment=config.name,
        cluster=cluster,
        timeout=timedelta(hours=config.training_timeout_hours),
    )
    gate = GateOperator(
        task_id=ids.GATE,
        candidate_sha256=None,  # it is what finds it out
        policy=config.gate.model_dump() | templates(GateConfig),
        live_at_start=live_version,
    )

    check >> query >> preprocess
    check >> preprocess >> train >> gate
    return gate


def release_dag(config: ModelConfig) -> DAG:
    """Build the release DAG of one model."""
    # What `check` asks for, what it has claimed, and what is known of it whatever became of `check`.
    asked, version, known = (f"{{{{ {which}_version(dag_run) }}}}" for which in ("asked", "claimed", "release"))
    with DAG(
        dag_id=ids.release_dag(config.name),
        dag_display_name=f"Release {config.name}",
        description=config.description,
        doc_md=__doc__,
        schedule=schedule(config),
        catchup=False,
        max_active_runs=1,
        tags=["release", *config.tags],
        user_defined_macros={
            "asked_version": asked_version,
            "claimed_version": claimed_version,
            "release_version": release_version,
            **(macros(config) if isinstance(config, TextClassifierConfig) else {}),
        },
        deadline=deadline(config),
        on_failure_callback=notifier_of(config, version=known),
        default_args=default_arguments(config, version=version),
    ) as dag:
        if isinstance(config, TextClassifierConfig):
            gate = add_candidate_tasks(config, asked=asked, version=version)
        else:
            gate = pipeline_release.add_candidate_tasks(config, asked=asked, version=version)
        add_deployment(dag, config, after=gate, known_version=known, requires_approval="{{ params.require_approval }}")
    set_form(dag, form(config))
    return dag


for model in read_configs_to_build(ids.release_dag):
    release = release_dag(model)
    globals()[release.dag_id] = release
