"""What DAGs that release and DAGs that take over have in common: the tasks from the approval to the report."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from airflow.sdk import DAG, Asset, BaseOperator

from model_releases import ids
from model_releases.alerts.notifier import ReleaseNotifier
from model_releases.config import ModelConfig
from model_releases.exceptions import RETRY_POLICY
from model_releases.memory import xcoms
from model_releases.memory.failures import remember_failure
from model_releases.operators.approval import ReleaseApprovalOperator
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.pre_execute.sealed import RefuseSealed
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.registry import RegisterOperator, ReleaseOperator
from model_releases.operators.report import ReportOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from model_releases.operators.undo import RollBackOperator


def default_arguments(config: ModelConfig, *, version: str) -> dict[str, Any]:
    """Return the ``default_args`` of a DAG that brings versions of a model to its users.

    :param version: template of the version.
    """
    judged = f"(ti.xcom_pull('{ids.GATE}', key='{xcoms.JUDGED}') or {{}})"
    connections = {f"{name}_conn_id": config.connection(name) for name in ("pipelines", "serving", "registry")}
    return {
        "owner": config.owner,
        "retries": 2,
        "retry_delay": timedelta(seconds=30),
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": remember_failure,
        # Each task takes of these what it has a use for.
        "model": config.name,
        "version": version,
        "candidate_uri": f"{config.store_uri}/{version}/candidate.json",
        "candidate_sha256": f"{{{{ {judged}.get('candidate_sha256', '') }}}}",
        "store_conn_id": config.store_conn_id,
        "pre_execute": RefuseSealed(
            model=config.name, version=version, registry_conn_id=connections["registry_conn_id"]
        ),
        **connections,
        **config.tasks.arguments,
    }


def notifier_of(config: ModelConfig, *, version: str) -> ReleaseNotifier:
    """Return who is told how it ended.

    :param version: template of the version, whatever became of the first task.
    """
    return ReleaseNotifier(
        model=config.name,
        version=version,
        conn_id=config.alert_connections,
        tells_success=config.alerts.tell_success,
    )


def add_deployment(
    dag: DAG,
    config: ModelConfig,
    *,
    after: BaseOperator,
    known_version: str,
    requires_approval: bool | str,
    taken_over: bool = False,
    **report: Any,
) -> None:
    """Add the tasks to a DAG with :func:`default_arguments`, whose ``check`` says which version is live.

    :param after: the gate.
    :param known_version: template of the version, whatever became of the first task.
    :param requires_approval: whether a person is asked: a bool, or a template that renders to one.
    :param taken_over: whether the version was judged in another installation.
    :param report: further arguments of the report.
    """
    notifier = notifier_of(config, version=known_version)
    compared_with = f"{{{{ (ti.xcom_pull('{ids.CHECK}') or {{}}).get('live_version', '') }}}}"
    approve = ReleaseApprovalOperator(
        task_id="approve",
        required=requires_approval,
        response_timeout=timedelta(hours=config.approval.timeout_hours),
        approvers=config.approval.approvers,
        show_texts=config.approval.show_texts,
        alert_conn_id=config.alert_connections["quiet"],
    )
    register = RegisterOperator(task_id="register")

    # From here on something is deployed: whatever fails is rolled back.
    deploy_candidate = DeployCandidateOperator(
        task_id=ids.DEPLOY_CANDIDATE,
        settings=config.serving_settings,
        compared_with=compared_with,
        taken_over=taken_over,
    )
    ways: dict[str, Literal["candidate", "endpoint"]] = {ids.SMOKE_TEST: "candidate", ids.VERIFY: "endpoint"}
    limits: Any = config.smoke_test_limits
    smoke_test, verify = (
        SmokeTestOperator(
            task_id=task_id,
            through=through,
            **limits,
        )
        for task_id, through in ways.items()
    )
    promote = PromoteOperator(
        task_id=ids.PROMOTE,
        rollout=config.rollout.model_dump(),
        beside_live=config.beside_live,
        compared_with=compared_with,
        taken_over=taken_over,
    )
    release = ReleaseOperator(
        task_id=ids.RELEASE,
        pre_execute=None,  # a retry finds its own version to be live
        keep_versions=config.keep_versions,
        outlets=[Asset(name=f"{config.name} live", uri=f"x-model://{config.name}/live")],
    )
    # Both run whatever became of the others, and read nothing that they could be refused for.
    anyway: dict[str, Any] = {"version": known_version, "candidate_sha256": None, "pre_execute": None}
    roll_back = RollBackOperator(
        task_id=ids.ROLL_BACK,
        **anyway,
        candidate_uri=None,
        proof_request=config.example.decode(),
        trigger_rule="one_failed",
    )
    report_task = ReportOperator(
        task_id=ids.REPORT,
        **anyway,
        candidate_uri=f"{config.store_uri}/{known_version}/candidate.json",
        trigger_rule="all_done",
        retries=0,
        on_failure_callback=notifier,
        on_success_callback=notifier,  # of a candidate that was rejected, for example
        **report,
    )

    after >> approve >> register >> deploy_candidate >> smoke_test >> promote >> verify >> release
    [dag.get_task(step) for step in ids.DEPLOYMENT] >> roll_back
    [release, roll_back] >> report_task
