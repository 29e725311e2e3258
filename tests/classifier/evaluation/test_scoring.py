"""All three models are scored on the same rows, the packed one from its archive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from include.classifier.data.dataset import Split
from include.classifier.evaluation.scoring import LiveModelError, evaluate
from include.classifier.packaging.archive import ArchiveError, build_archive
from include.classifier.serving.predictor import Predictor

LABELS = ["bad", "fine", "très bon"]
TRAIN = Split(["bad food", "slow place", "the food", "very good", "good food"] * 3, [0, 0, 1, 2, 2] * 3)
EVALUATION = Split(
    ["good food", "bad place", "the place was slow", "never again", "quick and good", "was"], [2, 0, 0, 0, 2, 1]
)


def packed(model_dir: Path, store: Path, version: str) -> tuple[str, str]:
    """Return URI and digest of a package."""
    archive = build_archive(
        model_dir, model="reviews", version=version, target=store / version / "model-store" / "reviews.mar"
    )
    return (store / version).as_uri(), archive.sha256


def relabelled(model_dir: Path, folder: Path, labels: list[str]) -> Path:
    """Return a copy of the model whose classes have other names."""
    shutil.copytree(model_dir, folder)
    for name in ("classifier.json", "config.json"):
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        if name == "classifier.json":
            document["labels"] = labels
        else:
            document["id2label"] = dict(enumerate(labels))
            document["label2id"] = {label: index for index, label in enumerate(labels)}
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def candidate(tiny_model, tmp_path):
    return packed(tiny_model, tmp_path / "store", "20261121030000")


def scored(candidate: tuple[str, str], live_uri: str = ""):
    uri, sha256 = candidate
    return evaluate(
        uri,
        candidate_sha256=sha256,
        live_uri=live_uri,
        model="reviews",
        labels=LABELS,
        train=TRAIN,
        evaluation=EVALUATION,
    )


def test_the_packed_model_is_scored_and_not_the_checkpoint(candidate, tiny_model):
    found = scored(candidate)
    predictions = Predictor.load(tiny_model).predict(EVALUATION.texts)
    right = [
        LABELS.index(prediction.label) == label
        for prediction, label in zip(predictions, EVALUATION.labels, strict=True)
    ]
    assert found.metrics["candidate"]["accuracy"] == pytest.approx(np.mean(right))
    assert found.metrics["candidate"]["version"] == "20261121030000"
    assert found.metrics["live"] is None
    assert found.metrics["baseline"]["version"] is None
    assert found.confusion.sum() == len(EVALUATION.texts)
    assert found.comparison is None
    assert set(found.probabilities) == {"candidate", "baseline"}
    assert found.truth.tolist() == EVALUATION.labels


def test_a_live_model_with_its_labels_in_another_order_is_compared_by_name(candidate, tiny_model, tmp_path):
    reordered = relabelled(tiny_model, tmp_path / "reordered", [LABELS[2], LABELS[0], LABELS[1]])
    uri, _ = packed(reordered, tmp_path / "store", "20261114030000")
    found = scored(candidate, uri)
    live = found.metrics["live"]
    answers = [prediction.label for prediction in Predictor.load(reordered).predict(EVALUATION.texts)]
    right = [answer == LABELS[label] for answer, label in zip(answers, EVALUATION.labels, strict=True)]
    assert live["version"] == "20261114030000"
    assert live["accuracy"] == pytest.approx(np.mean(right))
    assert list(live["per_class"]) == LABELS
    predicted = [LABELS[label] for label in found.probabilities["live"].argmax(axis=1)]
    assert predicted == answers
    assert found.comparison["version"] == "20261114030000"
    assert found.comparison["accuracy"]["difference"] == pytest.approx(
        found.metrics["candidate"]["accuracy"] - live["accuracy"]
    )


def test_the_same_weights_packed_again_are_no_better_and_no_worse(candidate, tiny_model, tmp_path):
    uri, _ = packed(tiny_model, tmp_path / "store", "20261114030000")
    comparison = scored(candidate, uri).comparison
    assert comparison["macro_f1"] == {"difference": 0, "low": 0, "high": 0}
    archive = tmp_path / "store" / "20261114030000" / "model-store" / "reviews.mar"
    assert comparison["size_bytes"]["live"] == archive.stat().st_size
    assert all(milliseconds > 0 for milliseconds in comparison["latency_ms"].values())


def test_a_live_model_with_other_labels_is_left_out_and_said_so(candidate, tiny_model, tmp_path, capsys):
    uri, _ = packed(
        relabelled(tiny_model, tmp_path / "other", ["bad", "fine", "excellent"]), tmp_path / "store", "20261114030000"
    )
    found = scored(candidate, uri)
    assert found.metrics["live"] is found.comparison is None
    assert "live" not in found.probabilities
    assert "the candidate is not compared with it" in capsys.readouterr().out


def test_a_live_model_that_cannot_be_read_stops_the_release(candidate, tmp_path):
    with pytest.raises(LiveModelError, match="empty live_uri"):
        scored(candidate, (tmp_path / "gone").as_uri())


def test_an_archive_that_was_changed_after_packaging_is_refused(candidate):
    with pytest.raises(ArchiveError, match="changed after packaging"):
        scored((candidate[0], "0" * 64))


def test_no_text_is_printed(candidate, capsys):
    scored(candidate)
    printed = capsys.readouterr().out
    assert printed.count("evaluate:") >= 2
    assert not any(text in printed for text in EVALUATION.texts if " " in text)
