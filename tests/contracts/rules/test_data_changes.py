"""How a data set differs from the live version's: ordinary growth is within the defaults, what was planted is not."""

from __future__ import annotations

from typing import Any

import pytest

from include.contracts.data.changes import DataChangeConfig, DataChanges
from include.contracts.data.profile import LENGTHS
from include.contracts.dataset import Dataset
from include.contracts.rules.data_changes import changes_of

LIVE = "20260101000000"


def dataset(**changes: Any) -> Dataset:
    """Return what preprocessing has written of a thousand rows."""
    given = {
        "labels": {"bad": 480, "good": 520},
        "median": 64,
        "scripts": {"Latin": 0.97, "none": 0.03},
        "columns": {"text": ["text"], "label": ["whole number"]},
        "empty": 10,
        "duplicate": 40,
        "profile": True,
    } | changes
    rows = sum(given["labels"].values())
    profile = {
        "rows": rows,
        "quantiles": [given["median"] // 4, given["median"] // 2, given["median"], given["median"] * 2, 1000],
        # Lengths that double with each quarter of the rows or so.
        "up_to": [min(1.0, max(0.0, 0.5 + 0.1 * (power - _power(given["median"])))) for power in range(len(LENGTHS))],
        "scripts": given["scripts"],
    }
    split = {
        "uri": "s3://data/a.parquet",
        "rows": rows,
        "label_counts": given["labels"],
        "sha256": "a" * 64,
        "profile": profile if given["profile"] else None,
    }
    none = {"train": 0, "evaluation": 0}
    return Dataset.model_validate(
        {
            "schema_version": 1,
            "model": "reviews",
            "created_at": "2026-01-01T00:00:00+00:00",
            "labels": list(given["labels"]),
            "splits": {"train": split, "evaluation": split},
            "sources": [],
            "columns": given["columns"],
            "rows_in": rows + 50,
            "rows_kept": rows,
            "dropped": {
                "empty": none | {"train": given["empty"]},
                "unknown_label": none,
                "duplicate": none | {"train": given["duplicate"]},
                "leaked": none,
            },
            "sha256": "b" * 64,
        }
    )


def _power(median: int) -> int:
    return next(place for place, length in enumerate(LENGTHS) if length >= median)


def compared(*, candidate: Dataset, live: Dataset | None = None) -> DataChanges:
    return DataChanges(version=LIVE, changes=list(changes_of(candidate, live or dataset())))


def names(found: DataChanges, **tolerated: Any) -> list[str]:
    return [each.name for each in found.above(DataChangeConfig.model_validate(tolerated))]


def test_the_same_data_have_not_changed() -> None:
    found = compared(candidate=dataset())
    assert {each.name for each in found.changes} == {
        "columns", "labels", "classes", "lengths", "scripts", "missing", "duplicates",
    }  # fmt: skip
    assert all(each.distance == 0 for each in found.changes)
    assert found.line() == "as they were"


def test_ordinary_growth_is_within_the_defaults() -> None:
    grown = dataset(labels={"bad": 5400, "good": 4600}, median=68, scripts={"Latin": 0.93, "none": 0.07}, empty=60)
    assert names(compared(candidate=grown)) == []


@pytest.mark.parametrize(
    ("planted", "name", "before", "now"),
    [
        ({"columns": {"text": ["text"], "label": ["text"]}}, "columns", "label (whole number)", "label (text)"),
        ({"labels": {"bad": 480, "great": 520}}, "labels", "bad, good", "bad, great"),
        ({"labels": {"bad": 200, "good": 800}}, "classes", "good 52.0%, bad 48.0%", "good 80.0%, bad 20.0%"),
        ({"median": 512}, "lengths", "median 64 characters", "median 512 characters"),
        ({"scripts": {"Latin": 0.6, "Cyrillic": 0.4}}, "scripts", "Latin 97.0%", "Latin 60.0%, Cyrillic 40.0%"),
        ({"empty": 400}, "missing", "1.0%", "38.1%"),
        ({"duplicate": 400}, "duplicates", "3.8%", "38.1%"),
    ],
)
def test_what_was_planted_is_found_and_told_in_words(planted: dict[str, Any], name: str, before: str, now: str) -> None:
    found = compared(candidate=dataset(**planted))

    assert name in names(found)
    change = next(each for each in found.changes if each.name == name)
    assert before in change.live and now in change.candidate
    assert name in found.line()


def test_the_yaml_says_what_is_tolerated() -> None:
    found = compared(candidate=dataset(labels={"bad": 200, "good": 800}))
    assert names(found) == ["classes"]
    assert names(found, classes=0.3) == []
    assert names(found, classes="0.27") == ["classes"]


def test_what_only_one_of_them_has_counted_is_left_out() -> None:
    found = compared(candidate=dataset(), live=dataset(profile=False, columns={}))
    assert {each.name for each in found.changes} == {"labels", "classes", "missing", "duplicates"}
