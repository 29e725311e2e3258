"""Runs a model in PyTorch, on the CPU or a GPU: with the weights as they were trained, or rounded to bfloat16."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from .cpus import SMALL_MODEL_PARAMETERS

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

Side: TypeAlias = Literal["right", "left"]
#: Where rows are padded to the length of the longest; ``none`` where padding would move the model's answers.
Padding: TypeAlias = Literal["right", "left", "none"]

#: Rows that go through the model at once. More gain nothing on a CPU, and cost memory everywhere.
MICRO_BATCH_ROWS = 32


class TorchEngine:
    """A model of Transformers.

    :param padding: where rows are padded; ``none``: only rows of the same length go through the model together.
    :param rows_at_once: that go through the model together, at most.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        device: str,
        padding: Padding = "right",
        rows_at_once: int = MICRO_BATCH_ROWS,
    ) -> None:
        self.n_classes = int(model.config.num_labels)
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._device = device
        self._padding = padding
        self._rows_at_once = rows_at_once

    @classmethod
    def load(
        cls,
        folder: Path,
        tokenizer: PreTrainedTokenizerBase,
        *,
        device: str | None,
        threads: int | None,
        padding: Padding = "right",
        in_bfloat16: bool = False,
    ) -> TorchEngine:
        """Load ``config.json`` and the weights, which are safetensors.

        :param tokenizer: pads rows to the same length.
        :param device: as torch names it; default: the first GPU. Without any GPU it is the CPU whatever was asked for.
        :param threads: of the whole process on a CPU, one for a small model; default: as they are.
        :param in_bfloat16: compute in bfloat16, a row at a time: what is rounded to eight bits would else depend on
            which rows happen to go through the model together.
        :raises ValueError: when it is no classifier of Transformers.
        """
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        # Not AutoModel: an archive names its class, and never gets to run code of its own.
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture = (config.get("architectures") or ["none"])[0]
        if not architecture.endswith("ForSequenceClassification") or not hasattr(transformers, architecture):
            raise ValueError(
                f"{folder / 'config.json'}: architecture {architecture!r} is no sequence classifier of Transformers "
                f"{transformers.__version__}; train with AutoModelForSequenceClassification."
            )
        # float32 even where the weights are stored smaller: bfloat16 is slow on most CPUs, and golden examples must be
        # answered alike on every machine. Who packed it for bfloat16 has measured, and says what the CPU must have.
        model = getattr(transformers, architecture).from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        if threads is not None:
            torch.set_num_threads(1 if model.num_parameters() < SMALL_MODEL_PARAMETERS else threads)
        device = (device or "cuda:0") if torch.cuda.is_available() else "cpu"
        if in_bfloat16:
            return cls(model.to(torch.bfloat16), tokenizer, device=device, padding=padding, rows_at_once=1)
        return cls(model, tokenizer, device=device, padding=padding)

    def probabilities(self, rows: Sequence[list[int]], before_pass: Callable[[], None]) -> list[list[float]]:
        """Return the probabilities of each row of token ids, shape (rows, classes).

        :param before_pass: is called before every few rows; what it raises is raised.
        """
        # Neighbours of about the same length waste the least padding.
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
        found: list[list[float]] = [[]] * len(rows)
        groups = groupby(order, key=lambda index: len(rows[index]) if self._padding == "none" else 0)
        for chunk in (chunk for _, group in groups for chunk in _chunks(list(group), self._rows_at_once)):
            before_pass()
            for row, values in zip(chunk, self._pass([rows[index] for index in chunk]), strict=True):
                found[row] = values
        return found

    def _pass(self, rows: Sequence[list[int]]) -> list[list[float]]:
        import torch

        batch = pad(
            self._tokenizer,
            rows,
            with_mask=takes_mask(self._model),
            padding_side="left" if self._padding == "left" else "right",
        ).to(self._device)
        with torch.inference_mode():
            logits = self._model(**batch).logits
        return torch.softmax(logits.float(), dim=-1).tolist()


def takes_mask(model: PreTrainedModel) -> bool:
    """Tell whether a model can be told which tokens are padding; FNet, for one, cannot."""
    return "attention_mask" in signature(model.forward).parameters


def pad(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[list[int]],
    *,
    with_mask: bool,
    padding_side: Side,
    pad_to_multiple_of: int | None = None,
) -> BatchEncoding:
    """Return rows of token ids as tensors of one length, as training, evaluation and the server give them to a model.

    :param with_mask: whether ``attention_mask`` stands beside ``input_ids``.
    """
    return tokenizer.pad(
        {"input_ids": list(rows)},
        padding_side=padding_side,
        pad_to_multiple_of=pad_to_multiple_of,
        return_attention_mask=with_mask,
        return_tensors="pt",
    )


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
