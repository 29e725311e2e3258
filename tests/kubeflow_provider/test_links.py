from __future__ import annotations

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey

from kubeflow_provider import links
from kubeflow_provider.links import PipelineRunLink


@pytest.mark.parametrize(("stored", "expected"), [("https://kfp/run/1", "https://kfp/run/1"), (None, "")])
def test_leads_to_the_address_that_the_task_left(
    monkeypatch: pytest.MonkeyPatch, stored: str | None, expected: str
) -> None:
    ti_key = TaskInstanceKey("dag", "task", "run")

    def get_value(*, ti_key: TaskInstanceKey, key: str) -> str | None:
        return stored if (ti_key.task_id, key) == ("task", "run_url") else "another"

    monkeypatch.setattr(links.XCom, "get_value", get_value)

    assert PipelineRunLink().get_link(None, ti_key=ti_key) == expected  # type: ignore[arg-type]
