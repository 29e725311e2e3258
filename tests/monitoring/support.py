"""Captured requests as a server's recorder leaves them, and a release to compare them with."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from include.contracts.monitoring.captured import CapturedRequest
from include.contracts.monitoring.features import features_of
from include.contracts.monitoring.layout import written_at

MODEL, VERSION = "reviews", "20261101000000"

_WORDS = ["the", "food", "was", "really", "great", "and", "our", "waiter", "very", "friendly", "but", "slow", "today"]


def texts(random: np.random.Generator, count: int, *, longer: float = 1.0) -> list[str]:
    """Return texts of a dozen words or so."""
    sizes = np.maximum(1, np.round(random.lognormal(2.5, 0.5, count) * longer)).astype(int)
    return [" ".join(random.choice(_WORDS, size)) for size in sizes]


def request(
    number: int, at: datetime, inputs: list[Any], *, labels: list[str], confidences: list[float], **given: Any
) -> dict[str, Any]:
    """Return a captured request."""
    rows = [
        {
            "input": each if given.get("keep") else None,
            "features": features_of(each),
            "output": label,
            "confidence": confidence,
            "probabilities": None,
        }
        for each, label, confidence in zip(inputs, labels, confidences, strict=True)
    ]
    document = {
        "schema_version": 1,
        "id": f"request-{number}",
        "at": written_at(at),
        "model": MODEL,
        "version": VERSION,
        "protocol": "v1",
        "status": 200,
        "latency_ms": 3.5,
        "rows": rows,
    } | {name: value for name, value in given.items() if name != "keep"}
    CapturedRequest.model_validate(document)
    return document


def capture(
    store: Path,
    random: np.random.Generator,
    *,
    first: datetime,
    count: int,
    longer: float = 1.0,
    sure: float = 8.0,
    bad: float = 0.5,
    numbers_from: int = 0,
    **given: Any,
) -> list[dict[str, Any]]:
    """Write requests of one text each, a minute apart; return them.

    :param longer: how much longer the texts are. :param sure: the confidences are those of Beta(this, 2).
    :param bad: share of the label ``bad``.
    """
    inputs = texts(random, count, longer=longer)
    labels = np.where(random.random(count) < bad, "bad", "good").tolist()
    confidences = random.beta(sure, 2, count).tolist()
    found = [
        request(
            numbers_from + number,
            first + timedelta(minutes=number),
            [text],
            labels=[labels[number]],
            confidences=[confidences[number]],
            **given,
        )
        for number, text in enumerate(inputs)
    ]
    write(store, found)
    return found


def write(store: Path, requests: list[dict[str, Any]], name: str = "test-1") -> None:
    """Write captured requests into the files of their days."""
    days: dict[str, list[str]] = {}
    for each in requests:
        days.setdefault(each["at"][:10], []).append(json.dumps(each))
    for day, lines in days.items():
        folder = store / "captured" / day
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        (folder / f"{name}-{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
