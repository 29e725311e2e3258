"""An older model that has become worse is shown to be, with an interval; one that has not is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from include.classifier.data.dataset import Split, write_dataset
from include.classifier.data.problems import DataError
from include.classifier.lookback.staleness import KeptVersion, curve, main, stale_after, staleness, table
from include.classifier.packaging.archive import build_archive
from tests.classifier.conftest import LABELS, WORDS, write_tiny_model

VERSIONS = [f"2026{month:02}01000000" for month in range(6, 0, -1)]  # the newest first
#: Fewer than a release draws: a test repeats them.
DRAWS = 1000
SVG = "{http://www.w3.org/2000/svg}"


def decaying(seed: int, skills: dict[str, float], rows: int = 600) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return true classes, and what each version predicts that is right about so often."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, rows)
    hard = random.random(rows)
    return truth, {
        version: np.where(hard * 0.8 + random.random(rows) * 0.2 < skill, truth, (truth + 1) % 3)
        for version, skill in skills.items()
    }


def test_a_planted_decay_is_shown_with_the_age_from_which_on() -> None:
    skills = dict(zip(VERSIONS, (0.9, 0.9, 0.89, 0.8, 0.7, 0.6), strict=True))
    ages = []
    for seed in range(10):
        truth, answers = decaying(seed, skills)
        points = curve(truth, answers, n_classes=3, resamples=DRAWS)
        assert [point["version"] for point in points] == VERSIONS
        assert [round(point["age_days"]) for point in points] == [0, 31, 61, 92, 120, 151]
        assert points[0]["difference"] is None
        for point in points[3:]:
            assert point["is_worse"] and point["difference"]["high"] < 0
            assert point["macro_f1_interval"]["low"] < point["macro_f1"] < point["macro_f1_interval"]["high"]
        ages.append(stale_after(points))
    assert sorted(ages)[5] == pytest.approx(92, abs=1)


def test_versions_that_are_as_good_are_seldom_said_to_be_worse() -> None:
    claimed = 0
    for seed in range(20):
        truth, answers = decaying(seed, dict.fromkeys(VERSIONS, 0.85), rows=400)
        claimed += stale_after(curve(truth, answers, n_classes=3, resamples=DRAWS)) is not None
    assert claimed <= 3


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return two models in their archives, and rows that the newer one answers rightly: the older has decayed."""
    from include.classifier.serving.predictor import Predictor

    folder = tmp_path_factory.mktemp("kept")
    versions = []
    for seed, version in ((1, VERSIONS[0]), (2, VERSIONS[3])):
        model = write_tiny_model(folder / f"model-{seed}", seed=seed)
        archive = build_archive(
            model, model="reviews", version=version, target=folder / version / "model-store" / "reviews.mar"
        )
        versions.append(KeptVersion(version, (folder / version).as_uri(), archive.sha256))
    random = np.random.default_rng(1)
    texts = sorted({" ".join(random.choice(WORDS, 6)) for _ in range(120)})
    labels = [LABELS.index(answer.label) for answer in Predictor.load(folder / "model-1").predict(texts)]
    seen, mixed = texts[:5], {"train": Split([*texts[:5], "never seen"], [*labels[:5], 0])}
    for name, splits in {"newest": {"train": Split(["x"], [0])}, "older": mixed}.items():
        write_dataset(
            (folder / name).as_uri(),
            model="reviews",
            label_names=LABELS,
            splits=splits | {"evaluation": Split(texts, labels)},
            sources=[],
            rows_in=len(texts) + 1,
            dropped={
                reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")
            },
        )
    versions[1] = versions[1]._replace(dataset_uri=(folder / "older").as_uri())
    return {"folder": folder, "versions": versions, "texts": texts, "seen": seen}


@pytest.mark.long
@pytest.mark.computes
def test_kept_archives_are_asked_about_rows_that_none_was_trained_on(
    kept: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = KeptVersion(VERSIONS[5], (tmp_path / "gone").as_uri(), dataset_uri=(tmp_path / "no.json").as_uri())
    given = {
        "rows-uri": (kept["folder"] / "newest").as_uri(),
        "output-uri": (tmp_path / "staleness").as_uri(),
        "versions": json.dumps([version._asdict() for version in [gone, *kept["versions"]]]),
        "model": "reviews",
    }
    for _ in range(2):  # measured again it is the same entry of the history
        assert main([part for name, value in given.items() for part in (f"--{name}", value)]) == 0

    document = json.loads((tmp_path / "staleness" / "staleness.json").read_text())
    assert document["rows"]["trained_on"] == len(kept["seen"])
    assert document["rows"]["rows"] == len(kept["texts"]) - len(kept["seen"])
    newest, older = document["points"]
    assert (newest["macro_f1"], newest["is_worse"], older["is_worse"]) == (1.0, False, True)
    assert document["stale_after_days"] == pytest.approx(92)
    assert [note.split(" ")[0] for note in document["notes"]] == ["what", VERSIONS[5]]
    (entry,) = json.loads((tmp_path / "staleness" / "history.json").read_text())
    assert entry["stale_after_days"] == document["stale_after_days"]

    picture = ElementTree.parse(tmp_path / "staleness" / "curve.svg").getroot()
    assert [circle.get("class") for circle in picture.iter(f"{SVG}circle")] == ["candidate", "worse"]
    page = (tmp_path / "staleness" / "report.html").read_text()
    assert "to be worse than the newest from <b>92.0 days</b> on" in page
    assert "<script" not in page
    printed = capsys.readouterr().out
    assert "reviews: shown to be worse from 92.0 days on" in printed
    assert not any(text in printed + page for text in kept["texts"])


@pytest.mark.computes
def test_what_cannot_be_measured_is_said(kept: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    rows_uri = (kept["folder"] / "newest").as_uri()
    with pytest.raises(DataError, match=r"cannot be read .* needs two versions"):
        others = [kept["versions"][0], KeptVersion(VERSIONS[5], (tmp_path / "gone").as_uri())]
        staleness("reviews", others, rows_uri=rows_uri, output_uri=tmp_path.as_uri())
    with pytest.raises(DataError, match="took part in no training"):
        staleness(
            "reviews",
            [kept["versions"][0]._replace(dataset_uri=_with_all_rows_trained_on(kept, tmp_path)), kept["versions"][1]],
            rows_uri=rows_uri,
            output_uri=tmp_path.as_uri(),
        )
    arguments = ["--model", "reviews", "--versions", "[{}]", "--rows-uri", rows_uri, "--output-uri", str(tmp_path)]
    assert main(arguments) == 2
    assert "Not measured" in capsys.readouterr().err
    assert not (tmp_path / "staleness.json").exists()


def _with_all_rows_trained_on(kept: dict[str, Any], folder: Path) -> str:
    write_dataset(
        folder.as_uri(),
        model="reviews",
        label_names=LABELS,
        splits={"train": Split(kept["texts"], [0] * len(kept["texts"])), "evaluation": Split(["x"], [0])},
        sources=[],
        rows_in=1,
        dropped={reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")},
    )
    return folder.as_uri()


def test_the_table_says_when_nothing_is_worse() -> None:
    truth, answers = decaying(1, dict.fromkeys(VERSIONS[:2], 0.9))
    points = curve(truth, answers, n_classes=3, resamples=DRAWS)
    document = {
        "model": "reviews",
        "points": points,
        "rows": {"rows": 600, "trained_on": 0},
        "notes": [],
        "stale_after_days": stale_after(points),
    }
    assert list(table(document))[-1] == "reviews: no version is shown to be worse"
