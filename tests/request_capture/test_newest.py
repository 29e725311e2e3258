"""The newest captured requests are found within bounds, and what cannot be asked again is counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.contracts.monitoring.captured import CapturedRequest, ReadingCounts
from include.contracts.monitoring.layout import written_at
from include.contracts.monitoring.newest import Newest, is_whole, newest_requests

LIVE, OTHER = "20261121030000", "20261114030000"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SHA = {"sha256": "a" * 64}


def request(name: str, *, hours_ago: float, version: str | None = LIVE, given: Any = "a text") -> dict[str, Any]:
    row = {"input": given, "features": {}, "output": "good", "confidence": 0.9, "probabilities": None}
    return {
        "schema_version": 1,
        "id": name,
        "at": written_at(NOW - timedelta(hours=hours_ago)),
        "model": "reviews",
        "version": version,
        "protocol": "v1",
        "status": 200,
        "latency_ms": 3.5,
        "rows": [row],
    }


def write(store: Path, requests: list[dict[str, Any]], name: str = "one-1.jsonl", *, broken: int = 0) -> None:
    for each in requests:
        folder = store / "captured" / each["at"][:10]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(each) + "\n" + "{no JSON\n" * broken)


def has_text(request: CapturedRequest) -> bool:
    return isinstance(request.rows[0].input, str)


def newest(store: Path, counts: ReadingCounts | None = None, **options: Any) -> Newest:
    given: dict[str, Any] = {"most": 3, "back_days": 7, "now": NOW, "can_be_asked": has_text} | options
    return newest_requests(store, given.pop("version", LIVE), counts=counts or ReadingCounts(), **given)


def names(found: Newest) -> list[str]:
    return [each.id for each in found.requests]


def test_they_are_the_newest_of_all_producers_in_the_order_of_their_times(tmp_path: Path) -> None:
    write(tmp_path, [request(f"a{hours}", hours_ago=hours) for hours in (1, 3, 5)], "a-1.jsonl")
    write(tmp_path, [request(f"b{hours}", hours_ago=hours) for hours in (2, 4, 30)], "b-1.jsonl")

    assert names(newest(tmp_path)) == ["a1", "b2", "a3"]
    assert names(newest(tmp_path, most=99)) == ["a1", "b2", "a3", "b4", "a5", "b30"]


def test_an_earlier_day_is_read_only_where_the_later_ones_have_too_few(tmp_path: Path) -> None:
    write(tmp_path, [request(str(hours), hours_ago=hours) for hours in (1, 2, 30, 200)])
    counts = ReadingCounts()

    assert names(newest(tmp_path, counts, most=2)) == ["1", "2"]
    assert counts.requests == 2
    assert names(newest(tmp_path)) == ["1", "2", "30"], "the last is of more than a week ago"
    assert names(newest(tmp_path, most=9)) == ["1", "2", "30"]


def test_what_cannot_be_asked_again_is_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        [
            request("kept", hours_ago=1),
            request("hashed", hours_ago=2, given=SHA),
            request("dropped", hours_ago=3, given=None),
            request("other", hours_ago=4, version=OTHER),
            request("nobody-says", hours_ago=5, version=None),
            request("no-label", hours_ago=6),
        ],
    )
    found = newest(tmp_path, has_answer=lambda request: request.id != "no-label")

    assert names(found) == ["kept"]
    assert (found.without_inputs, found.other_versions, found.without_answers) == (2, 2, 1)
    assert not found.is_cut


def test_ids_with_spaces_are_broken_lines_and_so_is_what_is_no_json(tmp_path: Path) -> None:
    counts = ReadingCounts()
    write(tmp_path, [request("kept", hours_ago=1), request("no id", hours_ago=1)], broken=2)

    assert names(newest(tmp_path, counts)) == ["kept"]
    assert counts.broken_lines == 5


def test_whoever_has_answered_counts_where_no_version_is_named(tmp_path: Path) -> None:
    write(tmp_path, [request("one", hours_ago=1, version=None), request("other", hours_ago=2, version=OTHER)])

    assert names(newest(tmp_path, version=None)) == ["one", "other"]


@pytest.mark.parametrize("bound", ["most_bytes", "most_held_bytes"])
def test_what_is_read_and_held_is_bounded(tmp_path: Path, bound: str) -> None:
    write(tmp_path, [request(str(number), hours_ago=1 + number / 100, given="x" * 1000) for number in range(50)])
    counts = ReadingCounts()

    found = newest(tmp_path, counts, most=50, **{bound: 10_000})
    assert found.is_cut
    assert 5 <= len(found.requests) <= 11
    assert counts.bytes < 12_000 if bound == "most_bytes" else names(found)[0] == "0"
    assert not newest(tmp_path, most=50).is_cut


def test_lines_that_are_none_count_for_the_bound_as_well(tmp_path: Path) -> None:
    counts = ReadingCounts()
    write(tmp_path, [request("first", hours_ago=1)], broken=10_000)

    assert newest(tmp_path, counts, most_bytes=5_000).is_cut
    assert counts.bytes < 6_000


def test_nothing_captured_is_no_error(tmp_path: Path) -> None:
    assert newest(tmp_path) == Newest()


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        ([5.1, 3], True),
        ({"age": 7, "city": "Ulm"}, True),
        ({"age": 7, "city": SHA}, False),
        ([1, [2, None]], False),
        (SHA, False),
        (None, False),
        ({"sha256": "mine", "more": 1}, True),
    ],
)
def test_an_instance_is_whole_where_nothing_was_hashed_or_dropped(value: Any, whole: bool) -> None:
    assert is_whole(value) is whole
