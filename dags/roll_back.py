"""Put an earlier release back, by hand: choose it, prove it beside the live one, give it the traffic.

The same tests as in a release: it only gets the traffic when it answers its golden examples as it did then. If
anything fails, what was live stays live or is put back. One DAG for every file in ``include/models``: whoever may start
it takes back this model, and no other.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from model_releases import ids
from model_releases.alerts.notifier import ReleaseNotifier
from model_releases.config import ModelConfig, read_configs_to_build
from model_releases.exceptions import RETRY_POLICY
from model_releases.memory.failures import remember_failure
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.put_back import PREVIOUS, ChooseReleaseOperator, RecordRollBackOperator
from model_releases.operators.report import ReportOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from model_releases.operators.undo import RollBackOperator

# Empty when `check` refused: what cleans up and reports is rendered all the same.
CHECKED = f"(ti.xcom_pull('{ids.CHECK}') or {{}})"
VERSION = f"{{{{ {CHECKED}.get('version', '') }}}}"


def roll_back_dag(config: ModelConfig) -> DAG:
    """Build the DAG of one model."""
    with DAG(
        dag_id=ids.roll_back_dag(config.name),
        dag_display_name=f"Roll back {config.name}",
        description=f"Put an earlier release of {config.name} back.",
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        # Whoever needs it has no time to look for a switch.
        is_paused_upon_creation=False,
        params={
            # Nobody can ask this DAG for another model.
            "model": Param(config.name, type="string", enum=[config.name], title="Model"),
            "version": Param(
                PREVIOUS, type="string", pattern=rf"^({PREVIOUS}|[0-9]{{14}})$", title="Version",
                description=f"14 digits, or `{PREVIOUS}` for the release before the live one.",
            ),
            "reason": Param(
                "", type="string", maxLength=500, title="Why", description="Goes to the registry with your name."
            ),
        },
        tags=["release", *config.tags],
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=30),
            "retry_policy": RETRY_POLICY,
            "on_failure_callback": remember_failure,
            # Each task takes of these what it has a use for.
            "model": config.name,
            "version": VERSION,
            "candidate_uri": f"{{{{ {CHECKED}.get('candidate_uri', '') }}}}",
            "candidate_sha256": f"{{{{ {CHECKED}.get('candidate_sha256', '') }}}}",
            "serving_conn_id": config.connection("serving"),
            "registry_conn_id": config.connection("registry"),
            "store_conn_id": config.store_conn_id,
        },
    ) as dag:  # fmt: skip
        notifier = ReleaseNotifier(
            model=config.name, version=VERSION, conn_id=config.alert_connections, roll_back_task_id=ids.UNDO
        )
        check = ChooseReleaseOperator(
            task_id=ids.CHECK,
            version="{{ params.version }}",
            candidate_sha256=None,  # it is what finds it out
            store_uri=config.store_uri,
            release_dag_id=config.release_dag_id,
        )
        deploy = DeployCandidateOperator(
            task_id=ids.DEPLOY_CANDIDATE,
            settings=config.serving_settings,
            registry_conn_id=None,  # the record stays what it is until users have the version
        )
        limits = config.smoke_test_limits
        smoke_test, verify = (
            SmokeTestOperator(
                task_id=task_id,
                through=through,
                **limits,
            )
            for task_id, through in ((ids.SMOKE_TEST, "candidate"), (ids.VERIFY, "endpoint"))
        )
        # All at once: whoever rolls back does not want to wait for a watch.
        promote = PromoteOperator(task_id=ids.PROMOTE)
        record = RecordRollBackOperator(
            task_id="record",
            rolled_back_version=f"{{{{ {CHECKED}.get('live_version', '') }}}}",
            reason="{{ params.reason }}",
        )
        undo = RollBackOperator(
            task_id=ids.UNDO,
            proof_request=config.example.decode(),
            trigger_rule="one_failed",
        )
        report = ReportOperator(
            task_id=ids.REPORT,
            trigger_rule="all_done",
            retries=0,
            version=f"{{{{ {CHECKED}.get('version', params.version) }}}}",
            action="Roll back to",
            roll_back_task_id=ids.UNDO,
            on_failure_callback=notifier,
        )

        check >> deploy >> smoke_test >> promote >> verify >> record
        [deploy, smoke_test, promote, verify, record] >> undo
        [record, undo] >> report
    return dag


# What is wrong in a YAML is said once, by release_models.py; it must not keep another model's bad release live.
for model in read_configs_to_build(ids.roll_back_dag, leave_out_wrong=True):
    roll_back = roll_back_dag(model)
    globals()[roll_back.dag_id] = roll_back
