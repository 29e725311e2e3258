"""Look after the live models between their releases, every quarter of an hour.

For each model: do registry and serving agree, can both be asked, is the live version young enough. And once for all:
alerts whose receivers did not answer are sent again. Whoever is told of what stands in docs/alerts.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable

from model_releases import ids
from model_releases.alerts.deadlines import age_deadline
from model_releases.config import ModelConfig, read_model_configs
from model_releases.exceptions import RETRY_POLICY
from model_releases.operators.watch import DeliverAlertsOperator, WatchReleaseOperator, WatchReleasesOperator

#: With more models than these a task looks after several: each costs seconds to start, and has to be through in time.
ONE_BY_ONE = 20
#: So many in one task then.
TOGETHER = 25

# One model's broken YAML must not leave the others unwatched.
configs = read_model_configs(leave_out_wrong=True)


def arguments(config: ModelConfig) -> dict[str, Any]:
    """Return how one model is watched."""
    alerts = config.alerts
    return {
        "model": config.name,
        "alert_conn_ids": config.alert_connections,
        "disagreement_grace": timedelta(minutes=alerts.disagreement_grace_minutes),
        "remind_after": timedelta(hours=alerts.remind_after_hours),
        "max_age": timedelta(days=alerts.max_age_days) if alerts.max_age_days else None,
        "serving_conn_id": config.connection("serving"),
        "registry_conn_id": config.connection("registry"),
    }


def watch_tasks() -> list[WatchReleaseOperator] | list[WatchReleasesOperator]:
    """Return the tasks that watch all models."""
    if len(configs) <= ONE_BY_ONE:
        return [WatchReleaseOperator(task_id=ids.watch_task(config.name), **arguments(config)) for config in configs]
    return [
        WatchReleasesOperator(
            task_id=f"watch_models_{first // TOGETHER + 1}",
            watches=[arguments(config) for config in configs[first : first + TOGETHER]],
            # Each may wait for a service that does not answer.
            execution_timeout=timedelta(minutes=2 * TOGETHER),
        )
        for first in range(0, len(configs), TOGETHER)
    ]


with DAG(
    dag_id=ids.WATCH_DAG,
    dag_display_name="Watch releases",
    description="Tells when registry and serving disagree or a model has grown too old; sends alerts again.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("*/15 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    is_paused_upon_creation=False,
    tags=["release"],
    deadline=[
        age_deadline(
            config.name,
            max_age_days=config.alerts.max_age_days,
            remind_after_hours=config.alerts.remind_after_hours,
            conn_id=config.alert_connections["normal"],
        )
        for config in configs
        if config.alerts.max_age_days
    ]
    or None,
    default_args={
        "owner": "ml-platform",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=10),
    },
) as dag:
    watch_tasks() >> DeliverAlertsOperator(task_id="deliver_alerts", trigger_rule="all_done")
