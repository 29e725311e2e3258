"""The table of docs/ml-test-score.md: what its rows say, which tests they name, and whether these ran.

``tests/docs/test_ml_test_score.py`` holds the page to it, ``scripts/run_tests.py`` the run of a tier.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "ml-test-score.md"

SECTIONS = ("Features and data", "Model development", "Infrastructure", "Monitoring")
POINTS = {"automatic": 1.0, "by hand": 0.5, "in part": 0.5, "nothing": 0.0}

#: Markers of tests that only ``make test-long`` has; ``tests/suite.py`` decides by them, too.
LONG = frozenset({"long", "docker", "yelp"})
LONG_FOLDERS = ("doubles", "benchmarks")
#: Whoever has one of these does not run, or does not decide.
NEVER = frozenset({"skip", "xfail"})

#: Why a test may be left out all the same: CI gives a run so much time and no more.
NO_TIME = "no time was left (TEST_UNTIL)"

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")
_RUN_BY = re.compile(r"`(release|dag):([a-z_]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    """One of the paper's tests.

    :param how: a key of :data:`POINTS`.
    :param run_by: ``("release", step)`` or ``("dag", id)``.
    :param tests: ``file::name`` of tests that plant a fault and see it found.
    :param links: files beside the page.
    """

    section: str
    number: str
    test: str
    how: str
    run_by: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    links: tuple[str, ...]

    @property
    def points(self) -> float:
        """What it counts."""
        return POINTS[self.how]


def rows(text: str) -> list[Row]:
    """Return the rows of all sections.

    :param text: of the page.
    """
    return [row for section in SECTIONS for row in _rows_of(section, text)]


def _rows_of(section: str, text: str) -> Iterator[Row]:
    part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    for line in part.splitlines():
        if re.match(r"\| \d", line):
            number, test, how, _, run_by, shown_by = (cell.strip() for cell in line.strip()[1:-1].split("|"))
            yield Row(
                section=section,
                number=number,
                test=test,
                how=how,
                run_by=tuple((sort, name) for sort, name in _RUN_BY.findall(run_by)),
                tests=tuple(_TEST.findall(shown_by)),
                links=tuple(_LINK.findall(shown_by)),
            )


def points(found: Iterable[Row]) -> dict[str, float]:
    """Return section -> points."""
    totals = dict.fromkeys(SECTIONS, 0.0)
    for row in found:
        totals[row.section] += row.points
    return totals


def named_tests() -> list[str]:
    """Return the tests that the page names, each once."""
    found = rows(PAGE.read_text(encoding="utf-8"))
    return list(dict.fromkeys(test for row in found for test in row.tests))


def markers(test: str) -> frozenset[str] | None:
    """Return the markers of a test and of its module, as its source has them; ``None`` where there is no such test.

    :param test: ``file::name``.
    """
    file, _, name = test.partition("::")
    return _functions(file).get(name)


@cache
def _functions(file: str) -> Mapping[str, frozenset[str]]:
    path = ROOT / file
    if not path.is_file():
        return {}
    module = ast.parse(path.read_text(encoding="utf-8"))
    of_module: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.Assign) and any(getattr(each, "id", "") == "pytestmark" for each in node.targets):
            of_module |= set(_marks(node.value))
    return {
        node.name: frozenset(of_module.union(*(_marks(each) for each in node.decorator_list if _is_plain(each))))
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _is_plain(decorator: ast.expr) -> bool:
    """Tell whether a decorator marks the whole test: marks within ``parametrize`` are those of some of its cases."""
    return "parametrize" not in ast.unparse(decorator).partition("(")[0]


def _marks(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Attribute) and each.value.attr == "mark":
            yield each.attr


def is_long(test: str) -> bool:
    """Tell whether only ``make test-long`` has a test."""
    return bool((markers(test) or frozenset()) & LONG) or test.split("/")[1] in LONG_FOLDERS


def not_proven(tier: str, outcomes: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a line for each named test of a tier that has not run: nobody has seen it find its fault.

    What was skipped because no time was left says nothing; what failed fails the run anyway.

    :param tier: of ``tests/suite.py``.
    :param outcomes: ``file::name`` -> what became of its cases: ``ran``, or why one was skipped.
    """
    lines = []
    for test in named_tests():
        if tier not in ("test", "long", "all") or (tier != "all" and is_long(test) is not (tier == "long")):
            continue
        found = set(outcomes.get(test, ()))
        if not found:
            lines.append(f"{test}: was not collected")
        elif "ran" not in found and NO_TIME not in found:
            lines.append(f"{test}: was skipped ({'; '.join(sorted(found))})")
    return lines
