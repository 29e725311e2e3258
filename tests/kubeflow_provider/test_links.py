from __future__ import annotations

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.sdk import BaseOperatorLink

from kubeflow_provider import links
from kubeflow_provider.links import ExperimentLink, PipelineRunLink, airflow_url
from model_releases.links import EndpointLink, RegistryLink, ReportLink, report_page_url
from tests.candidates import candidate


@pytest.mark.parametrize(
    ("link", "key"),
    [
        (PipelineRunLink(), "run_url"),
        (ExperimentLink(), "experiment_url"),
        (EndpointLink(), "endpoint"),
        (ReportLink(), "report_url"),
        (RegistryLink(), "registry_url"),
    ],
)
@pytest.mark.parametrize(("stored", "expected"), [("https://kfp/run/1", "https://kfp/run/1"), (None, "")])
def test_leads_to_the_address_that_the_task_left(
    monkeypatch: pytest.MonkeyPatch, link: BaseOperatorLink, key: str, stored: str | None, expected: str
) -> None:
    ti_key = TaskInstanceKey("dag", "task", "run")

    def get_value(*, ti_key: TaskInstanceKey, key: str) -> str | None:
        return stored if (ti_key.task_id, key) == ("task", wanted) else "another"

    wanted = key
    monkeypatch.setattr(links.XCom, "get_value", get_value)

    assert link.get_link(None, ti_key=ti_key) == expected  # type: ignore[arg-type]


def test_the_buttons_have_names_of_their_own() -> None:
    links_of_a_release = (PipelineRunLink(), ExperimentLink(), EndpointLink(), ReportLink(), RegistryLink())
    assert len({link.name for link in links_of_a_release}) == 5


@pytest.mark.parametrize("base", ["https://data.example/airflow", "https://data.example/airflow/"])
def test_addresses_lie_below_the_path_of_the_base_url(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    page = "https://data.example/airflow/releases/models/reviews/versions/20260102000000/report"
    assert report_page_url(candidate(report_uri="s3://models/report.html")) == page
    assert report_page_url(candidate(report_uri="")) is None
    assert airflow_url("dags", "d", "runs", "manual__2026-01-02T03:04:05+00:00") == (
        "https://data.example/airflow/dags/d/runs/manual__2026-01-02T03:04:05+00:00"
    )
    assert airflow_url("dags", "a b/c?") == "https://data.example/airflow/dags/a%20b%2Fc%3F"


def test_without_a_base_url_addresses_are_this_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    monkeypatch.setenv("AIRFLOW__API__PORT", "9999")
    assert airflow_url("dags") == "http://localhost:9999/dags"
