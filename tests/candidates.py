"""Documents of candidates, as the training pipeline writes them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.contracts.kinds.text_classifier import TextClassifierCandidate

MODEL, VERSION, LIVE = "reviews", "20260102000000", "20260101000000"
UNCHANGED = {"difference": 0.0, "low": 0.0, "high": 0.0}


def scores(macro_f1: float = 0.9, **changes: Any) -> dict[str, Any]:
    """Return the scores of a model."""
    figures = {"accuracy": 0.9, "macro_f1": macro_f1, "log_loss": 0.3, "expected_calibration_error": 0.04}
    return {"version": None, **figures, "per_class": {}, "slices": [], **changes}


def comparison(**changes: Any) -> dict[str, Any]:
    """Return what a candidate is against the live model: the same, but for what is given."""
    return {
        "version": LIVE,
        "rows": 150,
        "confidence": 0.95,
        "resamples": 2000,
        "macro_f1": UNCHANGED,
        "accuracy": UNCHANGED,
        "mcnemar": {"candidate_only": 0, "live_only": 0, "p_value": 1.0},
        "per_class": {},
        "slices": [],
        "latency_ms": {"candidate": 4.0, "live": 4.0},
        "size_bytes": {"candidate": 4_000_000, "live": 4_000_000},
        "disagreements": [],
        **changes,
    }


def shadow(**changes: Any) -> dict[str, Any]:
    """Return what became of captured requests that a candidate was asked again; nothing, but for what is given."""
    return {
        "live_version": LIVE,
        "asked_for": 500,
        "days": 7,
        "confidence": 0.95,
        "requests": 500,
        "rows": 520,
        "first": "2026-01-01T00:10:00.000Z",
        "last": "2026-01-02T00:00:00.000Z",
        "other_versions": 0,
        "without_texts": 0,
        "without_answers": 0,
        "broken_lines": 0,
        "is_cut": False,
        "changed": None,
        "changed_rows": 0,
        "mean_probability_change": 0.0,
        "labels": [],
        "slices": [],
        "moved": [],
        "why_not": "",
        **changes,
    }


def document(
    own: Mapping[str, Any] | None = None,
    live: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return a ``candidate.json``.

    :param own: scores of the candidate.
    :param live: scores of the live model that it was compared with.
    :param baseline: scores of the baseline.
    :param changes: fields of the document.
    """
    version = changes.get("version", VERSION)
    return {
        "schema_version": 1,
        "model": MODEL,
        "version": version,
        "created_at": "2026-01-02T00:10:00+00:00",
        "archive": {"uri": f"s3://models/{version}", "file": "m.mar", "sha256": "a" * 64, "size_bytes": 9},
        "labels": ["bad", "good"],
        "dataset": {"uri": "s3://data/1", "sha256": "b" * 64, "train_rows": 600, "evaluation_rows": 150},
        "metrics": {
            "candidate": {**(own or scores()), "version": version},
            "live": live and {**live, "version": LIVE},
            "baseline": baseline or scores(0.5),
        },
        "golden_examples": [{"text": "a private text", "label": "good", "probabilities": {"bad": 0.1, "good": 0.9}}],
        "serving": {
            "load_seconds": 3,
            "p50_ms": 5,
            "p95_ms": 8,
            "parity_rows": 9,
            "largest_difference": 0,
            "precision": {"chosen": "onnx-int8", "reason": "fastest", "rows": 9, "measured": []},
        },
        "training": {
            "base_model": "scratch",
            "base_model_revision": None,
            "parameters": {"seed": 42},
            "seconds": 9,
            "samples_per_second": 99,
            "epochs_run": 3,
        },
        "report_uri": f"s3://models/{version}/report/report.html",
        "code_revision": "c0ffee",
        "packages": {},
        "tracking_run_id": None,
        **changes,
    }


def candidate(*arguments: Any, **changes: Any) -> TextClassifierCandidate:
    """Return what :func:`document` says."""
    return TextClassifierCandidate.read(document(*arguments, **changes), where="made in a test")
