"""One person's requests are deleted by their ids, and what is of others stays as it is."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path

import pytest

from include.capture.day_files import DayFiles
from include.capture.forgetting import ForgettingError, forget, read_ids
from include.contracts.monitoring.retention import captured_before


def write(store: Path, kind: str, day: str, *lines: object, name: str = "native-1.jsonl") -> Path:
    path = store / kind / day / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in lines))
    return path


def test_requests_and_labels_of_an_id_go_and_the_others_stay_letter_by_letter(tmp_path: Path) -> None:
    others = b'{"id":  "b", "text": "\xc3\xa4"}\n'
    first = write(tmp_path, "captured", "2026-11-29", {"id": "a"}, others, {"id": "a", "x": 1}, {"id": "c"})
    alone = write(tmp_path, "captured", "2026-11-30", {"id": "a"})
    labels = write(tmp_path, "labels", "2026-11-30", {"id": "a", "label": "good"}, {"id": "aa", "label": "bad"})
    untouched = write(tmp_path, "captured", "2026-11-30", {"id": "b", "text": "a"}, name="other.jsonl")
    before = untouched.stat().st_ino

    found = forget(tmp_path, ["a", "c"])

    assert (found.requests, found.labels, found.files) == (4, 1, 3)
    assert first.read_bytes() == others
    assert not alone.exists()
    assert labels.read_text() == '{"id": "aa", "label": "bad"}\n'
    assert untouched.stat().st_ino == before
    assert forget(tmp_path, ["a", "c"]).requests == 0
    assert not list(tmp_path.rglob("*.part"))


def test_a_broken_line_with_the_id_goes_too(tmp_path: Path) -> None:
    path = write(tmp_path, "captured", "2026-11-29", b'{"half": "person-7", \n', b"[1]\n", b"\xff\n", {"id": "b"})

    assert forget(tmp_path, ["person-7"]).requests == 1
    assert path.read_bytes() == b'[1]\n\xff\n{"id": "b"}\n'


def test_a_file_whose_writer_is_gone_is_looked_through(tmp_path: Path) -> None:
    write(tmp_path, "captured", "2026-11-29", {"id": "a"}, {"id": "b"}, b'{"id": "a"', name=".native-9.jsonl.part")

    assert forget(tmp_path, ["a"]).requests == 1
    assert (tmp_path / "captured/2026-11-29/native-9.jsonl").read_text() == '{"id": "b"}\n'


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    files = DayFiles(tmp_path / "captured", "native", most_bytes=1_000_000)
    files.write(b'{"id": "a"}\n', now=time.time())

    with pytest.raises(ForgettingError, match=r"1 files such as .* Do this again in a minute"):
        forget(tmp_path, ["a"], wait_seconds=0)
    files.close()
    assert forget(tmp_path, ["a"], wait_seconds=0).requests == 1


@pytest.mark.parametrize("text", ["", " , ", "-rf", "a*", "a;b", "\N{CYRILLIC SMALL LETTER A}"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ForgettingError):
        read_ids(text)


def test_ids_are_read_with_commas_and_spaces() -> None:
    assert read_ids("a, b\nc  a") == ["a", "b", "c"]


def test_nothing_captured_is_nothing_to_forget(tmp_path: Path) -> None:
    assert forget(tmp_path, ["a"]).requests == 0


@pytest.mark.parametrize("delete", [False, True])
def test_days_before_the_first_that_is_kept_go_whole(delete: bool, tmp_path: Path) -> None:
    for day in ("2026-11-01", "2026-11-02", "2026-11-03"):
        write(tmp_path, "captured", day, {"id": "a"})
        write(tmp_path, "labels", day, {"id": "a"})
    write(tmp_path, "captured", "2026-11-01", {"id": "b"}, name=".left-1.jsonl.part")
    write(tmp_path, "captured", "notes", {"id": "c"})

    found = captured_before(tmp_path, date(2026, 11, 3), delete=delete)

    assert found == (4, 5 * len(b'{"id": "a"}\n'))
    days = sorted(path.name for path in (tmp_path / "captured").iterdir())
    assert days == (["2026-11-03", "notes"] if delete else ["2026-11-01", "2026-11-02", "2026-11-03", "notes"])


def test_a_store_without_captured_requests_has_none_to_delete(tmp_path: Path) -> None:
    assert captured_before(tmp_path, date(2026, 11, 3), delete=True) == (0, 0)
