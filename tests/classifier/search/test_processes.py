"""Trials are processes: what kills one ends nothing else, and a search that is killed goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from include.classifier.search import processes
from include.classifier.search.trials import EndedTrial
from tests.classifier.search.stub import Stub, search
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def only_the_stub_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HEAVY_IMPORTS", ("tests.classifier.search.stub",))


def begun(marks: Path) -> Counter[int]:
    return Counter(int(mark.name.split("-")[1]) for mark in marks.glob("begun-*"))


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_search_that_is_killed_goes_on_and_no_finished_trial_is_trained_again(tmp_path: Path, parallel: int) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    killed = subprocess.Popen(
        [sys.executable, "-m", "tests.classifier.search.searcher", str(tmp_path), str(marks), str(parallel)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_for(lambda: begun(marks)[3] or killed.poll() is not None, "trial 3 began")
        wait_for(lambda: all(number in done(tmp_path) for number in range(3)), "the trials before it are over")
        killed.kill()
    finally:
        killed.kill()
        killed.wait()
    left = [int(mark.name.split("-")[2]) for mark in marks.glob("pid-*")]
    wait_for(lambda: all(map(is_gone, left)), "the trials ended with their search")
    before = done(tmp_path)
    assert len(before) == 3

    search(tmp_path, objective=Stub(marks=marks), trials=9, parallel=parallel, early_stop="none").run()

    assert done(tmp_path) == set(range(9))
    assert {number for number, times in begun(marks).items() if times > 1} <= {3, 4}
    assert all(begun(marks)[number] == 1 for number in before)


def done(folder: Path) -> set[int]:
    return {trial.number for trial in journal(folder)}


def journal(folder: Path) -> list[EndedTrial]:
    return search(folder).journal.trials


def test_a_trial_whose_process_is_killed_is_hopeless_and_its_tracked_run_is_closed(tmp_path: Path) -> None:
    closed: list[str] = []
    stub = Stub(kills=(1,))
    run = search(tmp_path, objective=stub, start=processes.start, trials=3, early_stop="none", abandoned=closed.append)
    run.run()

    assert [(trial.number, trial.state) for trial in run.journal.trials] == [
        (0, "finished"),
        (1, "failed"),
        (2, "finished"),
    ]
    assert "killed from outside, most likely because memory ran out" in run.journal.trials[1].reason
    assert closed == ["run-1"]


def test_a_trial_that_is_pruned_ends_its_process(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    stub = Stub(marks=marks, epochs=50)
    run = search(tmp_path, objective=stub, start=processes.start, trials=8, early_stop="median")
    run.run()

    assert any(trial.state == "pruned" for trial in run.journal.trials)
    assert all(is_gone(int(mark.name.split("-")[2])) for mark in marks.glob("pid-*"))
