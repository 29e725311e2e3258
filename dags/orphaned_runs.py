"""Cancel pipeline runs that no task waits for any more: every hour, or by hand, where a list of them comes first.

Marking or clearing a task cancels its run. This finds what that could not reach: Kubeflow, a triggerer or a worker was
away at that moment, or a DAG run was deleted. Runs of other Airflows and of people are left alone.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from kubeflow_provider.operators.cancel import CancelOrphanedRunsOperator
from model_releases.config import read_model_configs

# One model's broken YAML must not leave the others' runs going.
configs = read_model_configs(leave_out_wrong=True)

with DAG(
    dag_id="orphaned_runs",
    dag_display_name="Orphaned runs",
    description="Cancel pipeline runs that no task waits for any more.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("20 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        "dry_run": Param(True, type="boolean", title="Only say what would be cancelled",
                         description="The hourly run cancels."),
    },
    tags=["release"],
    default_args={
        "owner": "ml-platform",
        "retries": 1,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(minutes=10),
    },
) as dag:  # fmt: skip
    for conn_id in sorted({config.connection("pipelines") for config in configs}):
        CancelOrphanedRunsOperator(
            task_id=conn_id,
            pipelines_conn_id=conn_id,
            # An hourly run has the form's defaults as well.
            cancel="{{ dag_run.run_type == 'scheduled' or not params.dry_run }}",
        )
