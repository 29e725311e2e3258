"""A step's latest line reaches whoever watches."""

from __future__ import annotations

import pytest

from include.classifier.progress import PROGRESS_FILE, duration, report


def test_the_latest_line_is_printed_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress.txt"))
    report("train: first")
    report("train: second")
    assert (tmp_path / "progress.txt").read_text(encoding="utf-8") == "train: second\n"
    assert capsys.readouterr().out == "train: first\ntrain: second\n"
    assert [path.name for path in tmp_path.iterdir()] == ["progress.txt"]


def test_a_file_that_cannot_be_written_does_not_end_the_step(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "no-such-folder" / "progress.txt"))
    report("train: going on")
    assert capsys.readouterr().out == "train: going on\n"


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "0:04"), (59.6, "1:00"), (723, "12:03"), (3723, "1:02:03")])
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
