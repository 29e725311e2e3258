"""Run a pipeline: the least there is.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``, and ``hello.yaml`` beside it.
"""

# [START quick_start]
from pathlib import Path

from airflow.sdk import DAG

from kubeflow_provider.operators.pipelines import RunPipelineOperator

with DAG("hello_kubeflow", schedule=None):
    RunPipelineOperator(
        task_id="hello",
        pipeline_file=str(Path(__file__).with_name("hello.yaml")),
        parameters={"name": "everybody"},
        deferrable=True,
    )
# [END quick_start]
