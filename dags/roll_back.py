"""Put an earlier release back, by hand: choose it, prove it beside the live one, give it the traffic.

The same tests as in a release: it only gets the traffic when it answers its golden examples as it did then. If
anything fails, what was live stays live or is put back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from include.models.model_config import read_model_configs
from kubeflow_provider.alerts import Severity
from kubeflow_provider.exceptions import RETRY_POLICY
from kubeflow_provider.failures import remember_failure
from kubeflow_provider.notifications import ReleaseNotifier
from kubeflow_provider.operators.promote import PromoteOperator
from kubeflow_provider.operators.report import ReportOperator
from kubeflow_provider.operators.roll_back import PREVIOUS, ChooseReleaseOperator, RecordRollBackOperator
from kubeflow_provider.operators.serving import DeployCandidateOperator
from kubeflow_provider.operators.smoke_test import SmokeTestOperator
from kubeflow_provider.operators.undo import RollBackOperator

# One model's broken YAML must not keep another model's bad release live.
configs = {config.name: config for config in read_model_configs(leave_out_wrong=True)}
# Empty when `check` refused: what cleans up and reports is rendered all the same.
chosen = "{{ (ti.xcom_pull('check') or {}).get('%s', '') }}"
connections: dict[str, Any] = {
    f"{service}_conn_id": f"{{{{ config(params).connection('{service}') }}}}" for service in ("serving", "registry")
}
serving = {"serving_conn_id": connections["serving_conn_id"]}
store = {"store_conn_id": "{{ config(params).store_conn_id or '' }}"}
this = {"model": "{{ params.model }}", "version": chosen % "version"}
candidate_uri = chosen % "candidate_uri"

with DAG(
    dag_id="roll_back",
    dag_display_name="Roll back",
    description="Put an earlier release of a model back.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={
        "model": Param(next(iter(configs), ""), type="string", enum=list(configs) or [""], title="Model"),
        "version": Param(
            PREVIOUS, type="string", pattern=rf"^({PREVIOUS}|[0-9]{{14}})$", title="Version",
            description=f"14 digits, or `{PREVIOUS}` for the release before the live one.",
        ),
        "reason": Param(
            "", type="string", maxLength=500, title="Why", description="Goes to the registry with your name."
        ),
    },
    tags=["release"],
    user_defined_macros={
        "config": lambda params: configs[params["model"]],
        "release_dag_id": lambda params: f"release_{params['model'].replace('-', '_')}",
    },
    default_args={
        "owner": "ml-platform",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": remember_failure,
    },
) as dag:  # fmt: skip
    notifier = ReleaseNotifier(
        **this,
        conn_id={level.value: f"{{{{ config(params).alert_connections['{level.value}'] }}}}" for level in Severity},
        roll_back_task_id="undo",
    )
    check = ChooseReleaseOperator(
        task_id="check",
        model="{{ params.model }}",
        version="{{ params.version }}",
        store_uri="{{ config(params).store_uri }}",
        release_dag_id="{{ release_dag_id(params) }}",
        **connections,
        **store,
    )
    deploy = DeployCandidateOperator(
        task_id="deploy_candidate",
        **this,
        candidate_uri=candidate_uri,
        settings="{{ config(params).serving.model_dump_json() }}",
        **serving,
        **store,
    )
    smoke_test, verify = (
        SmokeTestOperator(
            task_id=task_id,
            **this,
            candidate_uri=candidate_uri,
            through=through,
            max_latency_ms="{{ config(params).smoke_test.max_latency_ms }}",
            probability_tolerance="{{ config(params).smoke_test.probability_tolerance }}",
            **serving,
            **store,
        )
        for task_id, through in (("smoke_test", "candidate"), ("verify", "endpoint"))
    )
    # All at once: whoever rolls back does not want to wait for a watch.
    promote = PromoteOperator(task_id="promote", **this, **serving)
    record = RecordRollBackOperator(
        task_id="record",
        **this,
        rolled_back_version=chosen % "live_version",
        reason="{{ params.reason }}",
        **connections,
    )
    undo = RollBackOperator(
        task_id="undo",
        trigger_rule="one_failed",
        **this,
        previous_version="{{ ti.xcom_pull('deploy_candidate', key='previous_version') or '' }}",
        **connections,
    )
    report = ReportOperator(
        task_id="report",
        trigger_rule="all_done",
        retries=0,
        model="{{ params.model }}",
        version="{{ (ti.xcom_pull('check') or {}).get('version', params.version) }}",
        candidate_uri=candidate_uri,
        action="Roll back to",
        roll_back_task_id="undo",
        **connections,
        **store,
        on_failure_callback=notifier,
    )

    check >> deploy >> smoke_test >> promote >> verify >> record
    [deploy, smoke_test, promote, verify, record] >> undo
    [record, undo] >> report
