"""A release of a real, small model: its data set, its package, and requests as a server's recorder writes them.

What users send is first like the data set and then shifted, and each is compared with it.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from include.capture.exchanges import Exchange
from include.capture.feed import Feed, Limits
from include.capture.recorder import Recorder
from include.classifier.data.dataset import Split, write_dataset
from include.classifier.evaluation.predictions import write_predictions
from include.classifier.packaging.archive import open_archive
from include.classifier.serving.predictor import Predictor
from include.contracts.monitoring.capture import ServedCapture
from include.contracts.monitoring.drift import DriftDocument
from include.monitoring.drift import main
from tests.classifier.conftest import LABELS
from tests.monitoring.support import MODEL, texts
from tests.real_package import publish
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.long

VERSION = "20261101000000"
FAST = Limits(write_seconds=0.01, file_seconds=3600)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def release(tmp_path: Path, random: np.random.Generator) -> tuple[Path, Predictor]:
    """Return the folder of the model, and what answers."""
    store = tmp_path / "store"
    publish(store, model=MODEL, version=VERSION, seed=1)
    folder = store / MODEL / VERSION
    unpacked = open_archive(str(folder / "model-store" / f"{MODEL}.mar"), tmp_path / "unpacked")
    predictor = Predictor.load(unpacked, device="cpu")
    splits = {name: texts(random, count) for name, count in (("train", 400), ("evaluation", 250))}
    dataset = write_dataset(
        f"{folder.as_uri()}/dataset",
        model=MODEL,
        label_names=LABELS,
        splits={name: Split(found, [0, 1] * (len(found) // 2)) for name, found in splits.items()},
        sources=[],
        rows_in=650,
        dropped={reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")},
    )
    answers = predictor.predict(splits["evaluation"])
    probabilities = np.array([[answer.probabilities[label] for label in LABELS] for answer in answers])
    write_predictions(
        np.zeros(250, dtype=np.int64), {"candidate": probabilities}, labels=LABELS, output_uri=folder.as_uri()
    )
    path = folder / "candidate.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["dataset"] |= {"sha256": dataset["sha256"], "train_rows": 400, "evaluation_rows": 250}
    document["report_uri"] = f"{folder.as_uri()}/report/report.html"
    path.write_text(json.dumps(document), encoding="utf-8")
    return store / MODEL, predictor


def replay(
    store: Path, predictor: Predictor, inputs: list[str], *, at: datetime, change: Any = lambda probability: probability
) -> None:
    """Answer texts and have them captured, a minute apart."""
    settings = ServedCapture(store=store.as_uri(), share=1.0, texts="hash")
    unpacked = next(store.parent.parent.glob("unpacked"))
    feed = Feed(FAST)
    recorder = Recorder(settings, model=MODEL, producer="test", feed=feed)
    for number, (text, answer) in enumerate(zip(inputs, predictor.predict(inputs), strict=True)):
        probabilities = {label: change(value) for label, value in answer.probabilities.items()}
        body = {
            "predictions": [
                {"label": answer.label, "probabilities": probabilities, "score": max(probabilities.values())}
            ]
        }
        recorder.offer(
            Exchange(
                id=f"{at:%d}-{number}",
                at=(at + timedelta(minutes=number)).timestamp(),
                version=VERSION,
                protocol="v1",
                latency_ms=2.0,
                request=json.dumps({"instances": [text]}).encode(),
                answer=json.dumps(body).encode(),
                folder=str(unpacked),
            )
        )
        while feed.waiting > 100:
            time.sleep(0.01)
    feed.close(LIMIT_SECONDS)


def look(store: Path, as_of: datetime) -> DriftDocument:
    arguments = ["--model", MODEL, "--version", VERSION, "--store-uri", store.as_uri(), "--as-of", as_of.isoformat()]
    candidate = f"{store.as_uri()}/{VERSION}/candidate.json"
    assert main([*arguments, "--settings", "{}", "--candidate-uri", candidate]) == 0
    path = store / "drift" / f"{as_of:%Y%m%d%H%M%S}" / "drift.json"
    return DriftDocument.parse(path.read_text(encoding="utf-8"), where=str(path))


def test_requests_like_the_data_set_are_no_drift_and_shifted_ones_are(release, random) -> None:
    store, predictor = release
    day = datetime(2026, 11, 3, tzinfo=UTC)
    replay(store, predictor, texts(random, 300), at=day)
    shifted = [f"{text}{' хорошо' * 30}" for text in texts(random, 300, longer=2)]
    replay(store, predictor, shifted, at=day + timedelta(days=1), change=lambda value: 0.5 + (value - 0.5) / 10)

    before, after = look(store, day + timedelta(days=1)), look(store, day + timedelta(days=2))

    assert (before.reference, before.requests, before.drifted) == ("training", 300, [])
    names = {each.name for each in before.features}
    assert names == {"characters", "words", "script", "digit_share", "unknown_share", "predicted label", "confidence"}
    assert {"characters", "words", "script", "unknown_share", "confidence"} <= {each.name for each in after.drifted}
    assert "хорошо" not in (store / "drift" / "20261105000000" / "report.html").read_text(encoding="utf-8")
