"""The runner of both halves: what it makes of pytest's reports, and that a failure of either half is one."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

JUNIT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.scripts.test_run_tests" name="test_one[a.b]" time="1.5"/>
<testcase classname="tests.scripts.test_run_tests.TestClass" name="test_two" time="2.25">
  <skipped type="pytest.skip" message="Skipped: no engine">here</skipped></testcase>
<testcase classname="tests.dags.test_retention" name="test_three" time="4">
  <skipped type="pytest.skip" message="no engine">here</skipped></testcase>
<testcase classname="tests.dags.test_retention" name="test_four[x]" time="0.5">
  <failure message="AssertionError: not the same&#10;assert 1 == 2">lines of source</failure></testcase>
<testcase classname="tests.dags.test_retention" name="test_five" time="0.5">
  <error message="failed on teardown">lines of source</error></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "run_tests.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_tests", module)
    spec.loader.exec_module(module)
    return module


def test_it_adds_up_seconds_and_says_what_was_skipped_and_what_failed(runner: Any, tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(JUNIT)
    report = runner.Report()
    report.add(tmp_path / "report.xml")
    report.add(tmp_path / "never-written.xml")

    assert report.seconds == {"tests/scripts/test_run_tests.py": 3.75, "tests/dags/test_retention.py": 5.0}
    assert report.outcomes["tests/scripts/test_run_tests.py::test_one"] == {"ran"}
    assert report.outcomes["tests/dags/test_retention.py::test_three"] == {"no engine"}
    assert list(report.lines()) == [
        "-- the slowest of 2 files --",
        "    5.0 s  tests/dags/test_retention.py",
        "    3.8 s  tests/scripts/test_run_tests.py",
        "-- skipped: 2 --",
        "    2  no engine",
        "-- failed: 2 --",
        "tests/dags/test_retention.py::test_four[x]: AssertionError: not the same",
        "tests/dags/test_retention.py::test_five: failed on teardown",
    ]


def test_what_is_recorded_keeps_files_that_were_not_run_and_forgets_those_that_are_gone(
    runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "SECONDS", tmp_path / "seconds.json")
    runner.SECONDS.write_text(json.dumps({"tests/gone.py": 1, "tests/conftest.py": 2, "tests/suite.py": 3}))

    runner._record({"tests/suite.py": 4.04})

    assert json.loads(runner.SECONDS.read_text()) == {"tests/conftest.py": 2, "tests/suite.py": 4.0}


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((1, 0), 1), ((0, 2), 2), ((5, 0), 0), ((5, 5), 0), ((0, -9), 1)]
)
def test_a_half_that_failed_fails_both(
    runner: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], codes: tuple[int, int], code: int
) -> None:
    started: dict[str, list[str]] = {}

    class Half:
        def __init__(self, name: str, python: Path, arguments: list[str], env: dict[str, str]) -> None:
            self.name, self.verdict = name, f"12 passed in {len(started)}s"
            self._code = codes[len(started)]
            started[name] = arguments

        def wait(self) -> int:
            return self._code

    monkeypatch.setattr(runner, "Half", Half)

    assert runner.main("test", "-k", "smoke") == code
    assert all(arguments[-2:] == ["-k", "smoke"] for arguments in started.values())
    folders = [folder for arguments in started.values() for folder in arguments if folder.startswith("tests/")]
    assert len(folders) == len(set(folders)), "no test is run twice"
    assert {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in ROOT.glob("tests/**/test_*.py")} == {
        *folders,
        runner.ELSEWHERE,
    }
    assert capsys.readouterr().out.splitlines()[-1] == "12 passed in 1s", "pytest's own line ends it"


def test_a_whole_tier_without_a_test_that_the_ml_test_score_names_is_red(
    runner: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Half:
        name, verdict = "airflow", "12 passed"

        def __init__(self, *_: Any) -> None: ...

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(runner, "Half", Half)

    assert runner.main("test") == 1
    shown = capsys.readouterr().out
    assert (
        "tests/contracts/rules/test_gate.py::test_a_model_may_not_be_much_slower_or_larger: was not collected" in shown
    )
    assert runner.main("fast") == 0
