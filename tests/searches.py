"""Searches that were never searched: ``search.json`` for tests of whatever reads it."""

from __future__ import annotations

from typing import Any

SEARCH = "20261130090000"


def trial(number: int, value: float | None, state: str = "finished", **changes: Any) -> dict[str, Any]:
    """Return a trial, by default with present settings if its number is 0."""
    found = {
        "number": number,
        "state": state,
        "settings": {"learning_rate": 0.001 * (number + 1), "batch_size": 8},
        "value": value,
        "epochs": 3.0,
        "seconds": 1.5,
        "reason": "",
        "same_as": None,
        "tracking_run_id": None,
        "difference": None,
    }
    return found | changes


def search_document(**changes: Any) -> dict[str, Any]:
    """Return a search of three trials whose second is the best."""
    change = {"difference": 0.2, "low": 0.1, "high": 0.3}
    found = {
        "schema_version": 1,
        "model": "reviews",
        "search": SEARCH,
        "created_at": "2026-11-30T09:30:00+00:00",
        "dataset": {"uri": "file:///store/dataset.json", "sha256": "0" * 64, "train_rows": 480, "validation_rows": 120},
        "objective": "macro_f1",
        "early_stop": "median",
        "seed": 0,
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "batch_size": {"choices": [8, 16]}},
        "confidence": 0.95,
        "trials": [
            trial(0, 0.7),
            trial(1, 0.9, difference=change),
            trial(2, 0.3, "pruned", reason="worse than others"),
        ],
        "best": 1,
        "is_better": True,
        "is_shown": True,
        "importance": {"learning_rate": 0.8, "batch_size": 0.2},
        "ended_by": "trials",
        "seconds": 12.5,
        "code_revision": "abc123",
        "packages": {"optuna": "4.0.0"},
        "report_uri": "file:///store/report.html",
    }
    return found | changes
