"""The table of the ML Test Score is complete, adds up, and points to files that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "ml-test-score.md"
POINTS = {"automatic": 1.0, "by hand": 0.5, "in part": 0.5, "nothing": 0.0}
SECTIONS = ["Features and data", "Model development", "Infrastructure", "Monitoring"]


def rows(section: str) -> Iterator[list[str]]:
    """Yield the cells of a section's table."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    for line in text.splitlines():
        if re.match(r"\| \d", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def points(section: str) -> float:
    return sum(POINTS[how] for _, _, how, *_ in rows(section))


def stated() -> dict[str, float]:
    """Return what the summary says: section -> points."""
    cells = re.findall(r"^\| \**([A-Z][^|*]+?)\** \| \**([\d.]+)\** \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {name: float(number) for name, number in cells}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_its_seven_tests_and_the_points_it_says(section: str) -> None:
    assert [number for number, *_ in rows(section)] == list("1234567")
    assert stated()[section] == points(section)


def test_the_score_is_that_of_the_weakest_section() -> None:
    assert stated()["Score (the smallest)"] == min(points(section) for section in SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_counts_is_shown_by_a_file_that_is_there(section: str) -> None:
    for number, test, how, *_, shown_by in rows(section):
        links = re.findall(r"\]\(([^)]+)\)", shown_by)
        assert bool(links) is (how != "nothing"), (number, test)
        missing = [link for link in links if not (PAGE.parent / link).is_file()]
        assert not missing, (number, test)
