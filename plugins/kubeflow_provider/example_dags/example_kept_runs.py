"""What can be done to runs that are there: try failed steps again, archive, delete, cancel what is left over.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``. The pipeline lies beside this file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from kubeflow_provider.operators.cancel import CancelOrphanedRunsOperator, CancelPipelineRunOperator
from kubeflow_provider.operators.kept_runs import (
    ArchivePipelineRunOperator,
    DeletePipelineRunOperator,
    RetryPipelineRunOperator,
    UploadPipelineOperator,
)
from kubeflow_provider.operators.pipelines import RunPipelineOperator

with DAG("example_kept_runs", schedule=None, tags=["example", "kubeflow"]):
    # [START upload]
    upload = UploadPipelineOperator(task_id="upload", pipeline_file=str(Path(__file__).with_name("hello.yaml")))
    # [END upload]
    train = RunPipelineOperator(
        task_id="train",
        pipeline="{{ ti.xcom_pull('upload')['pipeline_id'] }}",
        pipeline_version="{{ ti.xcom_pull('upload')['pipeline_version_id'] }}",
        timeout=timedelta(minutes=30),
    )
    # [START retry]
    again = RetryPipelineRunOperator(
        task_id="again",
        run_id="{{ ti.xcom_pull('train') }}",
        timeout=timedelta(minutes=30),
        deferrable=True,
    )
    # [END retry]
    # [START cancel_run]
    stop = CancelPipelineRunOperator(task_id="stop", run_id="{{ ti.xcom_pull('train') }}")
    # [END cancel_run]
    # [START archive]
    archive = ArchivePipelineRunOperator(task_id="archive", run_id="{{ ti.xcom_pull('train') }}")
    # [END archive]
    # [START delete]
    delete = DeletePipelineRunOperator(task_id="delete", run_id="{{ ti.xcom_pull('train') }}")
    # [END delete]
    # [START cancel]
    cancel = CancelPipelineRunOperator(task_id="cancel", tasks="train").as_teardown(setups=upload)
    # [END cancel]

    upload >> train >> again >> stop >> archive >> delete >> cancel

# [START orphans]
with DAG("orphaned_runs", schedule="@hourly", catchup=False):
    CancelOrphanedRunsOperator(task_id="cancel", grace=timedelta(minutes=30))
# [END orphans]
