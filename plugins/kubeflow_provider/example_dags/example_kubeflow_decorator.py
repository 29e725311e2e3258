"""Run a pipeline with parameters that Python works out, once and for each of several values.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``. The pipeline lies beside this file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

HELLO = str(Path(__file__).with_name("hello.yaml"))

with DAG(
    "example_kubeflow_decorator",
    schedule=None,
    params={"name": Param("world", type="string")},
    tags=["example", "kubeflow"],
):
    # [START decorator]
    @task.kubeflow_pipeline(pipeline_file=HELLO, timeout=timedelta(minutes=30), deferrable=True)
    def greet(name: str, params: Any = None) -> dict[str, Any]:
        return {"name": f"{name} and {params['name']}", "times": len(params["name"])}

    greeted = greet("{{ dag.dag_id }}")
    # [END decorator]

    # [START decorator_mapped]
    @task.kubeflow_pipeline(pipeline_file=HELLO, timeout=timedelta(minutes=30))
    def greet_each(name: str) -> dict[str, Any]:
        return {"name": name}

    greeted >> greet_each.expand(name=["north", "south"])
    # [END decorator_mapped]
