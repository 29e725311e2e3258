"""Measure what older versions lose on newer data: every Monday, or by hand.

The newest versions that were live and are kept answer the newest evaluation rows; nothing is trained, deployed or
registered. The curve and its figures lie in the model's folder of the store, below `staleness`: docs/retraining.md says
how to read them.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from kubeflow_provider.operators.modules import RunModuleOperator
from model_releases import ids
from model_releases.config import TextClassifierConfig, read_model_configs
from model_releases.forms import set_form
from model_releases.operators.lookback.kept_versions import KeptVersionsOperator
from model_releases.upkeep import default_arguments, model_field, skip_unless_chosen

# One model's broken YAML must not leave the others unmeasured.
configs = [config for config in read_model_configs(leave_out_wrong=True) if isinstance(config, TextClassifierConfig)]

with DAG(
    dag_id=ids.STALENESS_DAG,
    dag_display_name="Staleness",
    description="Measure what older versions lose on newer data.",
    doc_md=__doc__,
    # After the weekly retention: what it has deleted cannot be asked.
    schedule=CronTriggerTimetable("0 5 * * 1", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    # It costs the evaluation of ten models: one after the other.
    max_active_tasks=1,
    tags=["release"],
    default_args=default_arguments(),
) as dag:
    for config in configs:
        kept = KeptVersionsOperator(
            task_id=ids.kept_versions_task(config.name),
            pre_execute=skip_unless_chosen,
            model=config.name,
            most="{{ params.versions }}",
            registry_conn_id=config.connection("registry"),
            execution_timeout=timedelta(minutes=30),
        )
        found = f"ti.xcom_pull('{kept.task_id}')"
        kept >> RunModuleOperator(
            task_id=ids.staleness_task(config.name),
            module="include.classifier.lookback.staleness",
            arguments={
                "model": config.name,
                "versions": f"{{{{ {found}['versions'] }}}}",
                "rows-uri": f"{{{{ {found}['rows_uri'] }}}}",
                "output-uri": config.staleness_uri,
                "confidence": str(config.gate.confidence),
            },
            cluster=config.cluster.model_dump(mode="json"),
            pipelines_conn_id=config.connection("pipelines"),
        )
set_form(
    dag,
    {
        "model": model_field(configs),
        "versions": Param(
            10,
            type="integer",
            minimum=2,
            maximum=50,
            title="Versions",
            description="So many of the newest that were live and are kept.",
        ),
    },
)
