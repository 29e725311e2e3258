"""A search ends by its trials, by its time, or when nothing is left to try; old ones go."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.classifier.search.budget import MOST_REPEATED, Budget
from include.classifier.search.steps import delete_old


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("begun", "used", "before", "repeated", "why"),
    [
        (0, 0, 0, 0, ""),
        (9, 59, 0, 0, ""),
        (10, 0, 0, 0, "trials"),
        (11, 99, 0, 0, "trials"),
        (3, 60, 0, 0, "minutes"),
        (3, 20, 40, 0, "minutes"),  # what earlier tries took counts
        (3, 19, 40, 0, ""),
        (3, 0, 0, MOST_REPEATED, "space"),
        (3, 0, 0, MOST_REPEATED - 1, ""),
    ],
)
def test_what_ends_a_search(begun: int, used: float, before: float, repeated: int, why: str) -> None:
    clock = Clock()
    budget = Budget(trials=10, seconds=60, used_before=before, clock=clock, repeated=repeated)
    clock.now += used

    assert budget.ended_by(begun) == why
    assert budget.is_late is (used + before >= 60)


@pytest.mark.parametrize(
    ("begun", "took", "parallel", "left"),
    [
        (1, [], 1, None),  # nothing is over: nobody knows
        (10, [4.0] * 10, 1, 0.0),
        (5, [4.0] * 5, 1, 20.0),
        (6, [4.0] * 5, 1, 18.0),  # half of the one under way, and four more
        (6, [4.0] * 4, 2, 10.0),
        (1, [100.0], 1, 50.0),  # the time is up before
    ],
)
def test_what_is_left_is_told_by_the_trials_that_are_over(
    begun: int, took: list[float], parallel: int, left: float | None
) -> None:
    clock = Clock()
    budget = Budget(trials=10, seconds=60, used_before=0, clock=clock)
    clock.now += 10

    assert budget.left(begun, took, parallel=parallel) == left


def test_the_newest_searches_stay_and_nothing_else_is_touched(tmp_path: Path) -> None:
    names = [f"2026113009000{second}" for second in range(5)]
    for name in [*names, "notes", "2026"]:
        (tmp_path / name).mkdir()

    delete_old(f"{tmp_path.as_uri()}/{names[0]}", keep=2)

    # The oldest is the one that was gone on with.
    assert {path.name for path in tmp_path.iterdir()} == {names[0], *names[3:], "notes", "2026"}
