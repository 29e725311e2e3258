"""A benchmark that was stopped goes on where it was."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from benchmarks.kept_runs import KeptRuns


def measured(folder: Path, names: str, *, pairs: int = 3, resumes: bool = True) -> list[str]:
    """Return which of the runs were measured, not taken from before."""
    runs = KeptRuns(folder, {"pairs": pairs}, resumes=resumes, seconds=10)
    found = []

    def measure(name: str) -> dict[str, str]:
        found.append(name)
        return {"is": name}

    for name in names:
        assert runs.get(name, partial(measure, name), seconds=1) == {"is": name}
        assert name in runs
    return found


def test_runs_that_were_measured_are_not_measured_again(tmp_path: Path) -> None:
    assert measured(tmp_path, "ab") == ["a", "b"]
    assert measured(tmp_path, "abc") == ["c"]


def test_runs_without_being_asked_to_resume_begin_anew(tmp_path: Path) -> None:
    measured(tmp_path, "ab")

    assert measured(tmp_path, "ab", pairs=9, resumes=False) == ["a", "b"]


def test_runs_of_other_settings_are_neither_taken_nor_lost(tmp_path: Path) -> None:
    measured(tmp_path, "ab")

    with pytest.raises(SystemExit, match="another value of pairs"):
        measured(tmp_path, "abc", pairs=9)
    assert measured(tmp_path, "abc") == ["c"]


def test_a_run_that_was_not_written_whole_is_measured_again(tmp_path: Path) -> None:
    measured(tmp_path, "ab")
    file = tmp_path / "runs.jsonl"
    file.write_text(file.read_text(encoding="utf-8")[:-5], encoding="utf-8")

    assert measured(tmp_path, "ab") == ["b"]
