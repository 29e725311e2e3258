"""Facts about one input that are kept even where the input is not, and with which inputs are compared.

One function for both sides: whoever captures requests and whoever describes the training rows see the same.
"""

from __future__ import annotations

import hmac
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

#: Of one input. A number, or a category.
Features: TypeAlias = dict[str, float | str]

#: Only so much of a text is looked at for its words and its script; its length counts whole.
MOST_CHARACTERS = 10_000

#: Columns of one row; the others have no features.
MOST_COLUMNS = 200

#: A longer category is a text.
MOST_CATEGORY_CHARACTERS = 64

#: A name that may stand in a file although a client has chosen it.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

#: An ideograph, a kana: a word by itself. Anything else between what is no letter, mark or digit.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+(?:['\u2019][^\W_{_IDEOGRAPHS}]+)*")

_ASCII_LETTER, _NO_DIGITS = re.compile("[A-Za-z]"), {ord(digit): None for digit in "0123456789"}

#: How subword tokenizers mark the beginning of a word.
_BEGINNINGS = ("", "\u0120", "\u2581")


def features_of(given: Any, *, vocabulary: Collection[str] | None = None, key: bytes | None = None) -> Features:
    """Return the facts about one input, the same for the same input everywhere.

    Of a text: ``characters``, ``words``, ``script`` (``Latin``, ``Cyrillic``, ``Cjk``, …; ``none`` without letters),
    ``digit_share`` and, with a vocabulary, ``unknown_share``: the share of words that are no entry of it as a whole.
    Of a row of columns: each number, boolean (0 or 1) and short text (a category), by the column's name or, where it
    has none, as ``x0``, ``x1``, …; a number that is none (NaN) is left out, as is what is nested.

    :param given: a text, or an instance as JSON has it: a list of columns, an object of columns, one value.
    :param vocabulary: entries of the tokenizer, see :func:`vocabulary_of`.
    :param key: categories are texts, too: with a key they become :func:`keyed` hashes.
    """
    if isinstance(given, str):
        return _of_text(given, vocabulary)
    if isinstance(given, Mapping):
        columns = [(name, value) for name, value in given.items() if isinstance(name, str) and _NAME.fullmatch(name)]
    elif isinstance(given, Sequence) and not isinstance(given, bytes | bytearray):
        columns = [(f"x{index}", value) for index, value in enumerate(given[:MOST_COLUMNS])]
    else:
        columns = [("x0", given)]
    found: Features = {}
    for name, value in columns[:MOST_COLUMNS]:
        fact = _of_column(value, key)
        if fact is not None:
            found[name] = fact
    return found


def keyed(key: bytes, text: str) -> str:
    """Return the keyed hash of a text: HMAC with SHA-256, in hexadecimal digits.

    Keyed, because a text that can be guessed (a name, a short sentence) is found at once among plain hashes.
    """
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def vocabulary_of(tokenizer_json: Path) -> frozenset[str]:
    """Return the entries of a tokenizer that begin or are a word, from its ``tokenizer.json``; empty where it has none.

    :raises OSError: when it cannot be read.
    :raises ValueError: when it is not JSON.
    """
    model = json.loads(tokenizer_json.read_text(encoding="utf-8")).get("model") or {}
    entries = model.get("vocab") or ()
    # Unigram models have pairs of an entry and its score.
    return frozenset(str(entry[0]) if isinstance(entry, list) else str(entry) for entry in entries)


def _of_column(value: Any, key: bytes | None) -> float | str | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str) and len(value) <= MOST_CATEGORY_CHARACTERS:
        return keyed(key, value)[:16] if key else value.encode("utf-8", "replace").decode()
    return None


def _number(value: float) -> float | None:
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond all floats
        return None


def _of_text(text: str, vocabulary: Collection[str] | None) -> Features:
    head = text[:MOST_CHARACTERS]
    words = _WORD.findall(head)
    script, digits = _script_and_digits(head)
    found: Features = {
        "characters": len(text),
        "words": len(words),
        "script": script,
        "digit_share": round(digits / len(head), 4) if head else 0.0,
    }
    if vocabulary:
        known = sum(_is_known(word, vocabulary) for word in words)
        found["unknown_share"] = round(1 - known / len(words), 4) if words else 0.0
    return found


def _script_and_digits(text: str) -> tuple[str, int]:
    """Return the script of most letters, of equally many the first by name, and the number of digits."""
    if text.isascii():  # most texts are; this goes a hundred times for the price of one of the others
        return "Latin" if _ASCII_LETTER.search(text) else "none", len(text) - len(text.translate(_NO_DIGITS))
    scripts, digits = Counter[str](), 0
    for character, number in Counter(text).items():
        if character.isalpha():
            scripts[_script(character)] += number
        elif character.isdigit():
            digits += number
    return min(scripts, key=lambda script: (-scripts[script], script)) if scripts else "none", digits


def _is_known(word: str, vocabulary: Collection[str]) -> bool:
    if word in vocabulary or word.lower() in vocabulary:
        return True
    return any(
        f"{beginning}{spelling}" in vocabulary
        for spelling in dict.fromkeys((word, word.lower(), _plain(word)))
        for beginning in _BEGINNINGS
    )


def _plain(word: str) -> str:
    """Return a word as tokenizers without accents spell it."""
    if word.isascii():
        return word.lower()
    return "".join(each for each in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(each))


@lru_cache(maxsize=20_000)
def _script(letter: str) -> str:
    """Return the script of a letter: the first word of its name in Unicode."""
    return unicodedata.name(letter, "Unknown").split(" ")[0].split("-")[0].capitalize()
