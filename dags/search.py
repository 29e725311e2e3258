"""Search better settings of a model's training, by hand or on a schedule: one DAG for each text classifier.

Trials are judged by rows that are held out of the training data, and the first of them has the present settings. What
was found lies in the model's folder of the store, below `search`. The best settings go the way of every release, with
its gate, smoke test and approval, where the form asks for one; docs/search.md has the rest.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, CronTriggerTimetable, Param

from include.code_revision import code_revision
from include.contracts.form import SEARCH_FIELDS, schema_of
from include.contracts.kinds.slices import columns_of
from include.contracts.queries import query_names
from include.contracts.search.document import SEARCH_FOLDER, SearchDocument
from include.contracts.search.settings import SearchConfig
from include.models import PROJECT_DIR
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from model_releases import ids
from model_releases.addresses import mask, with_secrets
from model_releases.config import TextClassifierConfig, read_configs_to_build
from model_releases.exceptions import RETRY_POLICY
from model_releases.memory.failures import remember_failure
from model_releases.operators.query import QueryOperator
from model_releases.operators.searches.search import (
    AskedForRelease,
    BeginSearchOperator,
    PreparedOnce,
    TellSearchOperator,
)
from model_releases.preprocessing import preprocess_task, refused_side_by_side
from model_releases.versions import as_of, asked_version

#: Beyond the search's own time: its last epoch, the data, and what waits for a node.
_TO_START_AND_END = timedelta(hours=2)


def form(config: TextClassifierConfig) -> dict[str, Param]:
    """Return the fields of the form, with the model's own settings as defaults."""
    fields = {
        name: Param(getattr(config.search, name), **schema_of(SearchConfig, name), section="Search")
        for name in SEARCH_FIELDS
    }
    fields["minutes"].schema["maximum"] = most_minutes(config)
    return {
        **fields,
        "search": Param(
            "", type="string", pattern="^([0-9]{14})?$", section="Search", title="Go on with search",
            description="Id of a search that was interrupted: what is over is not trained again. Empty: a new one.",
        ),
    }  # fmt: skip


def most_minutes(config: TextClassifierConfig) -> float:
    """Return how long a search may take, whatever the form says: what holds its run's timeout."""
    return max(config.search.minutes, config.training_timeout_hours * 60)


def private_data(config: TextClassifierConfig) -> str:
    """Return the data settings as JSON, whose secrets Airflow shows nobody from then on."""
    mask(config.named_addresses)
    return config.data.model_dump_json()


def macros(config: TextClassifierConfig) -> dict[str, Any]:
    """Return what the templates of its tasks ask for."""
    return {
        "as_of": as_of,
        "code_revision": code_revision,
        "allowed_sources": lambda: json.dumps(config.allowed_sources),
        "data_config": lambda: private_data(config),
        "refused_sources": lambda: refused_sources(config),
        "private_sources": lambda: with_secrets(config.named_addresses),
        "search_id": lambda params, dag_run: params["search"] or asked_version(dag_run),
    }


def refused_sources(config: TextClassifierConfig) -> str:
    """Return what of the model's data cannot be read, in sentences; empty when that is nothing."""
    mask(config.named_addresses)
    return " ".join(refused_side_by_side(config, [*config.data.train, *config.data.evaluation]))


def search_dag(config: TextClassifierConfig) -> DAG:
    """Build the DAG of one model."""
    search = "{{ search_id(params, dag_run) }}"
    folder = f"{config.store_uri}/{SEARCH_FOLDER}/{search}"
    queries_uri, dataset_uri = f"{folder}/queries", f"{folder}/dataset/dataset.json"
    settings, resources = config.search.model_dump(mode="json", exclude_none=True), config.resources
    settings |= {name: f"{{{{ params.{name} }}}}" for name in SEARCH_FIELDS}
    connections = {f"{name}_conn_id": config.connection(name) for name in ("pipelines", "registry")}
    cron = config.search.cron
    with DAG(
        dag_id=ids.search_dag(config.name),
        dag_display_name=f"Search settings of {config.name}",
        description="Search better settings of the model's training.",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(cron, timezone=config.schedule.timezone, run_immediately=timedelta())
        if cron
        else None,
        catchup=False,
        # Two that go on with the same search would write over each other's trials.
        max_active_runs=1,
        params=form(config),
        tags=["search", *config.tags],
        user_defined_macros=macros(config),
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "retry_policy": RETRY_POLICY,
            "on_failure_callback": remember_failure,
            "model": config.name,
            "store_conn_id": config.store_conn_id,
            **connections,
            **config.tasks.arguments,
        },
    ) as dag:
        once = PreparedOnce(dataset_uri, store_conn_id=config.store_conn_id)
        begin = BeginSearchOperator(
            task_id=ids.BEGIN_SEARCH,
            settings=settings,
            refused_sources="{{ refused_sources() }}",
            private_sources="{{ private_sources() }}",
        )
        prepared = begin
        if config.data.queries:
            prepared = QueryOperator(
                task_id=ids.QUERY,
                pre_execute=once,
                version=search,
                queries=config.data.queries,
                columns=[*config.data.columns, *map(str, columns_of(config.data.slices))],
                date_column=config.data.date_column,
                names=",".join(query_names([*config.data.train, *config.data.evaluation])),
                folder_uri=queries_uri,
                execution_timeout=timedelta(hours=2),
            )
            begin >> prepared
        preprocess = preprocess_task(
            config,
            folder_uri=folder,
            data="{{ data_config() }}",
            seed=str(config.training.seed),  # the rows that a release would evaluate on are split off here as well
            queries_uri=queries_uri,
            display_name=f"{config.name} search {search} data",
            pre_execute=once,
            trigger_rule="none_failed",
        )
        trials = RunPipelineOperator(
            task_id=ids.SEARCH,
            pipeline_file=str(PROJECT_DIR / "include" / "pipelines" / "search_classifier.yaml"),
            parameters={
                "dataset_uri": dataset_uri,
                "output_uri": folder,
                "model_name": config.name,
                "search_id": search,
                "training": config.training.model_dump(exclude_none=True),
                "settings": settings,
                "confidence": config.gate.confidence,
                "tracking_uri": f"{{{{ ti.xcom_pull('{ids.BEGIN_SEARCH}')['tracking_uri'] }}}}",
                "experiment_name": f"{config.name} search",
                "code_revision": "{{ code_revision() }}",
                "cpu": resources.cpu,
                "memory": resources.memory,
                "accelerator_type": resources.accelerator_type,
                "accelerator_count": str(resources.accelerator_count),
            },
            display_name=f"{config.name} search {search}",
            experiment=f"{config.name} search",
            # Its step is the training's.
            cluster=config.cluster.model_dump(mode="json", exclude={"steps"}),
            timeout=timedelta(minutes=most_minutes(config)) + _TO_START_AND_END,
            trigger_rule="none_failed",
        )
        tell = TellSearchOperator(task_id=ids.TELL, search=search, search_uri=f"{folder}/{SearchDocument.file}")
        release = TriggerDagRunOperator(
            task_id=ids.RELEASE,
            pre_execute=AskedForRelease(ids.TELL),
            trigger_dag_id=config.release_dag_id,
            # One for each search: a retry, and a search that was cleared, find it.
            trigger_run_id=f"search__{search}",
            conf=f"{{{{ ti.xcom_pull('{ids.TELL}') | tojson }}}}",
            skip_when_already_exists=True,
            openlineage_inject_parent_info=False,
        )
        prepared >> preprocess >> trials >> tell >> release
    return dag


# What is wrong in a YAML is said once, by release_models.py.
for model in read_configs_to_build(ids.search_dag, leave_out_wrong=True):
    if isinstance(model, TextClassifierConfig):
        searching = search_dag(model)
        globals()[searching.dag_id] = searching
