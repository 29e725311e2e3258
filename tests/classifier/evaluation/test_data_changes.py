"""A release's data set is held against the live version's, wherever that lies, and never ends a release by itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import Split, write_dataset
from include.classifier.evaluation.data_changes import data_changes
from tests import candidates

NONE = {reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")}
WORDS = ["food", "place", "waiter", "good", "bad", "slow", "quick", "never", "again", "very"]
OTHERS = ["battery", "screen", "charger", "cable", "case"]


def write(folder: Path, words: list[str], *, seed: int = 1, rows: int = 300) -> str:
    """Write a data set of made-up texts and return the URI of its document."""
    draw = random.Random(seed)
    splits = {
        name: Split([" ".join(draw.choices(words, k=8)) for _ in range(rows)], [row % 2 for row in range(rows)])
        for name in ("train", "evaluation")
    }
    write_dataset(
        folder.as_uri(),
        model="reviews",
        label_names=["bad", "good"],
        splits=splits,
        sources=[],
        rows_in=2 * rows,
        dropped=NONE,
        columns={"text": ["text"], "label": ["text"]},
    )
    return f"{folder.as_uri()}/dataset.json"


@pytest.fixture
def live(tmp_path: Path) -> tuple[Path, str]:
    """Return the folder of the live version, and its package."""
    folder = tmp_path / "store" / candidates.LIVE
    package = (folder / "attempt-2" / "package").as_uri()
    uri = write(folder / "dataset", WORDS)
    archive = {"uri": package, "file": "m.mar", "sha256": "a" * 64, "size_bytes": 9}
    trained_on = {"uri": uri, "sha256": "b" * 64, "train_rows": 300, "evaluation_rows": 300}
    document = candidates.document(version=candidates.LIVE, archive=archive, dataset=trained_on)
    (folder / "candidate.json").write_text(json.dumps(document), encoding="utf-8")
    return folder, package


def by_name(found: dict[str, Any] | None) -> dict[str, float]:
    assert found is not None
    return {each["name"]: each["distance"] for each in found["changes"]}


def test_newer_rows_of_the_same_sort_have_not_changed(live: tuple[Path, str], tmp_path: Path) -> None:
    found = data_changes(write(tmp_path / "new", WORDS, seed=2), live[1])

    assert found is not None and (found["version"], found["not_compared"]) == (candidates.LIVE, "")
    assert by_name(found)["unknown_words"] == 0
    assert all(distance < 0.1 for distance in by_name(found).values())


def test_words_that_the_live_version_has_never_seen_are_seen(
    live: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = data_changes(write(tmp_path / "new", WORDS[:5] + OTHERS, seed=2), live[1])

    assert by_name(found)["unknown_words"] == pytest.approx(0.5, abs=0.05)
    assert "unknown words 0.5" in capsys.readouterr().out
    assert not any(word in json.dumps(found) for word in OTHERS)


def test_a_data_set_that_is_gone_is_told_and_no_error(live: tuple[Path, str], tmp_path: Path) -> None:
    new = write(tmp_path / "new", WORDS, seed=2)
    (live[0] / "dataset" / "train.parquet").unlink()
    without_rows = data_changes(new, live[1])
    (live[0] / "dataset" / "dataset.json").unlink()
    without_anything = data_changes(new, live[1])

    assert without_rows and "words" in without_rows["not_compared"] and "classes" in by_name(without_rows)
    assert without_anything and "not there any more" in without_anything["not_compared"]
    assert without_anything["changes"] == []


def test_of_a_package_that_nobody_knows_nothing_is_said(live: tuple[Path, str], tmp_path: Path) -> None:
    new = write(tmp_path / "new", WORDS)
    assert data_changes(new, "") is None
    assert data_changes(new, (tmp_path / "elsewhere" / "package").as_uri()) is None
    assert data_changes(new, (live[0] / "attempt-1" / "package").as_uri()) is None  # another attempt's
