"""Loads a packed model and predicts: the same code in evaluation and behind the endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .text import clean, tokenise

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Beside the model's own files: ``{"labels": [...], "max_length": ...}``, the labels in the order of the classes.
CLASSIFIER_FILE = "classifier.json"

#: Rows that go through the model at once. More gain nothing on a CPU, and cost memory everywhere.
MICRO_BATCH_ROWS = 32


@dataclass(frozen=True)
class Prediction:
    """What the model says about one text."""

    label: str
    score: float  #: Probability of the label.
    probabilities: dict[str, float]  #: By label name, in the order of the classes; they add up to 1.
    truncated: bool  #: The text had more tokens than the model reads.


class Predictor:
    """A text classifier that is ready to answer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        labels: Sequence[str],
        max_length: int,
        device: str = "cpu",
    ) -> None:
        self.labels = list(labels)
        self.max_length = max_length
        self.device = device
        self._tokenizer = tokenizer
        self._model = model.to(device).eval()

    @classmethod
    def load(cls, folder: Path, *, device: str | None = None) -> Predictor:
        """Load from an unpacked archive, or from a folder that training wrote.

        :param folder: holds ``classifier.json``, ``config.json``, the tokenizer's files and the weights as safetensors.
        :param device: as torch names it; default: the first GPU, else the CPU.
        :raises ValueError: when the folder does not hold a classifier of Transformers with as many labels.
        """
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        facts = read_json(folder / CLASSIFIER_FILE)
        # Not AutoModel and AutoTokenizer: an archive names its class, and never gets to run code of its own.
        architecture = (read_json(folder / "config.json").get("architectures") or ["none"])[0]
        if not architecture.endswith("ForSequenceClassification") or not hasattr(transformers, architecture):
            raise ValueError(
                f"{folder / 'config.json'}: architecture {architecture!r} is no sequence classifier of Transformers "
                f"{transformers.__version__}; train with AutoModelForSequenceClassification."
            )
        # float32 even where the weights are stored smaller: bfloat16 is slow on CPUs, and golden examples must be
        # answered alike on every machine.
        model = getattr(transformers, architecture).from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        if model.config.num_labels != len(facts["labels"]):
            raise ValueError(
                f"{folder}: {CLASSIFIER_FILE} names {len(facts['labels'])} labels, the model has "
                f"{model.config.num_labels} classes; train it again."
            )
        if device is None:
            device = "cuda:0" if torch.cuda.is_available() else "cpu"
        return cls(model, tokenizer, labels=facts["labels"], max_length=facts["max_length"], device=device)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict any number of texts; answers come in the order of the texts, and do not depend on the neighbours."""
        tokens = tokenise(self._tokenizer, [clean(text) for text in texts], self.max_length)
        # Neighbours of about the same length waste the least padding.
        order = sorted(range(len(texts)), key=lambda index: len(tokens.input_ids[index]), reverse=True)
        predictions: list[Prediction | None] = [None] * len(texts)
        for rows in _chunks(order, MICRO_BATCH_ROWS):
            probabilities = self._probabilities([tokens.input_ids[row] for row in rows])
            for row, values in zip(rows, probabilities.tolist(), strict=True):
                best = max(range(len(values)), key=values.__getitem__)
                by_label = dict(zip(self.labels, values, strict=True))
                predictions[row] = Prediction(self.labels[best], values[best], by_label, tokens.truncated[row])
        return [prediction for prediction in predictions if prediction is not None]

    def _probabilities(self, input_ids: list[list[int]]) -> torch.Tensor:
        """Return probabilities, float32 of shape (rows, classes), on the CPU."""
        import torch

        batch = self._tokenizer.pad({"input_ids": input_ids}, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            logits = self._model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return torch.softmax(logits.float(), dim=-1).cpu()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
