"""What a search has found: each trial against the present settings, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from typing import Any

from include.classifier.evaluation.paired_statistics import differences
from include.classifier.metrics import Classes
from include.classifier.search.searching import SearchError, best_of
from include.classifier.search.trials import EndedTrial
from include.contracts.search.document import PRESENT
from include.contracts.search.settings import SearchConfig, Space

#: Drawn for each interval: the tail of one that holds for many trials at once is thin.
RESAMPLES = 10_000

_PACKAGES = ("torch", "transformers", "tokenizers", "optuna")


def findings(
    trials: Sequence[EndedTrial],
    *,
    config: SearchConfig,
    space: Space,
    truth: Classes,
    n_classes: int,
    confidence: float,
    importance: Mapping[str, float],
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Return the part of ``search.json`` that says what was found.

    The best of twenty is better on the rows that have chosen it than on others, so the intervals of the differences
    hold for all finished trials together (Bonferroni).

    :param truth: class indices of the held-out rows, shape ``(n_rows,)``.
    :param confidence: of all intervals together.
    :raises SearchError: when no trial was finished.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    best = best_of(trials, config)
    if best is None:
        reasons = "; ".join(f"trial {trial.number}: {trial.reason}" for trial in trials[:3])
        raise SearchError(f"No trial was finished ({reasons}). Widen the bounds, or give the search more time.")
    present = next((trial for trial in trials if trial.number == PRESENT), None)
    changes: dict[int, dict[str, float]] = {}
    if present is not None and present.predicted is not None:
        compared = [trial for trial in trials if trial.number != PRESENT and trial.predicted is not None]
        shared = 1 - (1 - confidence) / max(1, len(compared))
        for trial in compared:
            assert trial.predicted is not None
            found = differences(
                truth, trial.predicted, present.predicted, n_classes=n_classes, confidence=shared, resamples=resamples
            )
            changes[trial.number] = found.macro_f1._asdict()
    change = changes.get(best.number)
    return {
        "objective": config.objective,
        "early_stop": config.early_stop,
        "seed": config.seed,
        "space": {name: values.model_dump(exclude_none=True) for name, values in space.items()},
        "confidence": confidence,
        "trials": [_trial(trial, changes.get(trial.number)) for trial in trials],
        "best": best.number,
        "is_better": best.number != PRESENT,
        "is_shown": change is not None and change["low"] > 0,
        "importance": dict(importance),
    }


def heading(model: str, search: str, dataset: Mapping[str, Any], *, uri: str, validation_rows: int) -> dict[str, Any]:
    """Return the part of ``search.json`` that says what was searched, and with what.

    :param dataset: content of ``dataset.json``.
    """
    return {
        "schema_version": 1,
        "model": model,
        "search": search,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": {
            "uri": uri,
            "sha256": dataset["sha256"],
            "train_rows": dataset["splits"]["train"]["rows"] - validation_rows,
            "validation_rows": validation_rows,
        },
        "packages": {name: package_version(name) for name in _PACKAGES},
    }


def _trial(trial: EndedTrial, change: Mapping[str, float] | None) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "settings": dict(trial.settings),
        "value": trial.value,
        "epochs": trial.epochs,
        "seconds": trial.seconds,
        "reason": trial.reason,
        "same_as": trial.same_as,
        "tracking_run_id": trial.tracking_run_id,
        "difference": dict(change) if change else None,
    }
