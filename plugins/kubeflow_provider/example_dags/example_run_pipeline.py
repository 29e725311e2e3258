"""Run a pipeline with the options that there are, and go on with what it has made.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``. The pipeline lies beside this file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, XComArg, task

from kubeflow_provider.operators.pipelines import RunPipelineOperator

PIPELINE = str(Path(__file__).with_name("train.yaml"))

with DAG(
    "example_run_pipeline",
    schedule=None,
    params={
        "table": Param("s3://data/reviews.parquet", type="string"),
        "epochs": Param(3, type="integer", minimum=1),
        "reuse": Param(True, type="boolean", description="Whether steps may reuse results of earlier runs."),
        "outputs_uri": Param("", type="string", description="For Kubeflow Pipelines before 3.0."),
    },
    tags=["example", "kubeflow"],
):
    # [START run_pipeline]
    train = RunPipelineOperator(
        task_id="train",
        pipeline_file=PIPELINE,
        parameters={"table": "{{ params.table }}", "epochs": "{{ params.epochs }}"},
        # [END run_pipeline]
        # [START about_the_run]
        display_name="{{ params.epochs }} epochs of {{ params.table }}",
        description="Weekly training. Questions: team-reviews",
        experiment="reviews",
        enable_caching="{{ params.reuse }}",
        service_account="default-editor",
        # [END about_the_run]
        # [START cluster]
        cluster={
            "pod_labels": {"team": "reviews"},
            "steps": {
                "train": {
                    "cpu_request": "2",
                    "memory_request": "4Gi",
                    "memory_limit": "8Gi",
                    "accelerator_type": "nvidia.com/gpu",
                    "accelerator_limit": 1,
                    "node_affinity": [
                        {"match_expressions": [{"key": "gpu-memory", "operator": "Gt", "values": ["40"]}]},
                    ],
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                    "retries": 2,
                    "timeout_seconds": 4 * 3600,
                },
                "write-outputs": {"env": {"AWS_REGION": "eu-central-1"}},
            },
        },
        # [END cluster]
        # [START outputs]
        outputs_uri="{{ params.outputs_uri }}",
        required_outputs=["accuracy", "model"],
        # [END outputs]
        timeout=timedelta(hours=6),
        deferrable=True,
    )

    # [START use_outputs]
    @task
    def is_good_enough(outputs: Any) -> str:
        if outputs["parameters"]["accuracy"] < 0.8:
            raise ValueError("the model is not good enough")
        return outputs["artifacts"]["model"]["uri"]

    is_good_enough(XComArg(train, key="outputs"))
    # [END use_outputs]
