"""A source with a date stands for its addresses on the days of a window, decided once for all tries of a release."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.moving.dated_sources import on_days, resolve
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems, SourceUnavailableError
from include.classifier.data.sources import Source
from include.contracts.dates import Window

#: The first to the fourth.
WINDOW = Window(date(2026, 3, 1), date(2026, 3, 4), "Europe/Berlin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("2026-02-28.csv", "2026-03-01.csv", "2026-03-03.csv", "2026-03-05.csv"):
        (tmp_path / name).touch()
    for day, files in {"02": ["part-1.csv", "part-0.csv"], "03": ["_SUCCESS"], "04": ["part-0.csv"]}.items():
        for name in files:
            path = tmp_path / "2026" / "03" / day / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path


def read(source: Source, folder: Path, window: Window = WINDOW) -> tuple[list[str], list[str]]:
    """Return the files that are read, and the days of which nothing is there."""
    problems = Problems()
    sources, facts = resolve([source], window, problems, (folder / "dataset" / "window.json").as_uri())
    files = all_files(sources, problems)
    problems.raise_if_any()
    assert facts is not None
    assert all(file.named == source.name for file in files)
    return [file.uri.partition(f"{folder}/")[2] for file in files], facts["sources"][0]["missing"]


PARTS = ["2026/03/02/part-0.csv", "2026/03/02/part-1.csv", "2026/03/04/part-0.csv"]


@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize(
    ("pattern", "files", "missing"),
    [
        ("{date}.csv", ["2026-03-01.csv", "2026-03-03.csv"], ["02", "04"]),
        ("{date:%Y/%m/%d}", PARTS, ["01", "03"]),
        ("{date:%Y/%m/%d}/*-0.csv", [PARTS[0], PARTS[2]], ["01", "03"]),
        ("{date:%Y}/{date:%m}", PARTS, []),
    ],
)
def test_days_of_which_nothing_is_there_are_left_out_and_recorded(
    folder: Path, prefix: str, pattern: str, files: list[str], missing: list[str]
) -> None:
    days = [f"2026-03-{day}" for day in missing]
    assert read(Source(f"{prefix}{folder}/{pattern}", "train"), folder) == (files, days)


def test_a_later_try_reads_what_the_first_one_found_and_another_window_is_asked_anew(folder: Path) -> None:
    source = Source(f"{folder}/{{date}}.csv", "train")
    found = read(source, folder)
    (folder / "2026-03-02.csv").touch()
    assert read(source, folder) == found
    assert read(source, folder, WINDOW._replace(last=date(2026, 3, 5)))[1] == ["2026-03-04"]
    assert read(Source(source.uri, "evaluation"), folder)[1] == ["2026-03-04"]


@pytest.mark.parametrize(("pattern", "gone"), [("{date}.csv", "2026-03-03.csv"), ("{date:%Y/%m/%d}", "2026/03/04")])
def test_a_day_that_a_first_try_has_read_and_that_is_gone_is_named(folder: Path, pattern: str, gone: str) -> None:
    source = Source(f"{folder}/{pattern}", "train")
    read(source, folder)
    (folder / gone).rename(folder / "elsewhere")
    with pytest.raises(DataError, match=rf"{gone}: was there when this release was first tried, and is gone"):
        read(source, folder)


@pytest.mark.parametrize("broken", ["", "{", "{}", json.dumps({"first": "2026-03-01", "sources": 3})])
def test_a_record_that_nobody_can_read_is_made_anew(folder: Path, broken: str) -> None:
    source = Source(f"{folder}/{{date}}.csv", "train")
    found = read(source, folder)
    (folder / "dataset" / "window.json").write_text(broken)
    assert read(source, folder) == found


def test_nothing_at_all_names_the_pattern_the_days_and_an_address_and_leaves_no_record(folder: Path) -> None:
    with pytest.raises(DataError) as failure:
        read(Source(f"{folder}/reviews-{{date:%Y%m%d}}.csv", "train"), folder)
    for part in ("reviews-{date:%Y%m%d}.csv", "2026-03-01 to 2026-03-04 (Europe/Berlin)", "reviews-20260304.csv"):
        assert part in str(failure.value)
    assert not (folder / "dataset").exists()


def test_a_form_reaches_no_further_by_a_date(folder: Path) -> None:
    pattern = f"{folder}/{{date}}.csv"
    for allowed in ([pattern], [str(folder)]):
        assert len(read(Source(pattern, "train", allowed), folder)[0]) == 2
    secret = folder / "secret.csv"
    secret.touch()
    (folder / "public").mkdir()
    (folder / "public" / "2026-03-01.csv").symlink_to(secret)
    for escape in ("public/{date}.csv", "public/../{date}.csv", "public/{date:%Y/../..}/{date}.csv"):
        with pytest.raises(DataError, match="is not read on behalf of a form"):
            read(Source(f"{folder}/{escape}", "train", [f"{folder}/public"]), folder)


class Web:
    """Answers as fsspec's client of web servers does: whatever went wrong stands behind a file that is not found."""

    def __init__(self, statuses: dict[str, Any]) -> None:
        self.statuses = statuses

    def info(self, path: str) -> None:
        if reason := self.statuses[path[-6:-4]]:
            raise FileNotFoundError(path) from reason


def test_a_server_that_does_not_answer_is_no_missing_day(monkeypatch: pytest.MonkeyPatch) -> None:
    def error(status: int) -> Exception:
        failure: Any = RuntimeError("https://host/x?signature=secret")
        failure.status = status
        return failure  # type: ignore[no-any-return]

    web = Web({"01": None, "02": error(404), "03": FileNotFoundError(), "04": None})
    monkeypatch.setattr(Source, "filesystem", lambda source: (web, source.uri))
    source = Source("https://host/{date}.csv", "train")
    assert [found.uri[-6:-4] for found in on_days(source, WINDOW)] == ["01", "04"]
    for status, kind in ((503, SourceUnavailableError), (403, DataError)):
        web.statuses["04"] = error(status)
        with pytest.raises(kind) as failure:
            on_days(source, WINDOW)
        assert "https://host/2026-03-04.csv" in str(failure.value)
        assert "secret" not in str(failure.value)
