"""Repeated and leaked rows are marked, on disk as in memory."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from include.classifier.data.checks import DROP_REASONS
from include.classifier.data.repeated import TextIndex, mark_repeated


def mark(*rows: tuple[str, str, int, str], batch_rows: int = 3) -> tuple[list[str], list[int]]:
    """Return why each row is dropped, and the rows that contradict the one that stays.

    :param rows: split, cleaned text, class, reason to drop it already.
    """
    known = ["", *DROP_REASONS]
    classes = np.array([index for _, _, index, _ in rows], dtype=np.int8)
    reasons = np.array([known.index(reason) for *_, reason in rows], dtype=np.int8)
    with TextIndex() as index:
        for begin in range(0, len(rows), batch_rows):
            positions = begin + np.flatnonzero(reasons[begin : begin + batch_rows] == 0)
            index.add(pa.array([rows[position][1] for position in positions], pa.string()), positions)
        evaluation_begins = sum(split == "train" for split, *_ in rows)
        contradicting = mark_repeated(index, classes, reasons, evaluation_begins)
    return [known[reason] for reason in reasons], np.flatnonzero(contradicting).tolist()


def test_later_rows_with_the_same_text_are_duplicates_whatever_their_label() -> None:
    rows = [("train", "a", 0, ""), ("train", "b", 0, ""), ("train", "a", 0, ""), ("train", "a", 1, "")]

    assert mark(*rows) == (["", "", "duplicate", "duplicate"], [3])


def test_evaluation_rows_that_are_trained_on_have_leaked() -> None:
    rows = [("train", "a", 0, ""), ("evaluation", "a", 0, ""), ("evaluation", "a", 0, ""), ("evaluation", "b", 0, "")]

    assert mark(*rows) == (["", "leaked", "duplicate", ""], [])


def test_label_of_a_duplicate_is_held_against_the_row_of_its_own_split() -> None:
    rows = [("train", "a", 0, ""), ("evaluation", "a", 1, ""), ("evaluation", "a", 1, ""), ("evaluation", "a", 0, "")]

    assert mark(*rows) == (["", "leaked", "duplicate", "duplicate"], [3])


def test_rows_that_are_dropped_already_neither_repeat_nor_leak() -> None:
    rows = [("train", "a", -1, "unknown_label"), ("train", "a", 0, ""), ("train", "b", -1, "unknown_label")]

    assert mark(*rows, ("evaluation", "b", 1, "")) == (["unknown_label", "", "unknown_label", ""], [])


def test_texts_that_agree_in_half_of_their_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = {b"a": 1, b"b": 2, b"c": 1}
    monkeypatch.setattr("xxhash.xxh3_128_digest", lambda text: bytes(8) + halves[text].to_bytes(8, "little"))
    rows = [("train", text, 0, "") for text in ("a", "b", "a", "b", "c")]

    assert mark(*rows)[0] == ["", "", "duplicate", "duplicate", "duplicate"]


@pytest.mark.parametrize("spool_bytes", [1, 1 << 20])
def test_many_rows_give_what_a_dictionary_gives(monkeypatch: pytest.MonkeyPatch, spool_bytes: int) -> None:
    monkeypatch.setattr("include.classifier.data.repeated._SPOOL_BYTES", spool_bytes)
    rng = random.Random(1)
    splits = ["train"] * 3000 + ["evaluation"] * 1000
    rows = [(split, str(rng.randrange(3000)), rng.randrange(3), "") for split in splits]
    first: dict[tuple[str, str], int] = {}
    reasons, contradicting = [], []
    for position, (split, text, index, _) in enumerate(rows):
        if (split, text) in first:
            reasons.append("duplicate")
            contradicting += [position] * (index != first[split, text])
        else:
            reasons.append("leaked" if ("train", text) in first else "")
            first[split, text] = index

    assert {"", "duplicate", "leaked"} == set(reasons)
    assert mark(*rows, batch_rows=700) == (reasons, contradicting)


def test_hashes_go_to_disk_and_only_what_is_little_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.classifier.data.repeated._SPOOL_BYTES", 24 * 100)
    with TextIndex() as index:
        for begin in range(0, 40_000, 1000):
            index.add(pa.array([str(begin + number) for number in range(1000)]), np.arange(begin, begin + 1000))

        assert all(part._rolled for part in index._parts)  # 40,000 texts in 128 parts: more than 100 in each
