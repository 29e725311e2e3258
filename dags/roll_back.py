"""Put an earlier release back, by hand: choose it, prove it beside the live one, give it the traffic.

The same tests as in a release: it only gets the traffic when it answers its golden examples as it did then. If
anything fails, what was live stays live or is put back.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from model_releases import ids
from model_releases.alerts import Severity
from model_releases.alerts.notifier import ReleaseNotifier
from model_releases.config import read_model_configs
from model_releases.exceptions import RETRY_POLICY
from model_releases.memory.failures import remember_failure
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.put_back import PREVIOUS, ChooseReleaseOperator, RecordRollBackOperator
from model_releases.operators.report import ReportOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from model_releases.operators.undo import RollBackOperator

# One model's broken YAML must not keep another model's bad release live.
configs = {config.name: config for config in read_model_configs(leave_out_wrong=True)}
# Empty when `check` refused: what cleans up and reports is rendered all the same.
checked = f"(ti.xcom_pull('{ids.CHECK}') or {{}})"
version = f"{{{{ {checked}.get('version', '') }}}}"

with DAG(
    dag_id=ids.ROLL_BACK_DAG,
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
        "release_dag_id": lambda params: ids.release_dag(params["model"]),
    },
    default_args={
        "owner": "ml-platform",
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": remember_failure,
        # Each task takes of these what it has a use for.
        "model": "{{ params.model }}",
        "version": version,
        "candidate_uri": f"{{{{ {checked}.get('candidate_uri', '') }}}}",
        "candidate_sha256": f"{{{{ {checked}.get('candidate_sha256', '') }}}}",
        "serving_conn_id": "{{ config(params).connection('serving') }}",
        "registry_conn_id": "{{ config(params).connection('registry') }}",
        "store_conn_id": "{{ config(params).store_conn_id or '' }}",
    },
) as dag:  # fmt: skip
    notifier = ReleaseNotifier(
        model="{{ params.model }}",
        version=version,
        conn_id={level.value: f"{{{{ config(params).alert_connections['{level.value}'] }}}}" for level in Severity},
        roll_back_task_id=ids.UNDO,
    )
    check = ChooseReleaseOperator(
        task_id=ids.CHECK,
        version="{{ params.version }}",
        candidate_sha256=None,  # it is what finds it out
        store_uri="{{ config(params).store_uri }}",
        release_dag_id="{{ release_dag_id(params) }}",
    )
    deploy = DeployCandidateOperator(
        task_id=ids.DEPLOY_CANDIDATE,
        settings="{{ config(params).serving.model_dump_json() }}",
        registry_conn_id=None,  # the record stays what it is until users have the version
    )
    smoke_test, verify = (
        SmokeTestOperator(
            task_id=task_id,
            through=through,
            max_latency_ms="{{ config(params).smoke_test.max_latency_ms }}",
            probability_tolerance="{{ config(params).smoke_test.probability_tolerance }}",
        )
        for task_id, through in ((ids.SMOKE_TEST, "candidate"), (ids.VERIFY, "endpoint"))
    )
    # All at once: whoever rolls back does not want to wait for a watch.
    promote = PromoteOperator(task_id=ids.PROMOTE)
    record = RecordRollBackOperator(
        task_id="record",
        rolled_back_version=f"{{{{ {checked}.get('live_version', '') }}}}",
        reason="{{ params.reason }}",
    )
    undo = RollBackOperator(
        task_id=ids.UNDO,
        trigger_rule="one_failed",
    )
    report = ReportOperator(
        task_id=ids.REPORT,
        trigger_rule="all_done",
        retries=0,
        version=f"{{{{ {checked}.get('version', params.version) }}}}",
        action="Roll back to",
        roll_back_task_id=ids.UNDO,
        on_failure_callback=notifier,
    )

    check >> deploy >> smoke_test >> promote >> verify >> record
    [deploy, smoke_test, promote, verify, record] >> undo
    [record, undo] >> report
