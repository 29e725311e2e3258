"""The candidate against the live model: section ``comparison`` of ``candidate.json``."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from include.classifier.evaluation.paired_statistics import RESAMPLES, differences, mcnemar
from include.classifier.metrics import Classes, Probabilities, Slice

MAX_DISAGREEMENTS = 20

#: Texts that latency is measured with, one at a time and so often; the first ones are asked before, to warm up.
_LATENCY_TEXTS = 16
_LATENCY_REPEATS = 5
_WARM_UP_TEXTS = 3

#: Probabilities that lie closer together come from the same weights: other batches move float32 sums that much.
_SAME_PROBABILITY = 1e-5


class PackedModel(Protocol):
    """A model as it came out of its archive."""

    @property
    def version(self) -> str:
        """Of the release."""

    @property
    def size_bytes(self) -> int:
        """Of the archive."""

    def answer(self, text: str) -> object:
        """Predict one text."""


def compare(
    truth: Classes,
    candidate: Probabilities,
    live: Probabilities,
    *,
    labels: Sequence[str],
    texts: Sequence[str],
    slices: Sequence[Slice],
    confidence: float,
) -> dict[str, Any]:
    """Return what the predictions for the same rows say, as in the schema of ``candidate.json``.

    :param truth: class indices, shape ``(n_rows,)``.
    :param candidate: probabilities of shape ``(n_rows, n_labels)``, columns in the order of ``labels``.
    :param live: the same of the live model.
    :param texts: cleaned texts, shape ``(n_rows,)``.
    :param slices: each with a row at least.
    :param confidence: of every interval.
    """
    first, second = candidate.argmax(axis=1), live.argmax(axis=1)
    # The same model twice, made again from the same data and seed, differs nowhere and in no other rows either.
    is_same_model = np.abs(candidate - live).max() < _SAME_PROBABILITY

    def found(rows: Any) -> Any:
        return differences(
            truth[rows],
            first[rows],
            second[rows],
            n_classes=len(labels),
            confidence=confidence,
            added_rows=0 if is_same_model else 1,
        )

    overall = found(slice(None))
    discordant = mcnemar(truth, first, second)
    return {
        "rows": len(truth),
        "confidence": confidence,
        "resamples": RESAMPLES,
        "macro_f1": overall.macro_f1._asdict(),
        "accuracy": overall.accuracy._asdict(),
        "mcnemar": {
            "candidate_only": discordant.first_only,
            "live_only": discordant.second_only,
            "p_value": discordant.p_value,
        },
        "per_class": {label: interval._asdict() for label, interval in zip(labels, overall.f1, strict=True)},
        "slices": [
            {"name": part.name, "rows": int(part.mask.sum()), "macro_f1": found(part.mask).macro_f1._asdict()}
            for part in slices
        ],
        "disagreements": disagreements(truth, candidate, live, labels=labels, texts=texts),
    }


def disagreements(
    truth: Classes, candidate: Probabilities, live: Probabilities, *, labels: Sequence[str], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Return up to 20 rows that both label differently; true labels take turns, the surest answers come first.

    :param candidate: probabilities of shape ``(n_rows, n_labels)``; ``live`` the same.
    """
    first, second = candidate.argmax(axis=1), live.argmax(axis=1)
    sureness = candidate.max(axis=1) + live.max(axis=1)
    queues: dict[int, list[int]] = defaultdict(list)
    for row in np.argsort(-sureness, kind="stable"):
        if first[row] != second[row]:
            queues[int(truth[row])].append(int(row))
    # Place in its label's queue first, so that every label has its first row before any has its second.
    turns = sorted((place, label, row) for label, queue in queues.items() for place, row in enumerate(queue))
    return [
        {
            "text": texts[row],
            "label": labels[truth[row]],
            "candidate": labels[first[row]],
            "live": labels[second[row]],
            "candidate_probability": float(candidate[row].max()),
            "live_probability": float(live[row].max()),
        }
        for _, _, row in turns[:MAX_DISAGREEMENTS]
    ]


def compare_costs(candidate: PackedModel, live: PackedModel, texts: Sequence[str]) -> dict[str, Any]:
    """Return the live model's version, and latency and size of both.

    Both models answer the same texts, one at a time and in turn, so that whatever else keeps the machine busy slows
    both down alike. A text counts by its fastest answer, which is the one that was disturbed least; of these the
    median is taken. The ratio of both says more than either of them.
    """
    count = min(_LATENCY_TEXTS, len(texts))
    chosen = [texts[index * len(texts) // count] for index in range(count)]
    fastest: dict[str, list[float]] = {"candidate": [], "live": []}
    pair = [("candidate", candidate), ("live", live)]
    for text in chosen[:_WARM_UP_TEXTS]:
        for _, model in pair:
            model.answer(text)
    for text in chosen:
        seconds: dict[str, list[float]] = {name: [] for name in fastest}
        for _ in range(_LATENCY_REPEATS):
            for name, model in pair:
                start = time.perf_counter()
                model.answer(text)
                seconds[name].append(time.perf_counter() - start)
            pair.reverse()  # whoever is asked second finds the caches warm
        for name, values in seconds.items():
            fastest[name].append(min(values))
    return {
        "version": live.version,
        "latency_ms": {name: round(1000 * statistics.median(values), 3) for name, values in fastest.items()},
        "size_bytes": {"candidate": candidate.size_bytes, "live": live.size_bytes},
    }
