"""What the gate does to the rest of a DAG run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.operators.gate import GateOperator
from kubeflow_provider.states import ReleaseState

MODEL, VERSION = "reviews", "20260102000000"


def gate(uri: str, **policy: Any) -> GateOperator:
    return GateOperator(task_id="gate", model=MODEL, version=VERSION, candidate_uri=uri, policy=policy)


def dag_with(uri: str, dag_id: str) -> DAG:
    with DAG(dag_id, schedule=None, params={"min_macro_f1": 0.9}) as dag:
        decide = gate(uri, min_macro_f1="{{ params.min_macro_f1 }}", must_beat_baseline="{{ 1 == 2 }}")
        deploy = EmptyOperator(task_id="deploy")
        roll_back = EmptyOperator(task_id="roll_back", trigger_rule="one_failed")
        report = EmptyOperator(task_id="report", trigger_rule="all_done")
        decide >> EmptyOperator(task_id="approve") >> deploy >> [roll_back, report]
        [decide, roll_back] >> report
    return dag


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: ti.state for ti in run.get_task_instances()}


@pytest.mark.airflow
def test_a_good_candidate_passes(
    registry: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any], xcom: Callable[..., Any]
) -> None:
    run = run_dag(dag_with(write_candidate(0.93), "gate_accepts"))
    assert run.state == "success"
    assert states(run) == {
        "gate": "success",
        "approve": "success",
        "deploy": "success",
        "roll_back": "skipped",
        "report": "success",
    }
    assert xcom(run, "gate", "decision") == "accepted: macro F1 0.9300, first release, baseline 0.5000"
    assert registry.get_release(MODEL, VERSION) is None


@pytest.mark.airflow
def test_a_rejected_candidate_skips_everything_but_the_report(
    registry: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any], xcom: Callable[..., Any]
) -> None:
    run = run_dag(dag_with(write_candidate(0.87, live=0.88), "gate_rejects"))
    assert run.state == "success"
    assert states(run) == {
        "gate": "success",
        "approve": "skipped",
        "deploy": "skipped",
        "roll_back": "skipped",
        "report": "success",
    }
    line = "rejected: macro F1 0.8700, at least 0.9000 is needed"
    assert xcom(run, "gate", "decision") == line
    entry = registry.get_release(MODEL, VERSION)
    assert (entry.state, entry.reason) == (ReleaseState.REJECTED, line)
    assert entry.facts["dag_run_id"] == run.run_id
    assert entry.facts["metric.candidate.macro_f1"] == "0.87"


@pytest.mark.airflow
def test_the_form_decides_what_is_good_enough(
    registry: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any]
) -> None:
    run = run_dag(dag_with(write_candidate(0.87), "gate_form"), min_macro_f1=0.8)
    assert states(run)["deploy"] == "success"


def test_a_policy_without_meaning_is_an_error_and_not_a_decision(write_candidate: Callable[..., str]) -> None:
    with pytest.raises(InvalidRequestError, match="min_macro_f1"):
        gate(write_candidate(), min_macro_f1="{{ params.oops }}").execute({})
