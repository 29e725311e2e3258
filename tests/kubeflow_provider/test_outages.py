"""How long a service is waited for that is away, on a clock that only moves in the pauses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from kubeflow_provider import outages
from kubeflow_provider.exceptions import OutageError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.outages import Outage, patient, patiently, wait_out

AWAY = OutageError("away", budget_seconds=100)
REFUSED = OutageError("away", budget_seconds=100, refusal=PermissionDeniedError("no", http_status=401), http_status=401)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(outages.time, "sleep", slept.append)
    monkeypatch.setattr(outages, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(outages, "LONGEST_PAUSE_SECONDS", 30.0)
    monkeypatch.setattr(Outage.__init__, "__defaults__", (lambda: sum(slept),))
    return slept


def service(*answers: Any) -> Callable[..., Any]:
    left = list(answers)

    def call() -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_pauses_grow_until_there_is_an_answer(slept: list[float]) -> None:
    assert wait_out(service(*[AWAY] * 7, "answer")) == "answer"
    assert slept == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("error", "ends_as"), [(AWAY, ServiceUnavailableError), (REFUSED, PermissionDeniedError)])
def test_the_last_question_is_at_the_end_of_the_budget(
    slept: list[float], error: OutageError, ends_as: type[Exception]
) -> None:
    with pytest.raises(ends_as, match="waited for 100 s"):
        wait_out(service(error))
    assert sum(slept) == 100


def test_any_other_error_is_none_of_its_business(slept: list[float]) -> None:
    with pytest.raises(ServiceUnavailableError, match="busy"):
        wait_out(service(AWAY, ServiceUnavailableError("busy")))
    assert slept == [1]


def test_the_budget_is_of_one_outage_and_begins_anew_after_an_answer(slept: list[float]) -> None:
    outage = Outage()
    for answers in ([AWAY] * 6 + ["one"], [AWAY] * 6 + ["two"]):
        slept.extend(patiently(service(*answers), outage))
    assert outage.waited_seconds == sum(slept) == 2 * 61


def test_a_patient_service_is_the_service_itself_but_for_its_patience(slept: list[float]) -> None:
    class Service:
        works_in_background = True
        answers = iter([AWAY, "live"])

        def get_live(self, model: str) -> str:
            answer = next(self.answers)
            if isinstance(answer, Exception):
                raise answer
            return f"{model} {answer}"

    made = patient(Service())
    assert (made.works_in_background, made.get_live("reviews"), slept) == (True, "reviews live", [1])
    assert not hasattr(made, "restore_live")


def test_an_outage_can_be_pickled() -> None:
    copied = pickle.loads(pickle.dumps(REFUSED))
    assert (copied.budget_seconds, copied.http_status, str(copied.refusal)) == (100, 401, "no")
