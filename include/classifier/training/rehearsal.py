"""Tries a base model before it is trained: whatever would fail after hours of training fails here in a second.

Nothing is known of architectures by name. The model reads a few texts as training, the archive and the server will
have it read them, and what it does decides how long its texts may be, on which side they are padded, and whether they
may be padded at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from include.classifier.progress import first_line
from include.classifier.serving.text import tokenise
from include.classifier.serving.tokenizer_file import load_in_transformers
from include.classifier.serving.torch_engine import Padding, Side, pad, takes_mask

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: What users write, besides words that a vocabulary knows.
_ODD_TEXTS = ("a", "zxqj \u4e2d\u6587 \u2603 \U0001f642 </s> <pad> [SEP]", "\u200b", "x" * 200)

#: By how much padding may move the logits, as a share of what lies between those of different texts, or of the largest
#: where all are about the same: rounding is far below it.
_HARMLESS, _ROUNDING = 1e-2, 1e-6

#: No model is of use that reads fewer tokens; the least that the settings allow.
_FEWEST_TOKENS = 8

#: Training texts that are looked at for long and short ones.
_SAMPLE_TEXTS = 64


class UnfitError(ValueError):
    """The model cannot be trained or served as a text classifier; the message ends a sentence that names it."""


class Rehearsed(NamedTuple):
    """How the model has to be used."""

    max_length: int  #: In tokens; what was asked for, or the most that the model reads.
    padding: Padding  #: Where padding moves no answer.


def rehearse(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, texts: Sequence[str], n_labels: int, max_length: int
) -> Rehearsed:
    """Let a model read texts in every way that it will be asked to, and say how it has to be used.

    :param model: evaluated here; its weights and PyTorch's random numbers stay as they are.
    :param texts: cleaned training texts.
    :param max_length: in tokens.
    :raises UnfitError: when it cannot be trained or served.
    """
    import torch

    _check_tokenizer(model, tokenizer, texts[:_SAMPLE_TEXTS], max_length)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        model.eval()
        max_length = _longest(model, tokenizer, texts[:_SAMPLE_TEXTS], n_labels, max_length)
        rows = _rows(tokenizer, texts[:_SAMPLE_TEXTS], max_length)
        alone = torch.cat([_logits(model, tokenizer, [row], n_labels) for row in rows])
        bound = max(
            _HARMLESS * (alone.max(dim=0).values - alone.min(dim=0).values).max().item(),
            _ROUNDING * alone.abs().max().item(),
        )
        for side in get_args(Side) if takes_mask(model) else ():
            # On the right where that is harmless: absolute positions count from the left.
            together = _logits(model, tokenizer, rows, n_labels, side)
            if (together - alone).abs().max() <= bound:
                return Rehearsed(max_length, side)
    return Rehearsed(max_length, "none")


def _check_tokenizer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> None:
    try:
        tokenise(tokenizer, _ODD_TEXTS, max_length)
    except Exception as error:  # The tokenizers' own errors are bare ones.
        raise UnfitError(f"its tokenizer cannot read every text ({error})") from error
    rows = tokenise(tokenizer, [*_ODD_TEXTS, *texts], max_length)
    vocabulary = tokenizer.get_vocab()
    embeddings = _embeddings(model)
    if embeddings is not None and max(vocabulary.values()) >= embeddings:
        raise UnfitError(
            f"its tokenizer has {len(vocabulary):,} tokens with numbers up to {max(vocabulary.values()):,}, the model "
            f"has embeddings for {embeddings:,}: tokens were added and the model was not resized. Load it, call "
            "model.resize_token_embeddings(len(tokenizer)), and save both again"
        )
    # The archive's tokenizer is its tokenizer.json alone, without a class that may do more.
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as folder:
        tokenizer.save_pretrained(folder)
        packed = load_in_transformers(Path(folder))
    if tokenise(packed, [*_ODD_TEXTS, *texts], max_length) != rows:
        kind = type(tokenizer).__name__
        raise UnfitError(f"{kind} does more than the tokenizer.json that it writes, which is all that is packed")


def _embeddings(model: PreTrainedModel) -> int | None:
    try:
        return getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # Some that read no tokens have none; what they read shows when they are tried.
        return None


def _longest(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], n_labels: int, max_length: int
) -> int:
    """Return the most tokens that the model reads, and ``max_length`` at most.

    What a configuration calls its positions is not always that: RoBERTa and its kin have two fewer.
    """

    def fails(length: int) -> UnfitError | None:
        try:
            _logits(model, tokenizer, [_full_row(tokenizer, texts, length)], n_labels)
        except UnfitError as error:
            return error
        return None

    if fails(max_length) is None:
        return max_length
    reads, too_long = min(_FEWEST_TOKENS, max_length), max_length
    if error := fails(reads):
        raise error
    while too_long - reads > 1:
        middle = (reads + too_long) // 2
        if fails(middle) is None:
            reads = middle
        else:
            too_long = middle
    return reads


def _rows(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return token ids of texts that differ as much in length as they can."""
    found = tokenise(tokenizer, [*_ODD_TEXTS[:2], *sorted(texts, key=len)[:: max(1, len(texts) // 4)]], max_length)
    return [*found.input_ids, _full_row(tokenizer, texts, max_length)]


def _full_row(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], length: int) -> list[int]:
    """Return token ids of a text that has to be truncated to so many; fewer where there is no such text."""
    text = " ".join(["a", *texts])
    while not (found := tokenise(tokenizer, [text], length)).truncated[0] and len(text) < 100 * length:
        text = f"{text} {text}"
    return found.input_ids[0]


def _logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[list[int]],
    n_labels: int,
    side: Side = "right",
) -> Tensor:
    import torch

    try:
        logits = model(**pad(tokenizer, rows, with_mask=takes_mask(model), padding_side=side)).logits
    except Exception as error:  # Each architecture fails in its own way.
        lengths = ", ".join(str(len(row)) for row in rows)
        raise UnfitError(f"it cannot read texts of {lengths} tokens ({first_line(error)})") from error
    if logits.shape != (len(rows), n_labels):
        raise UnfitError(f"it gives figures of shape {tuple(logits.shape)} for {len(rows)} texts and {n_labels} labels")
    if not torch.isfinite(logits).all():
        raise UnfitError("it answers with what is no number (NaN or infinite): its weights may be damaged")
    return logits.float()
