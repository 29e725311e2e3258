"""Writers that nothing keeps from one another, on machines of their own, lose no mark without being told.

Time is made up, and chance decides who comes when. What holds is what the module says of itself: from reading a thing
to writing it nobody takes longer than a writer is quiet at its end.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import pytest

from include.contracts.model_registry import releases, settling
from include.contracts.model_registry.calls import Call, MarkLostError, Pause, Story, tell
from include.contracts.registry_tags import FACT_TAG_PREFIX, ReleaseState, state_time_tag
from tests.quick_model_registry import QuickModelRegistry

MODEL, FIRST, SECOND = "reviews", "20260101000000", "20260102000000"
QUIET = 1.0


@dataclass
class Writer:
    """One machine. It tells its stories one after the other.

    :param stories: what each is to leave behind, and how it is told.
    """

    stories: Iterator[tuple[set[str], Callable[[], Story[Any]]]]

    def __post_init__(self) -> None:
        self.kept: set[str] = set()
        self.told: list[str] = []
        self._marks: set[str] = set()
        self._story: Story[Any] | None = None

    def go_on(self, answer: Any) -> Any:
        """Return what is asked for next, ``None`` at the end."""
        try:
            if self._story is not None:
                return self._story.send(answer)
        except StopIteration:
            self.kept |= self._marks
        except MarkLostError as error:
            self.told.append(str(error))
        found = next(self.stories, None)
        if found is None:
            return None
        self._marks, begin = found
        self._story = begin()
        return self.go_on(None)


def let_write(server: QuickModelRegistry, writers: list[Writer], seed: int) -> None:
    """Let all of them write at the same time."""
    chance, numbers = random.Random(seed), count()
    due = [(chance.uniform(0, QUIET), next(numbers), writer, None) for writer in writers]
    heapq.heapify(due)
    while due:
        now, _, writer, answer = heapq.heappop(due)
        asked = writer.go_on(answer)
        if asked is None:
            continue
        later, answer = now, None
        if isinstance(asked, Call):
            answer = server.send(asked)
            later = now + chance.uniform(0, 0.95 * QUIET)
        elif isinstance(asked, Pause):
            later = now + asked.seconds
        heapq.heappush(due, (later, next(numbers), writer, answer))


@pytest.fixture
def server() -> QuickModelRegistry:
    found = QuickModelRegistry()
    for version in (FIRST, SECOND):
        made = releases.register(
            MODEL, version, archive_uri=f"s3://models/{version}", facts={}, state=ReleaseState.CANDIDATE
        )
        tell(made, found.send)
    return found


def facts(machine: int, number: int, write: Any = releases.add_facts) -> Writer:
    """Return a machine that writes facts to the same version as the others."""
    names = [f"fact_{machine}_{index}" for index in range(number)]
    return Writer(iter([({name}, partial(write, MODEL, FIRST, {name: "x"})) for name in names]))


def states(version: str) -> Writer:
    """Return a machine that makes a version live, and the one before it with that, in the middle of it all."""
    mark = state_time_tag(ReleaseState.LIVE).removeprefix(FACT_TAG_PREFIX)
    story = partial(releases.set_state, MODEL, version, ReleaseState.LIVE)
    return Writer(iter([({mark}, story)]))


def marks(server: QuickModelRegistry) -> dict[str, str]:
    entry = tell(releases.find_release(MODEL, FIRST), server.send)
    assert entry is not None
    return {name.removeprefix(FACT_TAG_PREFIX): value for name, value in entry.marks.items()}


@pytest.mark.parametrize("machines", [2, 3, 5])
def test_every_mark_is_there_or_its_loss_was_told(
    server: QuickModelRegistry, machines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "QUIET_SECONDS", QUIET)
    empty = server.save()
    for seed in range(40):
        server.restore(empty)
        writers = [states(FIRST), *(facts(machine, 4) for machine in range(machines - 1))]
        let_write(server, writers, seed)
        kept = {mark for writer in writers for mark in writer.kept}
        assert kept <= set(marks(server)), f"seed {seed}"
        told = [words for writer in writers for words in writer.told]
        assert len(told) < sum(1 for _ in kept), f"seed {seed}: {told}"
        assert all("Find out who" in words for words in told)


def test_without_the_last_look_marks_are_lost_without_a_word(server: QuickModelRegistry) -> None:
    """Otherwise the test before this one would say nothing."""
    empty, lost = server.save(), 0
    for seed in range(40):
        server.restore(empty)
        writers = [facts(machine, 4, releases.add_facts.__wrapped__) for machine in range(2)]  # type: ignore[attr-defined]
        let_write(server, writers, seed)
        lost += len({mark for writer in writers for mark in writer.kept} - set(marks(server)))
    assert lost > 0


def test_a_mark_that_is_lost_after_it_was_read_back_is_written_again(server: QuickModelRegistry) -> None:
    told: list[str] = []
    stale: dict[str, Any] = {}

    def send(call: Call) -> Any:
        if call.method == "PATCH":
            there = server.send(Call(method="GET", path=call.path))
            stale.setdefault("properties", there["customProperties"])
        answer = server.send(call)
        if call.method == "GET" and stale and "wiped" not in stale and call.path.endswith(str(answer.get("id"))):
            stale["wiped"] = True  # by who had read before: the writer has just seen its mark
            body = {"customProperties": stale["properties"], "state": "LIVE"}
            server.send(Call(method="PATCH", path=call.path, body=body))
        told.append(call.method)
        return answer

    tell(releases.add_facts(MODEL, FIRST, {"ours": "x"}), send)

    assert stale["wiped"]
    assert marks(server)["ours"] == "x"
    assert told.count("PATCH") == 2


def test_what_somebody_has_set_to_something_else_since_is_theirs(server: QuickModelRegistry) -> None:
    seen: list[str] = []

    def send(call: Call) -> Any:
        answer = server.send(call)
        seen.append(call.method)
        if seen[-2:] == ["PATCH", "GET"] and seen.count("PATCH") == 1:
            tell(releases.add_facts.__wrapped__(MODEL, FIRST, {"ours": "theirs"}), server.send)  # type: ignore[attr-defined]
        return answer

    tell(releases.add_facts(MODEL, FIRST, {"ours": "x"}), send)

    assert marks(server)["ours"] == "theirs"
    assert seen.count("PATCH") == 1


def test_who_finds_no_rest_says_so(server: QuickModelRegistry) -> None:
    numbers = count()

    def send(call: Call) -> Any:
        answer = server.send(call)
        if call.method == "GET" and call.path.startswith("/model_versions/"):
            fact = {"theirs": str(next(numbers))}
            tell(releases.add_facts.__wrapped__(MODEL, FIRST, fact), server.send)  # type: ignore[attr-defined]
        return answer

    with pytest.raises(MarkLostError, match=f"{FIRST} .*Find out who writes to it"):
        tell(releases.add_facts(MODEL, FIRST, {"ours": "x"}), send)
