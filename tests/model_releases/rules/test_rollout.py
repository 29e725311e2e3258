from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from include.contracts.rollout import RolloutConfig
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import Answer
from model_releases.config import read_section
from model_releases.exceptions import CheckFailedError
from model_releases.kinds.text_classifier import Texts
from model_releases.rules.rollout import Watch, label_shift

NEW, LIVE = "20260102000000", "20260101000000"
TEXTS = [f"a private text about {'good' if number % 2 else 'bad'} things, {number}" for number in range(40)]


class Traffic:
    """A serving system that gives the new version every n-th request of users.

    :param label: text -> label that the new version gives; the live one says the word in the text.
    :param fail: number of the new version's answer -> whether it fails.
    """

    def __init__(
        self,
        every: int = 2,
        *,
        label: Callable[[str], str] | None = None,
        fail: Callable[[int], bool] = lambda number: False,
        new_ms: float = 20,
    ) -> None:
        self.asked: list[str | None] = []
        self.now = 0.0
        self._every = every
        self._label = label
        self._fail = fail
        self._new_ms = new_ms
        self._answers = count(1)

    def ask(self, body: bytes, version: str | None) -> Answer:
        self.asked.append(version)
        texts = json.loads(body)["instances"]
        if version is None:
            version = NEW if len(self.asked) % self._every == 0 else LIVE
            if version == NEW and self._fail(next(self._answers)):
                return Answer(status_code=503, body={"error": "no"}, latency_ms=1)
        predictions = [{"label": self._say(text, version), "version": version} for text in texts]
        return Answer(
            status_code=200, body={"predictions": predictions}, latency_ms=self._new_ms if version == NEW else 10
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _say(self, text: str, version: str) -> str:
        word = "good" if "good" in text else "bad"
        return self._label(text) if version == NEW and self._label else word


def watch(traffic: Traffic, **policy: Any) -> Watch:
    return Watch(
        policy=RolloutConfig(**{"watch_seconds": 60, "min_samples": 20, **policy}),
        version=NEW,
        live=LIVE,
        questions=Texts(TEXTS),
        ask=traffic.ask,
        clock=lambda: traffic.now,
    )


def watch_users(watched: Watch, traffic: Traffic, percent: int) -> list[str]:
    for pause in watched.ask_users(percent):
        traffic.sleep(pause)
    return list(watched.judge_users(percent))


@pytest.mark.parametrize(("every", "percent"), [(2, 50), (10, 10), (100, 1)])
def test_a_sound_version_passes_with_enough_answers_at_any_share(every: int, percent: int) -> None:
    traffic = Traffic(every)
    lines = watch_users(watch(traffic), traffic, percent)
    assert [line.split(":")[0] for line in lines] == [f"error rate at {percent} %", f"latency ratio at {percent} %"]
    assert "median 20 ms, live 10 ms" in lines[1]
    assert traffic.now >= 60


def test_too_few_answers_are_a_no_and_not_a_yes() -> None:
    traffic = Traffic(every=10**6)
    with pytest.raises(CheckFailedError, match=r"rollout at 10 %: expected at least 20 answers .* too few to tell"):
        watch_users(watch(traffic), traffic, 10)
    assert 180 <= traffic.now < 200, "it was patient, and not for ever"


def test_failures_count_against_the_new_version() -> None:
    traffic = Traffic(fail=lambda number: number % 10 == 0)
    with pytest.raises(CheckFailedError, match=r"error rate at 50 %: expected at most 0\.01, got 0\.1"):
        watch_users(watch(traffic), traffic, 50)


def test_no_answer_at_all_is_a_failure_too() -> None:
    traffic = Traffic()

    def ask(body: bytes, version: str | None) -> Answer:
        answer = traffic.ask(body, version)
        if len(traffic.asked) % 7 == 0:
            raise ServiceUnavailableError("connection reset")
        return answer

    watched = watch(traffic)
    watched._ask = ask
    with pytest.raises(CheckFailedError, match="error rate"):
        watch_users(watched, traffic, 50)


def test_a_slow_version_is_a_no() -> None:
    traffic = Traffic(new_ms=50)
    with pytest.raises(CheckFailedError, match=r"latency ratio at 50 %: expected at most 2, got 5 \(median 50 ms"):
        watch_users(watch(traffic), traffic, 50)


def test_answers_are_compared_row_by_row() -> None:
    lines = list(watch(Traffic()).compare_answers())
    assert [line.split(":")[:2] for line in lines] == [
        ["disagreement with the live version", " 0, at most 0.3 allowed (40 rows)"],
        ["label shift", " 0, at most 0.2 allowed (40 rows)"],
    ]
    swapped = Traffic(label=lambda text: "bad" if "good" in text else "good")
    with pytest.raises(CheckFailedError, match=r"disagreement with the live version: expected at most 0\.3, got 1"):
        list(watch(swapped).compare_answers())


def test_another_mix_of_labels_is_a_no_even_where_few_rows_differ() -> None:
    with pytest.raises(CheckFailedError, match=r"label shift: expected at most 0\.2, got 0\.5"):
        list(watch(Traffic(label=lambda text: "good"), max_disagreement=0.6).compare_answers())


def test_a_version_that_cannot_answer_the_rows_is_a_no_without_a_text() -> None:
    watched = watch(Traffic())
    watched._ask = lambda body, version: Answer(status_code=500, body=body.decode(), latency_ms=1)
    with pytest.raises(CheckFailedError, match="HTTP 500") as caught:
        list(watched.compare_answers())
    assert "private" not in str(caught.value)


def test_the_label_shift_is_the_total_variation_distance() -> None:
    assert label_shift(["a", "a", "b", "c"], ["a", "b", "b", "b"]) == pytest.approx(0.5)
    assert label_shift(["a"], ["b", "b"]) == 1
    assert label_shift(["a", "b"], ["b", "b", "a", "a"]) == 0


def test_the_policy_is_read_from_the_yaml_section() -> None:
    assert read_section(RolloutConfig, {"steps": [5, 25], "min_samples": "3"}, name="rollout").min_samples == 3
    for settings, message in (
        ({"steps": [50, 10]}, "rollout: steps: they must rise"),
        ({"steps": [0]}, r"rollout\.steps\.0: .*greater than or equal to 1"),
        ({"step": [10]}, r"rollout\.step: "),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            read_section(RolloutConfig, settings, name="rollout")
