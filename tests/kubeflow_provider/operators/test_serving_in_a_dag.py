"""The steps around serving in a real DAG run: templates, XComs, the task's store and the reason of a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from model_releases.memory.failures import remember_failure
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from model_releases.operators.undo import RollBackOperator
from tests.serving_support import MODEL, build_version, candidate_uri, connection_json, torchserve

# A release and a broken one: test_broken_candidates.py tells it without Airflow.
pytestmark = [pytest.mark.torchserve, pytest.mark.airflow, pytest.mark.long]

FIRST, SECOND = "20260101000000", "20260102000000"


@pytest.fixture(params=[False, True], ids=["text", "native objects"])
def native(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def server(pipelines_python: str, tmp_path: Path) -> Iterator[SimpleNamespace]:
    with torchserve(pipelines_python, tmp_path) as running:
        yield running


def release_dag(uri: str, version: str, settings: dict[str, Any], native: bool) -> DAG:
    defaults: dict[str, Any] = {
        "on_failure_callback": remember_failure,
        "model": MODEL,
        "version": version,
        "candidate_uri": uri,
        "serving_conn_id": "serving_test",
        "registry_conn_id": None,
        "max_latency_ms": 10_000,
    }
    with DAG(f"release_{version}", default_args=defaults, render_template_as_native_obj=native) as dag:
        deploy = DeployCandidateOperator(task_id="deploy_candidate", settings=settings, deferrable=True)
        test = SmokeTestOperator(task_id="smoke_test")
        promote = PromoteOperator(task_id="promote")
        verify = SmokeTestOperator(task_id="verify", through="endpoint")
        roll_back = RollBackOperator(
            task_id="roll_back",
            previous_version="{{ ti.xcom_pull(task_ids='deploy_candidate', key='previous_version') }}",
            trigger_rule="one_failed",
        )
        deploy >> test >> promote >> verify
        [deploy, test, promote, verify] >> roll_back
    return dag


def test_a_release_and_then_a_broken_one(
    server: SimpleNamespace,
    native: bool,
    monkeypatch: pytest.MonkeyPatch,
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SERVING_TEST", connection_json(server.connection))
    sound = build_version(server.store, FIRST)
    run = run_dag(release_dag(candidate_uri(sound), FIRST, dict(sound.settings), native))
    assert run.state == "success"
    assert xcom(run, "deploy_candidate", "previous_version") == ""
    assert xcom(run, "promote") == server.hook.endpoint_url(MODEL)
    # What the button in the UI reads.
    assert xcom(run, "deploy_candidate", "_link_EndpointLink") == server.hook.endpoint_url(MODEL)

    broken = build_version(server.store, SECOND, behaviour="labels permuted")
    run = run_dag(release_dag(candidate_uri(broken), SECOND, dict(broken.settings), native))
    states = {ti.task_id: ti.state for ti in run.get_task_instances()}
    assert states["smoke_test"] == "failed"
    assert states["promote"] == states["verify"] == "upstream_failed"
    assert states["roll_back"] == "success"
    # Read like this, without the task's own interface, text made of digits comes back as a number.
    assert str(xcom(run, "deploy_candidate", "previous_version")) == FIRST
    assert str(xcom(run, "roll_back")) == FIRST
    assert server.hook.get_live(MODEL).version == FIRST
    assert server.hook.get_deployment(MODEL, SECOND) is None
