"""Cleans and tokenises texts. Training, evaluation and the handler all use it, so they all see the same tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Tokens(NamedTuple):
    """Token ids of several texts, neither padded nor sorted."""

    input_ids: list[list[int]]  #: One list for each text, special tokens included.
    truncated: list[bool]  #: Whether the text had more tokens than its list holds.


def clean(text: str) -> str:
    """Return the text as the model sees it; may be empty. Cleaning it again changes nothing.

    Unicode is composed (NFC) and whitespace collapsed.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> Tokens:
    """Turn cleaned texts into token ids.

    :param tokenizer: one with a ``tokenizer.json``, as all but a few models have.
    :param texts: as :func:`clean` returns them.
    :param max_length: in tokens, special tokens included; what is longer is cut.
    :raises TypeError: for a tokenizer in pure Python, which does not tell what it cut off.
    """
    if not texts:
        return Tokens([], [])
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length, return_attention_mask=False)
    if encoded.encodings is None:
        raise TypeError(f"{type(tokenizer).__name__} has no tokenizer.json: choose a base model that has one.")
    return Tokens(encoded["input_ids"], [bool(encoding.overflowing) for encoding in encoded.encodings])
