"""Chooses golden examples: texts whose answers are known, asked again of every deployment of the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from include.classifier.serving.predictor import Prediction

MAX_EXAMPLES = 16

#: Longer texts are left out where there are others: they stand in candidate.json and are sent with every smoke test.
_MODERATE_CHARACTERS = 600


def choose(texts: Sequence[str], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return up to 16 examples as ``candidate.json`` holds them.

    Labels and lengths take turns. Among equals the confident ones come first: near a tie, another machine's rounding
    may tip the label.

    :param predictions: what the packed model answers to the texts.
    """
    rows = [row for row, text in enumerate(texts) if len(text) <= _MODERATE_CHARACTERS] or list(range(len(texts)))
    rows.sort(key=lambda row: (len(texts[row]), texts[row]))
    queues: dict[tuple[int, str], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        third = position * 3 // len(rows)
        queues[third, predictions[row].label].append(row)
    for queue in queues.values():
        queue.sort(key=lambda row: predictions[row].score, reverse=True)
    chosen: list[int] = []
    # A length of each label at a time, so that the examples are spread evenly wherever the number ends.
    while len(chosen) < min(MAX_EXAMPLES, len(rows)):
        for key in sorted(queues):
            if queues[key] and len(chosen) < MAX_EXAMPLES:
                chosen.append(queues[key].pop(0))
    return [
        {
            "text": texts[row],
            "label": predictions[row].label,
            "probabilities": {label: round(value, 6) for label, value in predictions[row].probabilities.items()},
        }
        for row in chosen
    ]
