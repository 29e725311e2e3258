"""Whoever ends a promotion or a deployment for good leaves no candidate and no half-shifted traffic behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers import _cancelling
from kubeflow_provider.triggers.deployments import DeploymentTrigger
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.triggers.promotion import PromotionTrigger
from tests.connected import connect

MODEL, VERSION = "reviews", "20260102000000"
TASK = SimpleNamespace(dag_id="release", task_id="promote", run_id="manual", map_index=-1)

#: What Airflow says of the task -> whether anybody goes on with what it was about.
STATES = {
    "failed": False,
    "skipped": False,
    "removed": False,
    "upstream_failed": False,
    "gone": False,
    None: True,
    "queued": True,
    "running": True,
    "restarting": True,
    "deferred": True,
    "up_for_retry": True,
    "success": True,
}


class Serving:
    """Remembers what was taken back; a promotion takes until ``answers`` is set."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.begun, self.answers = Event(), Event()
        self.answers.set()

    def remove(self, model: str, version: str) -> None:
        assert (model, version) == (MODEL, VERSION)
        self.calls.append("remove")

    def roll_back(self, model: str, *, candidate: str, previous: str | None) -> None:
        assert (model, candidate, previous) == (MODEL, VERSION, None)
        self.calls.append("roll back")

    def get_live(self, model: str) -> None:
        return None

    def promote(self, model: str, version: str) -> Deployment:
        self.begun.set()
        self.answers.wait()
        self.calls.append("promote")
        return Deployment(model=model, version=version, state=DeploymentState.PENDING)


class Airflow:
    """Knows the state of the task; asked for it while it is away, it fails."""

    def __init__(self) -> None:
        self.state: str | None = "deferred"
        self.away = 0

    def get_task_states(self, **ids: Any) -> dict[str, Any]:
        self.away -= 1
        if self.away >= 0:
            raise RuntimeError("the API server is away")
        return {} if self.state == "gone" else {"manual": {"promote": self.state}}


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", airflow.get_task_states)
    return airflow


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Serving:
    serving = Serving()
    connect(monkeypatch, serving_default=serving)
    return serving


def deployment() -> DeploymentTrigger:
    deadline = datetime.now(tz=UTC) + timedelta(hours=1)
    trigger = DeploymentTrigger(model=MODEL, version=VERSION, conn_id="serving_default", deadline=deadline)
    trigger.task_instance = TASK  # type: ignore[assignment]
    return trigger


def promotion() -> PromotionTrigger:
    trigger = PromotionTrigger(
        model=MODEL,
        version=VERSION,
        conn_id="serving_default",
        deadline=datetime.now(tz=UTC) + timedelta(hours=1),
        rollout={},
        timeout_seconds=60,
        candidate_uri=None,
        candidate_sha256=None,
        store_conn_id=None,
    )
    trigger.task_instance = TASK  # type: ignore[assignment]
    return trigger


Made = Callable[[], Any]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("make", "taken_back"), [(deployment, "remove"), (promotion, "roll back")])
async def test_a_trigger_takes_back_what_nobody_goes_on_with(
    airflow: Airflow, serving: Serving, make: Made, taken_back: str, state: str | None
) -> None:
    airflow.state = state
    await make().on_kill()

    assert serving.calls == ([] if STATES[state] else [taken_back])


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("operator", "taken_back"), [(DeployCandidateOperator, "remove"), (PromoteOperator, "roll back")]
)
def test_a_task_takes_back_what_nobody_goes_on_with(
    airflow: Airflow, serving: Serving, operator: Any, taken_back: str, state: str | None
) -> None:
    airflow.state = state
    step = operator(task_id="promote", model=MODEL, version=VERSION)
    step.on_kill()  # before it runs
    step.begin({"ti": TASK})
    step.after_change()
    step.on_kill()

    # The second time because of what may have come late.
    assert serving.calls == ([] if STATES[state] else [taken_back] * 2)


async def test_what_is_under_way_cannot_come_after_its_taking_back(airflow: Airflow, serving: Serving) -> None:
    serving.answers.clear()
    trigger = promotion()
    carried_out = asyncio.create_task(trigger.wait())
    await asyncio.to_thread(serving.begun.wait)
    carried_out.cancel()
    airflow.state = "failed"
    kill = asyncio.create_task(trigger.on_kill())
    while not _cancelling._under_way:
        await asyncio.sleep(0)
    assert serving.calls == []

    serving.answers.set()
    await kill
    assert serving.calls == ["promote", "roll back"]


async def test_an_airflow_that_is_away_is_asked_again(
    airflow: Airflow, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cancelling, "_LONGEST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(_cancelling, "_FIRST_PAUSE_SECONDS", 0)
    airflow.state, airflow.away = "failed", 3
    await deployment().on_kill()

    assert serving.calls == ["remove"]


def test_it_can_be_made_again_from_what_it_serialises() -> None:
    trigger = promotion()
    _, arguments = trigger.serialize()
    assert PromotionTrigger(**arguments).serialize() == trigger.serialize()
