"""Cleans and tokenises texts. Training, evaluation and the handler all use it, so they all see the same tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .tokenizer_file import FileTokenizer, TokenizerFacts, TransformersTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


#: Characters that show nothing although Unicode calls them letters, marks or symbols: joiners, fillers, selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(0xFE00 + number) for number in range(16)}


#: Characters of a text that are read for each token that a model reads, at first and at most: what a text costs must
#: not grow with what somebody sends. All but odd texts have fewer than eight to a token.
_CHARACTERS, _MOST_CHARACTERS = 16, 1024


class Tokens(NamedTuple):
    """Token ids of several texts, neither padded nor sorted."""

    input_ids: list[list[int]]  #: One list for each text, special tokens included.
    truncated: list[bool]  #: Whether the text had more tokens than its list holds.


def clean(text: str) -> str:
    """Return the text as the model sees it; may be empty. Cleaning it again changes nothing.

    Unicode is composed (NFC) and whitespace collapsed. Of a text that shows nothing, such as zero-width or NUL
    characters alone, nothing is left.
    """
    return "" if is_blank(text) else " ".join(unicodedata.normalize("NFC", text).split())


def is_blank(text: str) -> bool:
    """Tell whether a text shows nothing; of another it reads the first character that shows alone."""
    return not any(map(_shows, text))


def _shows(character: str) -> bool:
    return character not in _BLANK and unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


def tokenise(
    tokenizer: PreTrainedTokenizerBase | FileTokenizer | TransformersTokenizer, texts: Sequence[str], max_length: int
) -> Tokens:
    """Turn cleaned texts into token ids, at least one for each: some tokenizers make nothing of a text.

    :param tokenizer: one with a ``tokenizer.json``, as all but a few models have.
    :param texts: as :func:`clean` returns them.
    :param max_length: in tokens, special tokens included; what is longer is cut. Of a text with more than 1,024
        characters for each of them the rest is cut unread.
    :raises TypeError: for a tokenizer in pure Python, which does not tell what it cut off.
    """
    if not texts:
        return Tokens([], [])
    is_reader = isinstance(tokenizer, FileTokenizer | TransformersTokenizer)
    reader = tokenizer if is_reader else TransformersTokenizer(tokenizer)
    facts = reader.facts
    pieces = [_piece(text, _CHARACTERS * max_length, facts.truncation_side) for text in texts]
    found = reader.encode(pieces, max_length)
    again = [
        index
        for index, (piece, encoding) in enumerate(zip(pieces, found, strict=True))
        # Too few tokens; or cut within a word, or next to what was kept: what was left out may have had a say in it.
        if len(piece) < len(texts[index]) and (" " not in piece or len(encoding.overflowing) < 2)
    ]
    longer = [_piece(texts[index], _MOST_CHARACTERS * max_length, facts.truncation_side) for index in again]
    for index, piece, encoding in zip(again, longer, reader.encode(longer, max_length) if longer else [], strict=True):
        pieces[index], found[index] = piece, encoding
    rows = [encoding.ids for encoding in found]
    if facts.split_special_tokens:
        # The head of an encoder with a decoder looks for the one end of a text. SentencePiece's vocabularies hold
        # "</s>" as if it were a word, and find another where somebody wrote one.
        end = facts.eos_token_id
        rows = [
            [token for token, is_ours in zip(ids, each.special_tokens_mask, strict=True) if is_ours or token != end]
            for ids, each in zip(rows, found, strict=True)
        ]
    rows = [ids or [_stand_in(facts)] for ids in rows]
    cut = [len(piece) < len(text) for piece, text in zip(pieces, texts, strict=True)]
    return Tokens(rows, [bool(encoding.overflowing) or is_cut for encoding, is_cut in zip(found, cut, strict=True)])


def _piece(text: str, characters: int, truncation_side: str) -> str:
    """Return at most so many characters of a cleaned text, whole words where there are several."""
    if len(text) <= characters:
        return text
    if truncation_side == "left":
        return text[-characters:].partition(" ")[2] or text[-characters:]
    return text[:characters].rpartition(" ")[0] or text[:characters]


def _stand_in(facts: TokenizerFacts) -> int:
    """Return the token for a text of which nothing is left: a model's answer to no token at all is no number."""
    known = (facts.unk_token_id, facts.eos_token_id, facts.cls_token_id, facts.pad_token_id)
    return next((token for token in known if token is not None), 0)
