"""Chooses golden examples: texts whose answers are known, asked again of every deployment of the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from include.classifier.serving.kernels import TORCH_FLOAT32
from include.classifier.serving.predictor import Prediction, Predictor

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
    return [{"text": texts[row], **_answer(predictions[row])} for row in chosen]


def with_fallback(examples: Sequence[dict[str, Any]], as_trained: Predictor) -> list[dict[str, Any]]:
    """Return the examples with what a server answers whose processor lacks what the packed model needs.

    :param as_trained: the model in 32-bit floats, which that server falls back to.
    """
    answers = as_trained.predict([example["text"] for example in examples])
    return [
        example | {"computed_in": {TORCH_FLOAT32: _answer(answer)}}
        for example, answer in zip(examples, answers, strict=True)
    ]


def _answer(prediction: Prediction) -> dict[str, Any]:
    """Return an answer as ``candidate.json`` holds it."""
    return {
        "label": prediction.label,
        "probabilities": {label: round(value, 6) for label, value in prediction.probabilities.items()},
    }
