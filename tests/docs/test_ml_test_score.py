"""The table of the ML Test Score is complete, adds up by the rule, and names what is there and runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests import ml_test_score
from tests.ml_test_score import NO_TIME, PAGE, ROOT, SECTIONS, Row, markers, not_proven, points

TEXT = PAGE.read_text(encoding="utf-8")
ROWS = ml_test_score.rows(TEXT)
RELEASE = "release_sample_reviews"


@pytest.fixture(scope="module")
def dags() -> set[str]:
    """Return the names of the DAGs' files, which are those of their ids without a model."""
    return {path.stem for path in (ROOT / "dags").glob("*.py")}


@pytest.fixture(scope="module")
def steps() -> set[str]:
    """Return the tasks of a release and the steps of its pipeline."""
    tasks = re.split(r"^(\w+):\n", (ROOT / "tests" / "dags" / "tasks.yaml").read_text(encoding="utf-8"), flags=re.M)
    release = tasks[tasks.index(RELEASE) + 1]
    pipeline = (ROOT / "include" / "pipelines" / "train_classifier.yaml").read_text(encoding="utf-8")
    components = next(iter(yaml.safe_load_all(pipeline)))["root"]["dag"]["tasks"]
    return {*re.findall(r"^  (\w+):\n", release, flags=re.M), *components}


def stated(text: str = TEXT) -> dict[str, float]:
    """Return what the summary says: section -> points."""
    cells = re.findall(r"^\| \**([A-Z][^|*]+?)\** \| \**([\d.]+)\** \|$", text, re.M)
    return {name: float(number) for name, number in cells}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_its_seven_tests_and_the_points_it_says(section: str) -> None:
    assert [row.number for row in ROWS if row.section == section] == list("1234567")
    assert stated()[section] == points(ROWS)[section]


def test_the_score_is_that_of_the_weakest_section() -> None:
    assert stated()["Score (the smallest)"] == min(points(ROWS).values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section} {row.number}")
def test_a_row_shows_what_it_counts_for(row: Row, dags: set[str], steps: set[str]) -> None:
    """One that counts whole is run by a release or a scheduled DAG, and a test plants the fault and sees it found."""
    assert wrong(row, dags=dags, steps=steps) == []


def wrong(row: Row, *, dags: set[str], steps: set[str]) -> list[str]:
    known: Mapping[str, set[str]] = {"release": steps, "dag": dags}
    found = [f"no {sort} {name}" for sort, name in row.run_by if name not in known[sort]]
    found += [f"no file {link}" for link in row.links if not (PAGE.parent / link).is_file()]
    for test in row.tests:
        marks = markers(test)
        if marks is None:
            found.append(f"no test {test}")
        elif marks & ml_test_score.NEVER:
            found.append(f"{test} is never run, or decides nothing")
    if row.how == "automatic" and not row.run_by:
        found.append("nothing runs it")
    if row.how == "automatic" and not row.tests:
        found.append("no test plants the fault")
    if (row.how == "nothing") is bool(row.links or row.tests):
        found.append("what counts is shown by something, and nothing else is")
    return found


def planted(how: str, run_by: str, shown_by: str) -> list[str]:
    """Return what is wrong with a row that says so."""
    line = f"| 1 | A test | {how} | What is done | {run_by} | {shown_by} |"
    text = "".join(f"\n## {section}\n\n{line if section == SECTIONS[0] else ''}\n" for section in SECTIONS)
    (row,) = ml_test_score.rows(text)
    return wrong(row, dags={"staleness"}, steps={"gate"})


OWN = "tests/docs/test_ml_test_score.py"


def test_a_row_that_claims_too_much_is_found() -> None:
    shown = f"`{OWN}::test_the_score_is_that_of_the_weakest_section`, [page](gate.md)"
    assert planted("automatic", "`release:gate`, `dag:staleness`", shown) == []
    assert planted("automatic", "people", shown) == ["nothing runs it"]
    assert planted("automatic", "`release:gates`", shown) == ["no release gates"]
    assert planted("automatic", "`dag:gone`", shown) == ["no dag gone"]
    assert planted("automatic", "`release:gate`", "[page](gate.md)") == ["no test plants the fault"]
    assert planted("automatic", "`release:gate`", f"`{OWN}::test_gone`") == [f"no test {OWN}::test_gone"]
    assert planted("by hand", "people", "[page](gone.md)") == ["no file gone.md"]
    assert planted("by hand", "people", "") == ["what counts is shown by something, and nothing else is"]
    assert planted("nothing", "", "[page](gate.md)") == ["what counts is shown by something, and nothing else is"]


def test_a_test_that_is_never_run_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "tests/test_made_up.py"
    (tmp_path / "tests").mkdir()
    (tmp_path / file).write_text(
        "import pytest\n"
        "pytestmark = [pytest.mark.airflow]\n"
        "@pytest.mark.skip(reason='x')\ndef test_one(): ...\n"
        "@pytest.mark.long\nasync def test_two(): ...\n"
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.long), 2])\ndef test_three(a): ...\n"
    )
    monkeypatch.setattr(ml_test_score, "ROOT", tmp_path)

    assert markers(f"{file}::test_one") == {"airflow", "skip"}
    assert markers(f"{file}::test_two") == {"airflow", "long"}
    assert markers(f"{file}::test_three") == {"airflow"}
    assert markers(f"{file}::test_four") is None
    assert [ml_test_score.is_long(f"{file}::test_{name}") for name in ("one", "two", "three")] == [False, True, False]


def test_a_named_test_that_did_not_run_is_told_but_where_no_time_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        f"{OWN}::test_the_score_is_that_of_the_weakest_section",
        f"{OWN}::test_a_row_that_claims_too_much_is_found",
    ]
    monkeypatch.setattr(ml_test_score, "named_tests", lambda: names)

    assert not_proven("test", {names[0]: ["ran"], names[1]: ["no engine", "ran"]}) == []
    assert not_proven("test", {names[0]: ["ran"]}) == [f"{names[1]}: was not collected"]
    assert not_proven("all", {names[0]: ["ran"], names[1]: ["no engine"]}) == [f"{names[1]}: was skipped (no engine)"]
    assert not_proven("test", {names[0]: ["ran"], names[1]: [NO_TIME]}) == []
    assert not_proven("long", {}) == []  # neither is a long one
    assert not_proven("fast", {}) == []


def test_the_suite_calls_a_lack_of_time_as_it_is_called_here() -> None:
    assert NO_TIME in (ROOT / "tests" / "suite.py").read_text(encoding="utf-8")
