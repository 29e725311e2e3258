"""What the steps of a release share: said once in a DAG, and meant by each of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from kubeflow_provider import outages
from kubeflow_provider.exceptions import InvalidRequestError, OutageError
from model_releases.operators.base import ReleaseStep
from model_releases.operators.smoke_test import SmokeTestOperator
from tests.connected import connect

SHARED: dict[str, Any] = {
    "model": "reviews",
    "version": "20260101000000",
    "candidate_uri": "file:///store/candidate.json",
    "serving_conn_id": "serving",
    "registry_conn_id": "registry",
    "store_conn_id": "store",
}


def test_what_a_dag_says_once_reaches_a_step_and_a_step_may_go_without() -> None:
    with DAG("releases", default_args=SHARED):
        step = SmokeTestOperator(task_id="smoke_test")
        other = ReleaseStep(task_id="other", registry_conn_id=None)

    assert {name: getattr(step, name) for name in SHARED} == SHARED
    assert other.registry_conn_id is None
    assert other.serving_conn_id == "serving"


@pytest.mark.parametrize("native", [False, True])
def test_a_version_stays_text_where_a_dag_renders_native_objects(native: bool) -> None:
    with DAG(
        "releases", default_args=SHARED | {"version": "{{ 20260101000000 }}"}, render_template_as_native_obj=native
    ):
        step = ReleaseStep(task_id="step")

    step.render_template_fields({})  # type: ignore[typeddict-item]
    assert step.version == "20260101000000"


def test_a_step_leads_to_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, serving=SimpleNamespace(name="KServe"), registry=SimpleNamespace(name="MLflow"))
    step = ReleaseStep(task_id="step", **SHARED)

    assert [service.name for service in (step.serving_service(), step.registry_service())] == ["KServe", "MLflow"]  # type: ignore[attr-defined]


def test_a_step_waits_for_a_service_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Serving:
        answers = iter([OutageError("away", budget_seconds=9)] * 3 + ["live"])

        def get_live(self, model: str) -> str:
            answer = next(self.answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    slept: list[float] = []
    monkeypatch.setattr(outages.time, "sleep", slept.append)
    connect(monkeypatch, serving=Serving())
    assert ReleaseStep(task_id="step", **SHARED).serving_service().get_live("reviews") == "live"
    assert slept == [1, 2, 4]


def test_a_step_that_lacks_what_it_needs_names_it() -> None:
    step = ReleaseStep(task_id="step", model="reviews", version="20260101000000", registry_conn_id=None)
    with pytest.raises(InvalidRequestError, match="Task step needs a registry: give it a `registry_conn_id`"):
        step.registry_service()
    with pytest.raises(InvalidRequestError, match="Task step needs a `candidate_uri`"):
        step.read_candidate()


def test_a_document_of_another_version_is_refused(write_candidate: Callable[..., str]) -> None:
    uri = write_candidate(version="20260202000000")
    step = ReleaseStep(task_id="step", model="reviews", version="20260101000000", candidate_uri=uri)

    with pytest.raises(InvalidRequestError, match=r"speaks of reviews 20260202000000; .* reviews 20260101000000"):
        step.read_candidate()
