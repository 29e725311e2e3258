"""Slices that a model must serve alike: a gap that is shown stops a release, one that may be chance does not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from include.contracts.kinds.text_classifier import SliceScores
from include.contracts.rules.gate import decide
from include.contracts.rules.group_gaps import gap_of, group_gaps
from include.contracts.settings import GateConfig
from tests import candidates


def part(name: str, right: int, rows: int, **changes: Any) -> dict[str, Any]:
    """Return the scores of a slice, with Wilson's interval at 95 %."""
    z, share = 1.959964, right / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    bounds = {"low": max(0.0, middle - half), "high": min(1.0, middle + half)}
    return {
        "name": name,
        "rule": f"language {name}",
        "rows": rows,
        "accuracy": share,
        "macro_f1": share,
        "accuracy_interval": bounds,
        **changes,
    }


def reasons(*parts: dict[str, Any], most: float = 0.1, least_rows: int = 50, **groups: list[str]) -> list[str]:
    known = {each["name"]: SliceScores.model_validate(each) for each in parts}
    found = group_gaps(known, groups or {"language": [*known]}, most=most, least_rows=least_rows)
    return [check.line for check in found if not check.passed]


def test_groups_that_are_served_alike_pass() -> None:
    assert reasons(part("de", 180, 200), part("en", 1810, 2000)) == []


def test_a_gap_that_is_shown_is_told_with_its_interval() -> None:
    (reason,) = reasons(part("en", 1900, 2000), part("de", 140, 200))
    assert reason == (
        "groups of language: accuracy of 'en' is 0.250 above that of 'de' (interval +0.190 to +0.317), at most 0.1 is "
        "allowed"
    )


def test_a_gap_of_few_rows_that_may_be_chance_decides_nothing() -> None:
    assert reasons(part("en", 1900, 2000), part("de", 48, 60)) == []


def test_of_several_the_two_count_whose_gap_is_surest() -> None:
    (reason,) = reasons(part("en", 1900, 2000), part("de", 40, 60), part("fr", 1400, 2000))
    assert "accuracy of 'en' is 0.250 above that of 'fr'" in reason


def test_a_group_with_too_few_rows_is_a_no_because_nothing_can_be_shown() -> None:
    (reason,) = reasons(part("en", 1900, 2000), part("de", 9, 10), language=["en", "de", "fr"])
    assert reason == (
        "groups of language: 'de' has 10 evaluation rows, 50 are needed to tell, 'fr' has no evaluation rows, 50 are "
        "needed to tell"
    )


def test_without_intervals_nothing_is_shown() -> None:
    old = {"accuracy_interval": None}
    assert reasons(part("en", 1900, 2000, **old), part("de", 140, 200, **old)) == []


def test_the_interval_is_newcombes() -> None:
    """Example of his paper, table II, row (a), method 10: 56/70 and 48/80."""
    gap = gap_of(*(SliceScores.model_validate(each) for each in (part("a", 56, 70), part("b", 48, 80))))
    assert (gap.difference, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_the_gate_rejects_a_model_that_serves_a_group_worse() -> None:
    own = candidates.scores(0.9, slices=[part("German", 140, 200), part("English", 1900, 2000)])
    policy = {"equal_groups": {"language": ["German", "English"]}}

    def decided(**more: Any) -> tuple[bool, str]:
        found = decide(candidates.candidate(own), GateConfig.model_validate(policy | more), live_version=None)
        return found.accepted, found.line

    assert decided() == (
        False,
        "rejected: groups of language: accuracy of 'English' is 0.250 above that of 'German' (interval +0.190 to "
        "+0.317), at most 0.1 is allowed",
    )
    assert decided(max_group_gap=0.2)[0]
    assert decided(equal_groups={})[0]
