"""Run a module of an image in a pod: what a pipeline would be too much for.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``, for the namespace and the way to
Kubernetes.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from kubeflow_provider.operators.modules import RunModuleOperator

with DAG(
    "example_module",
    schedule=None,
    params={
        "image": Param("python:3.11", type="string"),
        "module": Param("this", type="string", description="As for `python -m`."),
    },
    tags=["example", "kubeflow"],
):
    # [START run]
    RunModuleOperator(
        task_id="run",
        module="{{ params.module }}",
        arguments={"day": "{{ ds }}"},
        cluster={
            "image": "{{ params.image }}",
            "run_as_user": 1000,
            "env": {"LEVEL": "info"},
            "module_pod": {"cpu": "500m", "memory": "1Gi"},
        },
        timeout=timedelta(minutes=30),
        deferrable=True,
    )
    # [END run]
