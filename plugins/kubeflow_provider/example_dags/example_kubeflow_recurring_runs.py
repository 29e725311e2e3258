"""Have Kubeflow run a pipeline by a schedule of its own, pause that, resume it, and take it away.

It needs a connection ``kubeflow_pipelines_default`` of type ``kubeflow_pipelines``. The pipeline lies beside this file.
"""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from kubeflow_provider.operators.recurring_runs import (
    CreateRecurringRunOperator,
    DeleteRecurringRunOperator,
    PauseRecurringRunOperator,
    ResumeRecurringRunOperator,
)

with DAG("example_kubeflow_recurring_runs", schedule=None, tags=["example", "kubeflow"]):
    # [START create]
    create = CreateRecurringRunOperator(
        task_id="create",
        display_name="hello every Monday",
        experiment="examples",
        pipeline_file=str(Path(__file__).with_name("hello.yaml")),
        parameters={"name": "Monday"},
        cron="0 3 * * 1",
        replace=True,
    )
    # [END create]
    # [START pause]
    pause = PauseRecurringRunOperator(task_id="pause", recurring_run="hello every Monday", experiment="examples")
    # [END pause]
    # [START resume]
    resume = ResumeRecurringRunOperator(task_id="resume", recurring_run="{{ ti.xcom_pull('create') }}")
    # [END resume]
    # [START delete]
    delete = DeleteRecurringRunOperator(task_id="delete", recurring_run="hello every Monday", experiment="examples")
    # [END delete]

    create >> pause >> resume >> delete
