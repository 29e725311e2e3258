"""The trigger that waits for a candidate."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.module_loading import import_string

from kubeflow_provider.exceptions import ServiceUnavailableError
from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers import deployments as serving
from kubeflow_provider.triggers.deployments import DeploymentTrigger

PENDING = Deployment(model="m", version="1", state=DeploymentState.PENDING, reason="pulling the image")
READY = Deployment(model="m", version="1", state=DeploymentState.READY, url="http://here")
FAILED = Deployment(model="m", version="1", state=DeploymentState.FAILED, reason="out of memory")


class Service:
    """Answers one thing after the other."""

    def __init__(self, *answers: Deployment | Exception | None) -> None:
        self.answers = list(answers)

    async def aget_deployment(self, model: str, version: str) -> Deployment | None:
        assert (model, version) == ("m", "1")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def trigger(**changes: object) -> DeploymentTrigger:
    arguments = {
        "model": "m",
        "version": "1",
        "conn_id": "serving_default",
        "deadline": datetime.now(tz=UTC) + timedelta(minutes=1),
        "poll_interval_seconds": 0.01,
        "max_poll_errors": 2,
    }
    return DeploymentTrigger(**(arguments | changes))  # type: ignore[arg-type]


def wait(monkeypatch: pytest.MonkeyPatch, service: Service, **changes: object) -> dict[str, object]:
    async def connect(conn_id: str) -> Service:
        assert conn_id == "serving_default"
        return service

    monkeypatch.setattr(serving, "aget_serving_service", connect)
    return asyncio.run(trigger(**changes).wait())


def test_it_can_be_made_again_from_what_it_serialises() -> None:
    path, arguments = trigger().serialize()
    assert import_string(path)(**arguments).serialize() == (path, arguments)


def test_it_waits_until_the_version_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(PENDING, ServiceUnavailableError("away for a moment"), READY)
    event = wait(monkeypatch, service)
    assert event == {
        "outcome": "over", "model": "m", "version": "1", "state": "READY", "reason": None, "url": "http://here"
    }  # fmt: skip
    assert service.answers == []


def test_a_failed_version_comes_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    event = wait(monkeypatch, Service(FAILED))
    assert (event["state"], event["reason"]) == ("FAILED", "out of memory")


def test_a_version_that_vanished_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    event = wait(monkeypatch, Service(None))
    assert event["state"] == "FAILED"
    assert "not deployed any more" in str(event["reason"])


def test_it_gives_up_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    event = wait(monkeypatch, Service(PENDING), deadline=datetime.now(tz=UTC) - timedelta(seconds=1))
    assert event["outcome"] == "timeout"
