"""A page waits for nobody, and asks nobody twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kubeflow_provider.exceptions import ServiceUnavailableError
from model_releases.releases_page.reading import Reader


def counting(answer: Any = "here") -> tuple[list[int], Any]:
    calls: list[int] = []

    def ask() -> Any:
        calls.append(1)
        return answer

    return calls, ask


def test_an_answer_is_kept_for_a_while() -> None:
    calls, ask = counting()
    reader = Reader(keep_seconds=1000)
    assert [reader.read("what", ask).value for _ in range(3)] == ["here"] * 3
    assert len(calls) == 1


def test_an_old_answer_is_asked_for_again() -> None:
    calls, ask = counting()
    reader = Reader(keep_seconds=0)
    for _ in range(3):
        reader.read("what", ask)
    assert len(calls) == 3


def test_everything_is_asked_again_after_a_change() -> None:
    calls, ask = counting()
    reader = Reader(keep_seconds=1000)
    reader.read("what", ask)
    reader.forget()
    reader.read("what", ask)
    assert len(calls) == 2


def test_nothing_is_an_answer_too() -> None:
    reading = Reader().read("what", lambda: None)
    assert (reading.value, reading.is_known, reading.problem) == (None, True, "")


def test_who_hangs_is_not_waited_for_nor_asked_again_and_the_others_answer() -> None:
    release, calls = threading.Event(), []

    def hang() -> str:
        calls.append(1)
        release.wait(60)
        return "late"

    reader = Reader(wait_seconds=0.2, keep_seconds=0)
    for _ in range(3):
        found = reader.read_all({"slow": hang, "quick": lambda: "here"})
        assert (found["slow"].is_pending, found["slow"].is_known) == (True, False)
        assert "no answer within 0.2 s" in found["slow"].problem
    assert len(calls) == 1, "one question hangs in one thread"
    release.set()
    assert Reader(wait_seconds=60).read("quick", lambda: "here").value == "here"


def test_what_was_known_stays_with_its_time_when_the_service_goes_away() -> None:
    reader = Reader(keep_seconds=0)
    before = reader.read("what", lambda: "here")

    def gone() -> str:
        raise ServiceUnavailableError("nobody answers at http://registry")

    after = reader.read("what", gone)
    assert (after.value, after.read_at) == ("here", before.read_at)
    assert after.problem == "nobody answers at http://registry"
    assert not after.is_pending


def test_the_message_of_a_strange_error_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise RuntimeError("cannot connect to http://ada:secret@registry")

    reading = Reader().read("what", fail)
    assert not reading.is_known
    assert reading.problem == "RuntimeError; the API server's log says more"


def test_questions_are_forgotten_when_there_are_too_many() -> None:
    calls, ask = counting()
    reader = Reader(keep_seconds=1000, max_entries=2)
    for key in ("one", "two", "three", "one"):
        reader.read(key, ask)
    assert len(calls) == 4
