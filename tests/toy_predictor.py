"""The ``predictor`` of a toy package for the native server, in the place of the one that loads a real model.

It is packed as a module of ``classifier_serving``, whose other modules are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

_GOOD, _OTHER = 1, 2


@dataclass(frozen=True)
class Prediction:
    """What the model says about one text."""

    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool
    computed_in: str | None = None

    def likeliest(self, count: int | None) -> dict[str, float]:
        """Return so many probabilities, the largest first; for ``None`` all of them."""
        return dict(sorted(self.probabilities.items(), key=itemgetter(1), reverse=True)[:count])


class Tokens(NamedTuple):
    """What a model reads of texts."""

    input_ids: list[list[int]]
    truncated: list[bool]


class Predictor:
    """Calls texts good that say so."""

    labels = ("bad", "good")

    @classmethod
    def load(cls, folder: Path, **options: Any) -> Predictor:
        """Load it, unless it is one that cannot be."""
        if json.loads((folder / "toy.json").read_text(encoding="utf-8"))["behaviour"] == "does not load":
            raise ValueError("the weights do not fit the model")
        return cls()

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict texts."""
        tokens = self.tokenise(texts)
        return self.predictions(self.probabilities(tokens.input_ids), tokens.truncated)

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Return a token for each word."""
        rows = [[_GOOD if word == "good" else _OTHER for word in text.split()] for text in texts]
        return Tokens(rows, [False] * len(rows))

    def probabilities(
        self, rows: Sequence[Sequence[int]], before_pass: Callable[[], None] = lambda: None
    ) -> list[list[float]]:
        """Return the probabilities of each row."""
        return [[0.1, 0.9] if _GOOD in row else [0.9, 0.1] for row in rows]

    def predictions(self, rows: Sequence[Sequence[float]], truncated: Sequence[bool]) -> list[Prediction]:
        """Return what is said about each text."""
        found = []
        for values, cut in zip(rows, truncated, strict=True):
            by_label = dict(zip(self.labels, values, strict=True))
            found.append(Prediction(max(by_label, key=by_label.__getitem__), max(values), by_label, cut))
        return found
