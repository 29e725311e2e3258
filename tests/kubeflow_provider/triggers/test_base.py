from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider.access import Access
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from kubeflow_provider.triggers import base
from kubeflow_provider.triggers.base import PollingTrigger, WaitOutcome, raise_for_error


class Service:
    """Answers with what it was given, one after the other; an exception is raised."""

    def __init__(self, conn_id: str, *, connection: Connection) -> None:
        self.conn_id = conn_id


class ThingTrigger(PollingTrigger):
    def __init__(self, *, thing: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thing = thing
        self.answers: Iterator[Any] = iter(())
        self.slacks: list[float] = []

    def arguments(self) -> dict[str, Any]:
        return {"thing": self.thing}

    async def connect(self) -> Service:
        return Service(self.conn_id, connection=Connection(conn_id=self.conn_id))

    async def poll(self, service: Any, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        self.slacks.append(slack_seconds)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_pauses", lambda first, longest, waited: repeat(0.0))
    monkeypatch.setattr(PollingTrigger, "first_event_seconds", 0.0)
    monkeypatch.setattr(PollingTrigger, "bad_end_seconds", 0.0)


def make(
    *answers: Any, seconds: float = 60, max_poll_errors: int = 3, poll_interval_seconds: float = 0
) -> ThingTrigger:
    trigger = ThingTrigger(
        thing="t",
        conn_id="c",
        deadline=datetime.now(tz=UTC) + timedelta(seconds=seconds),
        poll_interval_seconds=poll_interval_seconds,
        max_poll_errors=max_poll_errors,
    )
    trigger.answers = iter(answers) if answers else repeat(None)
    return trigger


async def payload(trigger: ThingTrigger) -> dict[str, Any]:
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload


def test_makes_itself_again_from_its_serialized_form() -> None:
    trigger = make()
    path, kwargs = trigger.serialize()

    assert path == f"{__name__}.ThingTrigger"
    assert ThingTrigger(**kwargs).serialize() == trigger.serialize()


async def test_its_event_carries_everything() -> None:
    assert await payload(make(None, None, {"state": "READY"})) == {"outcome": "over", "thing": "t", "state": "READY"}


async def test_ends_at_the_deadline_after_one_last_question() -> None:
    assert (await payload(make(seconds=0.05)))["outcome"] == WaitOutcome.TIMEOUT
    assert (await payload(make({"state": "READY"}, seconds=-5)))["outcome"] == WaitOutcome.OVER


async def test_never_sleeps_past_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_pauses", lambda first, longest, waited: repeat(3600.0))

    assert (await payload(make(seconds=0.05)))["outcome"] == WaitOutcome.TIMEOUT


@pytest.mark.parametrize(("trigger_id", "seconds"), [(7, 10.0), (None, 0.5)], ids=["in a triggerer", "in dags test"])
async def test_the_first_question_waits_for_the_scheduler_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, trigger_id: int | None, seconds: float
) -> None:
    asked_for: list[float] = []

    def pauses(first: float, longest: float, waited: float) -> Iterator[float]:
        asked_for.append(first)
        return repeat(0.0)

    monkeypatch.setattr(base, "_pauses", pauses)
    trigger = make({})
    trigger.trigger_id = trigger_id
    await payload(trigger)

    assert asked_for == [seconds]


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ([{}], 10),
        ([InvalidRequestError("no")], 10),
        ([None] * 12 + [{}], 0),
        ([None] * 12 + [InvalidRequestError("no")], 4),
    ],
    ids=["good and early", "bad and early", "good and late", "bad and late"],
)
async def test_an_event_waits_for_the_scheduler_and_a_bad_one_for_airflow_to_cancel_its_trigger(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], seconds: float
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.undo()
    monkeypatch.setattr(base, "_pauses", lambda first, longest, waited: repeat(1.0))
    monkeypatch.setattr(base.asyncio, "sleep", sleep)
    monkeypatch.setattr(base.time, "monotonic", lambda: sum(slept))
    trigger = make(*answers, seconds=3600)
    trigger.trigger_id = 7
    await payload(trigger)

    pause = seconds if len(answers) > 10 else seconds - len(answers)
    assert slept[len(answers) :] == [pause]


async def test_a_bad_end_of_a_task_that_nobody_waits_for_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for = iter([False, False, True])

    async def is_still_waited_for() -> bool:
        return next(waited_for)

    trigger = make(InvalidRequestError("the run was cancelled"))
    trigger.trigger_id = 7
    trigger.task_instance = SimpleNamespace(task_id="train")
    monkeypatch.setattr(trigger, "is_still_waited_for", is_still_waited_for)
    await payload(trigger)

    assert list(waited_for) == [], "it has waited until somebody does, or until Airflow cancels it"


async def test_bears_errors_that_are_not_consecutive() -> None:
    down = ServiceUnavailableError("down", http_status=503)

    assert (await payload(make(down, down, None, down, down, {})))["outcome"] == WaitOutcome.OVER


async def test_gives_up_after_too_many_errors_in_a_row() -> None:
    event = await payload(make(*[ServiceUnavailableError(f"down {number}") for number in (1, 2, 3)]))

    assert event == {"outcome": "error", "thing": "t", "error": "ServiceUnavailableError", "message": "down 3"}
    with pytest.raises(ServiceUnavailableError, match="down 3"):
        raise_for_error(event)


async def test_an_outage_counts_as_no_failed_question() -> None:
    away = OutageError("away", budget_seconds=900)

    assert (await payload(make(*[away] * 7, {}, max_poll_errors=1)))["outcome"] == WaitOutcome.OVER


@pytest.mark.parametrize("refusal", [None, PermissionDeniedError("who is there?", http_status=401)])
async def test_an_outage_that_outlasts_its_budget_ends_as_what_it_stands_for(refusal: Any) -> None:
    event = await payload(make(*[OutageError("away", budget_seconds=0.03, refusal=refusal)] * 100))

    with pytest.raises(PermissionDeniedError if refusal else ServiceUnavailableError, match="was waited for"):
        raise_for_error(event)


async def test_a_wrong_password_is_told_as_one() -> None:
    with pytest.raises(WrongPasswordError):
        raise_for_error(await payload(make(WrongPasswordError("wrong"))))


async def test_what_was_accepted_goes_with_it_to_the_next_process() -> None:
    trigger = make(None, {})
    access = Access()
    trigger.connect = lambda: asyncio.sleep(0, SimpleNamespace(access=access))  # type: ignore[method-assign]
    await payload(trigger)
    assert not trigger.serialize()[1]["was_accepted"]

    access.accept("GET /runs")
    trigger.answers = iter([{}])
    await payload(trigger)
    _, kwargs = trigger.serialize()
    assert kwargs["was_accepted"]

    again, access = ThingTrigger(**kwargs), Access()
    again.answers = iter([{}])
    again.connect = lambda: asyncio.sleep(0, SimpleNamespace(access=access))  # type: ignore[method-assign]
    await payload(again)
    assert access.was_accepted


async def test_part_of_a_pause_may_be_spent_on_waiting_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(base.asyncio, "sleep", sleep)
    monkeypatch.setattr(base, "_pauses", lambda first, longest, waited: repeat(8.0))
    monkeypatch.setattr(ThingTrigger, "slack_share", 0.25)
    trigger = make(None, None, {}, seconds=3600)
    await payload(trigger)

    assert (slept, trigger.slacks) == ([8, 6, 6], [0, 2, 2])


async def test_waits_longer_and_longer_for_a_service_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(base.asyncio, "sleep", sleep)
    down = ServiceUnavailableError("down")
    answers = [down, down, down, down, None, {}]
    await payload(make(*answers, seconds=3600, max_poll_errors=9, poll_interval_seconds=10))

    assert slept == [0, 2, 4, 8, 10, 0]


@pytest.mark.parametrize("error", [PermissionDeniedError, InvalidRequestError, KubeflowProviderError])
async def test_gives_up_at_once_where_waiting_is_useless(error: type[KubeflowProviderError]) -> None:
    event = await payload(make(error("no")))

    with pytest.raises(error, match="no"):
        raise_for_error(event)


async def test_does_not_hide_a_defect() -> None:
    with pytest.raises(ZeroDivisionError):
        await payload(make(ZeroDivisionError()))


def test_no_error_raises_nothing() -> None:
    raise_for_error({"outcome": "over"})


def test_pauses_follow_the_time_waited_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses = list(islice(base._pauses(5.0, 10), 200))

    assert pauses[0] == 5.0
    assert 0.9 <= pauses[1] <= 1
    waited = 0.0
    for before, pause in pairwise(pauses):
        waited += before
        assert pause <= max(1.0, waited / 20) * 1.3
    assert all(9 <= pause <= 10 for pause in pauses[-20:])
    assert max(islice(base._pauses(0.0, 0.5), 5)) <= 0.5


def test_what_is_old_is_not_asked_for_every_second_by_a_new_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses = list(islice(base._pauses(5.0, 30, waited=3600.0), 5))

    assert pauses[0] == 5.0
    assert all(27 <= pause <= 30 for pause in pauses[1:])
