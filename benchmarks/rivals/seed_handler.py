"""A TorchServe handler of the kind that tutorials show: one text at a time, one label for it, no batches.

It does what the handler of a published walk-through of Kubeflow and KServe does, with two things mended without which
that one does not run any more: Transformers 5 has no ``encode_plus``, and labels are named by the model's own
configuration instead of a file that its archive lacks. What it logs of each text is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Handler:
    """The model of one worker process.

    :param context: TorchServe's.
    """

    def __init__(self, context: Any) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = context.system_properties["model_dir"]
        self._model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def answer(self, requests: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the label of the first request's text."""
        text = requests[0].get("data") or requests[0].get("body")
        inputs = self._tokenizer(text, return_tensors="pt")
        prediction = self._model(**inputs)[0].argmax().item()
        return [self._model.config.id2label[prediction]]


_handler: Handler | None = None


def handle(requests: Sequence[Mapping[str, Any]] | None, context: Any) -> list[str] | None:
    """Load the model at the first call; answer the others."""
    global _handler
    if _handler is None:
        _handler = Handler(context)
    return None if requests is None else _handler.answer(requests)
