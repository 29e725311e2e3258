"""What Katib says of Experiments and Trials, table by table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from include.classifier.search.katib.outcomes import TRIAL, ended_experiment, ended_trial, state_of, value_of
from include.classifier.search.trials import EndedTrial
from include.contracts.search.settings import Values

SPACE = {"learning_rate": Values(low=1e-4, high=1e-2, log=True), "batch_size": Values(choices=[8, 16])}
ASSIGNED = [{"name": "learning_rate", "value": "0.001"}, {"name": "batch_size", "value": "8"}]


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def trial(*conditions: dict[str, str], latest: str | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": list(conditions), "startTime": "2026-11-30T09:00:00Z"}
    status["completionTime"] = "2026-11-30T09:01:30Z"
    if latest is not None:
        status["observation"] = {"metrics": [{"name": "macro_f1", "min": "0.1", "max": "0.9", "latest": latest}]}
    return {"metadata": {"name": "t"}, "spec": {"parameterAssignments": ASSIGNED}, "status": status}


RUNNING, WAS_RUNNING, CREATED = condition("Running"), condition("Running", "False"), condition("Created")


@pytest.mark.parametrize(
    ("conditions", "state", "reason"),
    [
        ((), None, ""),
        ((CREATED,), None, ""),
        ((CREATED, RUNNING), None, ""),
        ((CREATED, WAS_RUNNING, condition("Succeeded", reason="TrialSucceeded")), "finished", ""),
        ((WAS_RUNNING, condition("Failed", reason="TrialFailed", message="Trial has failed")), "failed",
         "TrialFailed: Trial has failed"),
        ((WAS_RUNNING, condition("Killed", reason="TrialKilled")), "failed", "TrialKilled"),
        ((WAS_RUNNING, condition("EarlyStopped", message="early")), "pruned", "worse than others, says Katib (early)"),
        ((WAS_RUNNING, condition("MetricsUnavailable")), "failed", "Katib collected no metric"),
        ((RUNNING, condition("Succeeded", "False", "MetricsUnavailable")), "failed", "Katib collected no metric"),
        ((RUNNING, condition("Succeeded", "Unknown")), None, ""),
    ],
)  # fmt: skip
def test_a_trial_has_the_state_that_its_conditions_say(conditions: Any, state: str | None, reason: str) -> None:
    found, why = state_of(trial(*conditions))

    assert found == state
    assert reason in why
    assert bool(why) == (state in ("failed", "pruned"))


@pytest.mark.parametrize(
    ("conditions", "ended_by"),
    [
        ((), ""),
        ((CREATED,), ""),
        ((CREATED, RUNNING), ""),
        ((condition("Restarting"), RUNNING), ""),
        ((WAS_RUNNING, condition("Succeeded", reason="ExperimentMaxTrialsReached")), "trials"),
        ((WAS_RUNNING, condition("Succeeded", reason="ExperimentSuggestionEndReached")), "space"),
        ((WAS_RUNNING, condition("Failed", reason="ExperimentFailed", message="max failed count")), "failed"),
    ],
)
def test_an_experiment_is_over_when_its_conditions_say_so(conditions: Any, ended_by: str) -> None:
    assert ended_experiment(trial(*conditions))[0] == ended_by


@pytest.mark.parametrize(("latest", "value"), [("0.93", 0.93), ("unavailable", None), ("", None), (None, None)])
def test_the_latest_value_is_what_a_trial_is_worth(latest: str | None, value: float | None) -> None:
    assert value_of(trial(latest=latest), "macro_f1") == value
    assert value_of(trial(latest=latest), "log_loss") is None


def ended(found: dict[str, Any], told: EndedTrial | None = None, *, is_late: bool = False) -> EndedTrial | None:
    return ended_trial(found, 3, metric="macro_f1", space=SPACE, told=told, is_late=is_late)


TOLD = EndedTrial(0, "finished", {}, value=0.93, epochs=2, course=(0.9, 0.93), predicted=np.array([0, 1]))


def test_a_finished_trial_has_katibs_value_and_its_own_answers() -> None:
    found = ended(trial(condition("Succeeded"), latest="0.93"), TOLD)

    assert found is not None
    assert (found.number, found.state, found.value, found.epochs, found.seconds) == (3, "finished", 0.93, 2, 90)
    assert found.settings == {"learning_rate": 0.001, "batch_size": 8}
    assert found.predicted is not None
    assert found.memory == {TRIAL: "t"}


def test_answers_that_belong_to_another_value_are_no_comparison() -> None:
    found = ended(trial(condition("Succeeded"), latest="0.5"), TOLD)

    assert found is not None
    assert (found.value, found.predicted) == (0.5, None)


def test_a_failure_has_the_reason_that_the_trial_gave() -> None:
    told = EndedTrial(0, "failed", {}, reason="The loss became nan", is_hopeless=True)
    found = ended(trial(condition("Failed", message="Trial has failed")), told)

    assert found is not None
    assert (found.state, found.reason, found.is_hopeless) == ("failed", "The loss became nan", True)


def test_what_is_under_way_ends_when_the_time_is_up() -> None:
    assert ended(trial(RUNNING)) is None
    found = ended(trial(RUNNING), is_late=True)
    assert found is not None
    assert (found.state, found.reason, found.value) == ("pruned", "the time of the search was up", None)


def test_a_trial_that_told_what_katib_never_collected_says_what_is_wrong_with_the_namespace() -> None:
    found = ended(trial(RUNNING), TOLD, is_late=True)

    assert found is not None
    assert found.state == "failed"
    assert "metrics-collector-injection" in found.reason


def test_success_without_a_value_is_none() -> None:
    found = ended(trial(condition("Succeeded")))

    assert found is not None
    assert (found.state, "no metric" in found.reason) == ("failed", True)


def test_settings_that_cannot_be_read_are_a_failure() -> None:
    broken = trial(condition("Succeeded"), latest="0.9")
    broken["spec"]["parameterAssignments"] = ASSIGNED[:1]
    found = ended(broken)

    assert found is not None
    assert (found.state, found.settings) == ("failed", {})
    assert "batch_size" in found.reason
