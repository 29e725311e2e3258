from __future__ import annotations

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.sdk import BaseOperatorLink

from kubeflow_provider import links
from kubeflow_provider.links import EndpointLink, ExperimentLink, PipelineRunLink


@pytest.mark.parametrize(
    ("link", "key"),
    [(PipelineRunLink(), "run_url"), (ExperimentLink(), "experiment_url"), (EndpointLink(), "endpoint")],
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
    assert len({link.name for link in (PipelineRunLink(), ExperimentLink(), EndpointLink())}) == 3
