"""Loads a packed model and predicts: the same code in evaluation and behind the endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from .kernels import TORCH_BFLOAT16, kernel_here
from .onnx_engine import MODEL_FILE, OnnxEngine
from .text import Tokens, clean, tokenise
from .tokenizer_file import FileTokenizer, TransformersTokenizer, load_in_transformers
from .torch_engine import TorchEngine

#: Beside the model's own files: ``{"labels": [...], "max_length": ..., "padding": ..., "kernel": ..., "tokenizer":
#: ...}``, the labels in the order of the classes, the last three not in all.
CLASSIFIER_FILE = "classifier.json"


@dataclass(frozen=True)
class Prediction:
    """What the model says about one text."""

    label: str
    score: float  #: Probability of the label.
    probabilities: dict[str, float]  #: By label name, in the order of the classes; they add up to 1.
    truncated: bool  #: The text had more tokens than the model reads.
    #: The kernel that computed it, where this processor lacks what the model was packed for.
    computed_in: str | None = None

    def likeliest(self, count: int | None) -> dict[str, float]:
        """Return so many probabilities, the largest first; for ``None`` all of them in the order of the classes."""
        if count is None:
            return self.probabilities
        return dict(sorted(self.probabilities.items(), key=itemgetter(1), reverse=True)[:count])


class Engine(Protocol):
    """What runs the model."""

    n_classes: int

    def probabilities(self, rows: Sequence[list[int]], before_pass: Callable[[], None]) -> list[list[float]]:
        """Return the probabilities of each row of token ids, shape (rows, classes)."""


class Predictor:
    """A text classifier that is ready to answer."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: TransformersTokenizer | FileTokenizer,
        *,
        labels: Sequence[str],
        max_length: int,
        computed_in: str | None = None,
    ) -> None:
        self.labels = list(labels)
        self.max_length = max_length
        #: The kernel, where this processor lacks what the model was packed for: 32-bit floats.
        self.computed_in = computed_in
        self._engine = engine
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, *, device: str | None = None, threads: int | None = None) -> Predictor:
        """Load from an unpacked archive, or from a folder that training wrote.

        :param folder: holds ``classifier.json``, the tokenizer's files, and either ``model.onnx`` or ``config.json``
            and the weights as safetensors.
        :param device: as torch names it; default: the first GPU. Without one, and in ONNX Runtime, it is the CPU.
        :param threads: to compute with on a CPU; default: torch's setting, or one for each CPU in ONNX Runtime.
        :raises ValueError: when the folder does not hold a classifier of Transformers with as many labels.
        """
        facts = read_json(folder / CLASSIFIER_FILE)
        kernel, computed_in = kernel_here(facts)
        engine: Engine
        tokenizer: TransformersTokenizer | FileTokenizer
        if (folder / MODEL_FILE).is_file():
            known = facts.get("tokenizer")  # not in archives that were packed before it stood there
            tokenizer = (
                FileTokenizer.load(folder, known) if known else TransformersTokenizer(load_in_transformers(folder))
            )
            engine = OnnxEngine.load(folder, threads=threads)
        else:
            of_transformers = load_in_transformers(folder)
            tokenizer = TransformersTokenizer(of_transformers)
            engine = TorchEngine.load(
                folder,
                of_transformers,
                device=device,
                threads=threads,
                # Archives that do not say it hold models that were padded on their tokenizer's side.
                padding=facts.get("padding", of_transformers.padding_side),
                in_bfloat16=kernel == TORCH_BFLOAT16,
            )
        if engine.n_classes != len(facts["labels"]):
            raise ValueError(
                f"{folder}: {CLASSIFIER_FILE} names {len(facts['labels'])} labels, the model has "
                f"{engine.n_classes} classes; train it again."
            )
        return cls(engine, tokenizer, labels=facts["labels"], max_length=facts["max_length"], computed_in=computed_in)

    def predict(self, texts: Sequence[str], before_pass: Callable[[], None] = lambda: None) -> list[Prediction]:
        """Predict any number of texts; answers come in the order of the texts, and do not depend on the neighbours.

        :param before_pass: is called again and again, before a few texts each; what it raises ends the work.
        """
        tokens = self.tokenise(texts)
        return self.predictions(self.probabilities(tokens.input_ids, before_pass), tokens.truncated)

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Return what the model reads of each text; not from two threads at once."""
        return tokenise(self._tokenizer, [clean(text) for text in texts], self.max_length)

    def probabilities(
        self, rows: Sequence[list[int]], before_pass: Callable[[], None] = lambda: None
    ) -> list[list[float]]:
        """Return the probabilities of each row of token ids, shape (rows, classes)."""
        return self._engine.probabilities(rows, before_pass)

    def predictions(self, rows: Sequence[Sequence[float]], truncated: Sequence[bool]) -> list[Prediction]:
        """Return what is said about each text.

        :param rows: their probabilities.
        :param truncated: whether each had more tokens than the model reads.
        """
        return [self._prediction(values, cut) for values, cut in zip(rows, truncated, strict=True)]

    def _prediction(self, values: Sequence[float], truncated: bool) -> Prediction:
        best = max(range(len(values)), key=values.__getitem__)
        by_label = dict(zip(self.labels, values, strict=True))
        return Prediction(self.labels[best], values[best], by_label, truncated, self.computed_in)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file."""
    return json.loads(path.read_text(encoding="utf-8"))
