"""The first rows are shown as they are read, to whoever sits at a terminal and to nobody else."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.classifier.preview import main

SETTINGS: dict[str, Any] = {"train": ["unused"], "labels": {"1": "bad", "2": "good"}}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(monkeypatch: pytest.MonkeyPatch, source: Path, *, rows: int = 5, **settings: Any) -> tuple[int, str]:
    terminal = Terminal()
    question = {"data": SETTINGS | settings, "source": str(source), "rows": rows}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(question)))
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    return main(), terminal.getvalue()


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_text(content, encoding=encoding)
    return path


def test_rows_are_shown_as_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "text,label\nso  \x1b[2J  fine,2\n,1\n" + "a" * 400 + ",9\n" + "not shown,1\n" * 5
    source = written(tmp_path / "a.csv", content)

    assert show(monkeypatch, source, rows=3) == (
        0,
        f"{source}: csv\n\n"
        "line 2: label 2 (good), 12 characters\n  so \\x1b[2J fine\n\n"
        "line 3: label 1 (bad), 0 characters; dropped as empty\n  \n\n"
        f"line 4: label 9 (unknown), 400 characters; dropped as unknown_label\n  {'a' * 300}…\n",
    )


def test_the_first_of_many_files_is_read_by_column_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.csv", "a.csv"):
        written(tmp_path / name, f"1,{name},fine\n")

    code, shown = show(monkeypatch, tmp_path, text_column=[2, 3], label_column=1)

    assert code == 0
    assert shown == (
        f"{tmp_path}/a.csv: csv, the first of 2 files\n\nline 1: label 1 (bad), 10 characters\n  a.csv fine\n"
    )


def test_another_encoding_is_shown_as_it_would_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path / "a.csv", "text,label\n" + "это очень хороший суп,2\n" * 20, "cp1251")

    code, shown = show(monkeypatch, source)

    assert code == 2
    assert "letters), a line reads:\n  это очень хороший суп,2\n" in shown
    assert "the bytes are not UTF-8. Set `encoding`" in shown
    assert "(good), 21 characters\n  это очень хороший суп\n" in show(monkeypatch, source, encoding="cp1251")[1]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("none.csv", {}, "none.csv: not found"),
        ("a.csv", {"text_column": "review"}, "a.csv: missing columns: 'review'; there are: 'text', 'label'"),
        ("a.csv", {"encoding": "klingon"}, "The settings are not valid: data: encoding: 'klingon'"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any], said: str
) -> None:
    written(tmp_path / "a.csv", "text,label\nfine,1\n")

    code, shown = show(monkeypatch, tmp_path / name, **settings)

    assert code == 2
    assert said in shown


def test_nothing_is_shown_where_a_log_would_keep_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.partition(":")[0]) == ("", "The first rows are shown at a terminal alone")


def test_of_dated_data_the_first_day_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.now(UTC).date()
    for back in (0, 3, 9):
        written(tmp_path / f"{today - timedelta(days=back)}.csv", f"text,label\n{back} days ago,1\n")

    code, shown = show(monkeypatch, tmp_path / "{date}.csv", last="5 days")

    assert code == 0
    assert "3 days ago" in shown
    assert "the first of 2 files" in shown
    code, shown = show(monkeypatch, tmp_path / "none-{date}.csv", last="5 days")
    assert code == 2
    assert "nothing is there for any of the days" in shown


def test_rows_of_a_query_are_airflows(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = show(monkeypatch, Path("query:reviews"))
    assert code == 2
    assert "Name another source with DATA=" in shown
