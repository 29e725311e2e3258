"""Send one alert of each severity to whoever a model's alerts go to, to see whether they arrive."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from model_releases.alerts import Severity
from model_releases.config import read_model_configs
from model_releases.operators.watch import TestAlertsOperator

configs = {config.name: config for config in read_model_configs(leave_out_wrong=True)}

with DAG(
    dag_id="test_alerts",
    dag_display_name="Test the alerts",
    description="Send one alert of each severity.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params={"model": Param(next(iter(configs), ""), type="string", enum=list(configs) or [""], title="Model")},
    tags=["release"],
    user_defined_macros={"config": lambda params: configs[params["model"]]},
    default_args={"owner": "ml-platform", "retries": 0},
) as dag:
    TestAlertsOperator(
        task_id="send",
        model="{{ params.model }}",
        alert_conn_ids={
            severity.value: f"{{{{ config(params).alert_connections['{severity.value}'] }}}}" for severity in Severity
        },
    )
