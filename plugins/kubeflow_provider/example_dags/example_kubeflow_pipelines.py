"""Have Kubeflow keep a pipeline, run it, wait for a run as somebody else would, and tidy up.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``. The pipeline lies beside this file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from kubeflow_provider.operators.kept_runs import ArchivePipelineRunOperator, UploadPipelineOperator
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.sensors.pipelines import PipelineRunSensor

with DAG(
    "example_kubeflow_pipelines",
    schedule=None,
    params={"name": Param("world", type="string"), "times": Param(1, type="integer", minimum=1)},
    tags=["example", "kubeflow"],
):
    upload = UploadPipelineOperator(task_id="upload", pipeline_file=str(Path(__file__).with_name("hello.yaml")))
    run = RunPipelineOperator(
        task_id="run",
        pipeline="{{ ti.xcom_pull('upload')['pipeline_id'] }}",
        pipeline_version="{{ ti.xcom_pull('upload')['pipeline_version_id'] }}",
        parameters={"name": "{{ params.name }}", "times": "{{ params.times }}"},
        timeout=timedelta(minutes=30),
        deferrable=True,
    )
    # [START sensor]
    follow = PipelineRunSensor(task_id="follow", run_id="{{ ti.xcom_pull('run') }}", timeout=1800, deferrable=True)
    # [END sensor]
    archive = ArchivePipelineRunOperator(task_id="archive", run_id="{{ ti.xcom_pull('run') }}")

    upload >> run >> follow >> archive
