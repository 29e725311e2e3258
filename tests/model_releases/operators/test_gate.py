"""What the gate does to the rest of a DAG run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.operators.gate import GateOperator
from model_releases.registry.service import Release

MODEL, VERSION, BEFORE = "reviews", "20260102000000", "20260101000000"


def gate(uri: str, *, live_at_start: str = "", **policy: Any) -> GateOperator:
    return GateOperator(
        task_id="gate", model=MODEL, version=VERSION, candidate_uri=uri, policy=policy, live_at_start=live_at_start
    )


def dag_with(uri: str, dag_id: str) -> DAG:
    with DAG(dag_id, schedule=None, params={"min_macro_f1": 0.9, "live_at_start": ""}) as dag:
        decide = gate(
            uri,
            min_macro_f1="{{ params.min_macro_f1 }}",
            must_beat_baseline="{{ 1 == 2 }}",
            live_at_start="{{ params.live_at_start }}",
        )
        deploy = EmptyOperator(task_id="deploy")
        roll_back = EmptyOperator(task_id="roll_back", trigger_rule="one_failed")
        report = EmptyOperator(task_id="report", trigger_rule="all_done")
        decide >> EmptyOperator(task_id="approve") >> deploy >> [roll_back, report]
        [decide, roll_back] >> report
    return dag


@pytest.fixture(autouse=True)
def nothing_live(serving: Any) -> Any:
    """Have a serving system; before a model's first release nothing is live."""
    return serving


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
    assert xcom(run, "gate", "decision") == "accepted: macro F1 0.930, first release, baseline 0.500"
    assert registry.get_release(MODEL, VERSION) is None


@pytest.mark.airflow
def test_a_rejected_candidate_skips_everything_but_the_report(
    registry: Any,
    serving: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    serving.promote(MODEL, BEFORE)
    run = run_dag(dag_with(write_candidate(0.87, live=0.88), "gate_rejects"))
    assert run.state == "success"
    assert states(run) == {
        "gate": "success",
        "approve": "skipped",
        "deploy": "skipped",
        "roll_back": "skipped",
        "report": "success",
    }
    line = "rejected: macro F1 0.870, at least 0.9 is needed"
    assert xcom(run, "gate", "decision") == line
    entry = registry.get_release(MODEL, VERSION)
    assert (entry.state, entry.reason) == (ReleaseState.REJECTED, line)
    assert entry.facts["dag_run_id"] == run.run_id
    assert entry.facts["gate"] == xcom(run, "gate", "gate") == line
    assert entry.facts["metric.candidate.macro_f1"] == "0.87"
    assert json.loads(entry.facts["gate_settings"])["min_macro_f1"] == 0.9


@pytest.mark.airflow
def test_the_form_decides_what_is_good_enough(
    registry: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any]
) -> None:
    run = run_dag(dag_with(write_candidate(0.87), "gate_form"), min_macro_f1=0.8)
    assert states(run)["deploy"] == "success"


@pytest.mark.airflow
def test_a_comparison_with_a_version_that_is_no_longer_live_is_a_no(
    registry: Any,
    serving: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    serving.promote(MODEL, "20251231000000")  # somebody has rolled back in the meantime
    run = run_dag(dag_with(write_candidate(0.93, live=0.92), "gate_stale"))
    assert states(run)["deploy"] == "skipped"
    line = f"rejected: compared with {BEFORE}, but 20251231000000 is live now; start a new release"
    assert xcom(run, "gate", "decision") == registry.get_release(MODEL, VERSION).reason == line


@pytest.mark.airflow
def test_a_candidate_that_cannot_be_compared_may_replace_what_was_live_when_it_began(
    registry: Any, serving: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any]
) -> None:
    serving.promote(MODEL, BEFORE)
    dag = dag_with(write_candidate(0.93), "gate_not_comparable")
    assert states(run_dag(dag, live_at_start=BEFORE))["deploy"] == "success"
    assert states(run_dag(dag, live_at_start=""))["deploy"] == "skipped"


@pytest.mark.airflow
@pytest.mark.parametrize("state", [ReleaseState.RETIRED, ReleaseState.ROLLED_BACK])
def test_the_record_of_an_old_release_whose_gate_was_cleared_keeps_its_state(
    registry: Any, serving: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any], state: ReleaseState
) -> None:
    registry.register(
        Release(model=MODEL, version=VERSION, state=state, archive_uri=f"s3://models/{VERSION}"), metrics={}
    )
    serving.promote(MODEL, "20260103000000")
    run = run_dag(dag_with(write_candidate(0.93, live=0.92), f"gate_cleared_{state.name}"))
    assert states(run)["deploy"] == "skipped"
    entry = registry.get_release(MODEL, VERSION)
    assert entry.state is state
    assert "20260103000000 is live now" in entry.facts["gate"]


def test_a_policy_without_meaning_is_an_error_and_not_a_decision(write_candidate: Callable[..., str]) -> None:
    with pytest.raises(InvalidRequestError, match="min_macro_f1"):
        gate(write_candidate(), min_macro_f1="{{ params.oops }}").execute({})
