"""An evaluation of models that do not exist, with everything that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from include.classifier.evaluation.scoring import Evaluation
from include.classifier.metrics import confusion_matrix, length_slices, scores

VERSION, LIVE = "20261121030000", "20261114030000"


def made_up_evaluation(
    labels: Sequence[str], *, rows: int = 600, live: bool = True, texts: Sequence[str] = ()
) -> tuple[Evaluation, dict[str, Any]]:
    """Return an evaluation and the ``candidate.json`` that goes with it.

    :param texts: of the rows on which candidate and live model disagree.
    """
    random = np.random.default_rng(7)
    truth = random.integers(0, len(labels), rows)

    def answers(skill: float) -> np.ndarray:
        logits = random.normal(size=(rows, len(labels)))
        logits[np.arange(rows), truth] += skill
        near = np.exp(logits)
        return near / near.sum(axis=1, keepdims=True)

    who = {"candidate": 3.2, "baseline": 2.0} | ({"live": 2.9} if live else {})
    probabilities = {name: answers(skill + len(labels) ** 0.5 / 4) for name, skill in who.items()}
    sentences = [f"text {'word ' * int(length)}" for length in random.integers(1, 60, rows)]
    metrics: dict[str, Any] = {"candidate": None, "live": None, "baseline": None} | {
        name: scores(
            truth,
            found,
            labels=labels,
            slices=length_slices(sentences),
            version={"candidate": VERSION, "live": LIVE, "baseline": None}[name],
        )
        for name, found in probabilities.items()
    }
    comparison = _comparison(labels, metrics, texts, rows) if live else None
    matrix = confusion_matrix(truth, probabilities["candidate"].argmax(axis=1), len(labels))
    found = Evaluation(metrics, matrix, truth, probabilities, comparison)
    return found, _document(labels, found, rows)


def _comparison(labels: Sequence[str], metrics: dict[str, Any], texts: Sequence[str], rows: int) -> dict[str, Any]:
    one, other = metrics["candidate"], metrics["live"]

    def difference(candidate: float, live: float, width: float) -> dict[str, float]:
        middle = candidate - live
        return {"difference": middle, "low": max(-1.0, middle - width), "high": min(1.0, middle + width)}

    return {
        "version": LIVE,
        "rows": rows,
        "confidence": 0.95,
        "resamples": 2000,
        "macro_f1": difference(one["macro_f1"], other["macro_f1"], 0.02),
        "accuracy": difference(one["accuracy"], other["accuracy"], 0.02),
        "mcnemar": {"candidate_only": 31, "live_only": 12, "p_value": 0.0061},
        "per_class": {
            label: difference(one["per_class"][label]["f1"], other["per_class"][label]["f1"], 0.05) for label in labels
        },
        "slices": [
            {
                "name": each["name"],
                "rows": each["rows"],
                "macro_f1": difference(each["macro_f1"], there["macro_f1"], 0.04),
            }
            for each, there in zip(one["slices"], other["slices"], strict=True)
        ],
        "latency_ms": {"candidate": 4.2, "live": 4.0},
        "size_bytes": {"candidate": 4_400_000, "live": 4_100_000},
        "disagreements": [
            {
                "text": text,
                "label": labels[0],
                "candidate": labels[number % 2],
                "live": labels[1 - number % 2],
                "candidate_probability": 0.93,
                "live_probability": 0.71,
            }
            for number, text in enumerate(texts)
        ],
    }


def _document(labels: Sequence[str], found: Evaluation, rows: int) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "model": "reviews",
        "version": VERSION,
        "created_at": "2026-11-21T03:10:00+00:00",
        "archive": {
            "uri": f"s3://models/reviews/{VERSION}/package",
            "file": "model-store/reviews.mar",
            "sha256": "a" * 64,
            "size_bytes": 4_400_000,
        },
        "labels": list(labels),
        "dataset": {
            "uri": f"s3://models/reviews/{VERSION}/dataset/dataset.json",
            "sha256": "b" * 64,
            "train_rows": 6000,
            "evaluation_rows": rows,
        },
        "metrics": found.metrics,
        "comparison": found.comparison,
        "golden_examples": [
            {"text": "a golden example", "label": labels[0], "probabilities": dict.fromkeys(labels, 0.0)}
        ],
        "serving": {"load_seconds": 3.1, "p50_ms": 5.2, "p95_ms": 8.4, "parity_rows": 9, "largest_difference": 0},
        "training": {
            "base_model": "scratch",
            "base_model_revision": None,
            "parameters": {"seed": 42, "epochs": 5, "learning_rate": 0.0015, "class_weights": None},
            "seconds": 9.4,
            "samples_per_second": 812.5,
            "epochs_run": 5,
        },
        "code_revision": "c0ffee",
        "packages": {"torch": "2.13.0", "transformers": "5.0.0"},
        "tracking_run_id": None,
    }
