"""Cleans and tokenises texts. Training, evaluation and the handler all use it, so they all see the same tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


#: Characters that show nothing although Unicode calls them letters, marks or symbols: joiners, fillers, selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(0xFE00 + number) for number in range(16)}


class Tokens(NamedTuple):
    """Token ids of several texts, neither padded nor sorted."""

    input_ids: list[list[int]]  #: One list for each text, special tokens included.
    truncated: list[bool]  #: Whether the text had more tokens than its list holds.


def clean(text: str) -> str:
    """Return the text as the model sees it; may be empty. Cleaning it again changes nothing.

    Unicode is composed (NFC) and whitespace collapsed. Of a text that shows nothing, such as zero-width or NUL
    characters alone, nothing is left.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text if any(map(_shows, text)) else ""


def _shows(character: str) -> bool:
    return character not in _BLANK and unicodedata.category(character) not in ("Cc", "Cf", "Zs")


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> Tokens:
    """Turn cleaned texts into token ids, at least one for each: some tokenizers make nothing of a text.

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
    rows = encoded["input_ids"]
    if tokenizer.split_special_tokens:
        # The head of an encoder with a decoder looks for the one end of a text. SentencePiece's vocabularies hold
        # "</s>" as if it were a word, and find another where somebody wrote one.
        end = tokenizer.eos_token_id
        rows = [
            [token for token, is_ours in zip(ids, each.special_tokens_mask, strict=True) if is_ours or token != end]
            for ids, each in zip(rows, encoded.encodings, strict=True)
        ]
    rows = [ids or [_stand_in(tokenizer)] for ids in rows]
    return Tokens(rows, [bool(encoding.overflowing) for encoding in encoded.encodings])


def _stand_in(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token for a text of which nothing is left: a model's answer to no token at all is no number."""
    known = (tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.pad_token_id)
    return next((token for token in known if token is not None), 0)
