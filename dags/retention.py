"""Delete the files of old versions: every Sunday, or by hand, where a list of what would go comes first.

What is live, the version before it, the newest releases and whatever a running release uses stay, as the `retention`
section of a model's YAML says. The registry keeps the record of every release. Captured requests go after
`capture.retention_days`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from model_releases import ids
from model_releases.config import read_model_configs
from model_releases.forms import set_form
from model_releases.memory.model_store import that_may_lie_in
from model_releases.operators.retention import RetentionOperator
from model_releases.upkeep import default_arguments, model_field, skip_unless_chosen

# Not without those that cannot be read: a version in whose folder their store lies must not go.
configs = read_model_configs()
stores = {config.name: config.store_uri for config in configs}

with DAG(
    dag_id="retention",
    dag_display_name="Retention",
    description="Delete the files of old versions.",
    doc_md=__doc__,
    # An Airflow that is started for the first time on a Sunday would make up for the morning at once: it is to wait.
    schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    tags=["release"],
    default_args=default_arguments(),
) as dag:
    for config in configs:
        RetentionOperator(
            task_id=config.name,
            pre_execute=skip_unless_chosen,
            model=config.name,
            store_uri=stores[config.name],
            policy=config.retention.model_dump(),
            capture=config.capture.model_dump(),
            # A weekly run has the form's defaults as well.
            delete="{{ dag_run.run_type == 'scheduled' or not params.dry_run }}",
            release_dag_id=ids.release_dag(config.name),
            other_store_uris=that_may_lie_in(
                stores[config.name], (store for name, store in stores.items() if name != config.name)
            ),
            serving_conn_id=config.connection("serving"),
            registry_conn_id=config.connection("registry"),
            store_conn_id=config.store_conn_id,
        )
set_form(
    dag,
    {
        "model": model_field(configs),
        "dry_run": Param(True, type="boolean", title="Only say what would go", description="The weekly run deletes."),
    },
)
