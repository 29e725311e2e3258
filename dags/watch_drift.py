"""Compare what users send with what the live model was made of: one DAG for each model that captures requests.

Input length, script, words that the tokenizer does not have, labels and confidence of a text classifier, each column of
a table; and how often the model was right, as far as labels have arrived. What it means stands in docs/drift.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable

from kubeflow_provider.operators.modules import RunModuleOperator
from model_releases import ids
from model_releases.config import ModelConfig, TextClassifierConfig, read_configs_to_build
from model_releases.exceptions import RETRY_POLICY
from model_releases.operators.monitoring.drift import AskForReleaseOperator, TellOfDriftOperator
from model_releases.operators.monitoring.live_version import FindLiveOperator

# One model's broken YAML must not leave the others unwatched.
configs = [
    config for config in read_configs_to_build(ids.watch_drift_dag, leave_out_wrong=True) if config.watches_drift
]


def end_of_window(dag_run: Any) -> str:
    """Return the time up to which requests are looked at, ISO 8601 in UTC, in whole seconds. Retries keep it."""
    moment = datetime.fromtimestamp(dag_run.run_after.timestamp(), UTC)
    return moment.isoformat(timespec="seconds")


def folder(dag_run: Any) -> str:
    """Return what the folder of this comparison is called."""
    return f"{datetime.fromisoformat(end_of_window(dag_run)):%Y%m%d%H%M%S}"


def watch_drift_dag(config: ModelConfig) -> DAG:
    """Build the DAG of one model."""
    live = f"ti.xcom_pull('{ids.FIND_LIVE}')"
    version = f"{{{{ {live}['version'] }}}}"
    is_classifier = isinstance(config, TextClassifierConfig)
    with DAG(
        dag_id=ids.watch_drift_dag(config.name),
        dag_display_name=f"Watch drift of {config.name}",
        description="Compares captured requests with what the live model was made of.",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(
            config.drift.cron, timezone=config.schedule.timezone, run_immediately=timedelta()
        ),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["release", *config.tags],
        user_defined_macros={"end_of_window": end_of_window, "folder": folder},
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "retry_policy": RETRY_POLICY,
            "model": config.name,
            "pipelines_conn_id": config.connection("pipelines"),
            "serving_conn_id": config.connection("serving"),
            "registry_conn_id": config.connection("registry"),
            "store_conn_id": config.store_conn_id,
            **config.tasks.arguments,
        },
    ) as dag:
        find_live = FindLiveOperator(task_id=ids.FIND_LIVE)
        compare = RunModuleOperator(
            task_id=ids.COMPARE,
            module="include.monitoring.drift",
            arguments={
                "model": config.name,
                "version": version,
                "store-uri": config.store_uri,
                "settings": config.drift.model_dump_json(),
                "as-of": "{{ end_of_window(dag_run) }}",
                "live-since": f"{{{{ {live}['since'] }}}}",
                "candidate-uri": f"{config.store_uri}/{version}/candidate.json" if is_classifier else "",
                "least-accuracy": f"{config.least_accuracy:g}",
            },
            cluster=config.cluster.model_dump(mode="json"),
        )
        tell = TellOfDriftOperator(
            task_id=ids.TELL,
            run="{{ folder(dag_run) }}",
            store_uri=config.store_uri,
            alert_conn_ids=config.alert_connections,
            remind_after=timedelta(hours=config.alerts.remind_after_hours),
        )
        find_live >> compare >> tell
        if config.schedule.retrain_on:
            tell >> AskForReleaseOperator(
                task_id=ids.ASK_FOR_RELEASE,
                drifted=f"{{{{ ti.xcom_pull('{ids.TELL}') | tojson }}}}",
                outlets=[ids.drift_asset(config.name)],
            )
    return dag


for config in configs:
    globals()[ids.watch_drift_dag(config.name)] = watch_drift_dag(config)
