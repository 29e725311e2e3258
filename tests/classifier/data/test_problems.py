"""Problems are gathered, so that one look is enough to repair them."""

from __future__ import annotations

import pytest

from include.classifier.data.problems import DataError, Places, Problems


def test_same_problem_in_many_rows_is_one_message() -> None:
    problems = Problems()
    for line in range(1, 1005):
        problems.add("a.csv", "is wrong", "Repair it.", place=f"line {line}")
    problems.add("b.csv", "is wrong", "Repair it.")

    assert problems.messages() == [
        "a.csv, line 1, line 2, line 3 and 1,001 more: is wrong. Repair it.",
        "b.csv: is wrong. Repair it.",
    ]


def test_nothing_wrong_refuses_nothing() -> None:
    Problems().raise_if_any()


def test_error_holds_all_problems_and_says_the_first_in_one_line() -> None:
    problems = Problems()
    problems.take(DataError("z.csv: not found."))
    for name in "abcd":
        problems.add(f"{name}.csv", "is wrong", "Repair it.")

    with pytest.raises(DataError) as caught:
        problems.raise_if_any()

    assert len(caught.value.problems) == 5
    assert str(caught.value) == (
        "z.csv: not found. a.csv: is wrong. Repair it. b.csv: is wrong. Repair it. And 2 more."
    )


def test_problems_of_the_rows_stand_behind_those_of_the_files_and_places_are_counted_on() -> None:
    problems, in_rows = Problems(), Problems()
    in_rows.take(DataError("z.csv: not found."))
    for line in (5, 6):
        problems.add("a.csv", "is wrong", "Repair it.", place=f"line {line}")
        in_rows.add("a.csv", "is wrong", "Repair it.", place=f"line {line + 2}")
    in_rows.add("b.csv", "is wrong", "Repair it.")

    problems.extend(in_rows)

    assert problems.messages() == [
        "z.csv: not found.",
        "a.csv, line 5, line 6, line 7 and 1 more: is wrong. Repair it.",
        "b.csv: is wrong. Repair it.",
    ]


def test_only_the_first_places_are_kept() -> None:
    places = Places(("line 1", "line 2"), 1_000)
    for line in range(2_000):
        places.add(f"line {line + 3}")

    assert str(places) == "line 1, line 2, line 3 and 2,997 more"
    assert len(places.first) == 3
