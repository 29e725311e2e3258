"""Lines keep their places, whether they are read one by one or many at once."""

from __future__ import annotations

import io

import pytest

from include.classifier.data.formats.lines import Lines
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source


def make(content: bytes) -> tuple[Lines, Problems]:
    problems = Problems()
    return Lines(io.BytesIO(content), Source("a.csv", "train"), problems), problems


def test_what_was_looked_at_is_handed_out_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", 4)
    lines, _ = make(b"one\ntwo\nthree\nfour")

    assert next(lines) == "one\n"
    assert lines.look_ahead() == b"two\nthree\n"[:4] + b"three\n"
    assert (lines.looked_ahead, next(lines), lines.number, lines.offset) == (True, "two\n", 2, 8)
    lines.skip(lines=1, size=6)
    assert (lines.looked_ahead, lines.number, lines.offset) == (False, 3, 14)
    assert lines.look_ahead() == b"four"
    assert (list(lines), lines.look_ahead()) == (["four"], b"")


def test_lines_behind_a_chunk_can_be_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", 1)
    lines, _ = make(b"one\ntwo\nthree\n")
    lines.look_ahead()

    assert [next(lines), next(lines)] == ["one\n", "two\n"]
    assert not lines.looked_ahead
    assert lines.look_ahead() == b"three\n"


def test_bytes_that_are_not_utf8_are_named_by_line_and_byte_and_reading_goes_on() -> None:
    lines, problems = make(b"one\ntw\xf6\nthr\xe9\xe9\n")
    lines.look_ahead()

    assert list(lines) == ["one\n", "tw\ufffd\n", "thr\ufffd\ufffd\n"]
    assert problems.messages()[0].startswith("a.csv, line 2 (byte 7), line 3 (byte 12): the bytes are not UTF-8")


def test_nothing_is_read_behind_a_first_line_that_is_not_utf8() -> None:
    lines, problems = make(b"\xff\nfine\n")

    assert (list(lines), lines.look_ahead()) == ([], b"")
    assert len(problems.messages()) == 1


def test_empty_file_is_named_once() -> None:
    lines, problems = make(b"")

    assert (lines.look_ahead(), list(lines), lines.look_ahead()) == (b"", [], b"")
    assert problems.messages() == ["a.csv: the file is empty. Check whether writing it has failed."]
