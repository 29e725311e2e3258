"""Texts to be classified: given ones, or the sample data's put together to the lengths of real reviews."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from include.classifier.serving.text import clean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE_DATA = Path(__file__).parent.parent / "include" / "sample_data" / "train.csv"

#: Characters of 1,100 reviews of Yelp: the shortest, each tenth of them, and the 99th percentile for the longest.
_LENGTHS = (7, 161, 248, 333, 435, 541, 673, 847, 1104, 1506, 3185)


def read_reviews(file: Path | None = None) -> list[str]:
    """Return cleaned texts, as many as there are.

    :param file: CSV with a column ``text``; default: the sample data, with the lengths of real reviews.
    :raises ValueError: when the file has no such column, or no text in it.
    """
    with (file or SAMPLE_DATA).open(encoding="utf-8", newline="") as source:
        rows = csv.DictReader(source)
        if "text" not in (rows.fieldnames or ()):
            raise ValueError(f"{file} has no column `text`; its columns are {', '.join(rows.fieldnames or ())}.")
        texts = [text for row in rows if (text := clean(row["text"] or ""))]
    if not texts:
        raise ValueError(f"{file} has no text.")
    return texts if file else list(with_real_lengths(texts))


def with_real_lengths(texts: Sequence[str], *, seed: int = 42) -> Iterator[str]:
    """Put short texts together, or cut them at a word, so that their lengths are spread as those of real reviews."""
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose, nothing here is secret
    for text in texts:
        tenth, part = divmod(rng.random() * (len(_LENGTHS) - 1), 1)
        shortest, longest = _LENGTHS[int(tenth) : int(tenth) + 2]
        length = round(shortest + part * (longest - shortest))
        while len(text) < length:
            text += " " + rng.choice(texts)
        end = text.rfind(" ", 0, length + 1)
        yield text[: end if end > 0 else length]


def pick(texts: Sequence[str], count: int) -> list[str]:
    """Return so many texts, evenly spaced; all of them over again where there are fewer."""
    if count > len(texts):
        return [texts[index % len(texts)] for index in range(count)]
    return [texts[index * len(texts) // count] for index in range(count)]


def cut(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, max_length: int) -> list[str]:
    """Cut texts at the end of a word so that none has more tokens than that: all sides then read the same.

    :param max_length: in tokens, special tokens included.
    """
    encodings = tokenizer(list(texts), truncation=True, max_length=max_length).encodings
    assert encodings is not None
    return [_cut(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]


def _cut(text: str, encoding: object) -> str:
    """Cut one text where its encoding was cut, or before the word of which a part is missing."""
    overflowing = encoding.overflowing  # type: ignore[attr-defined]
    if not overflowing:
        return text
    words, offsets = encoding.word_ids, encoding.offsets  # type: ignore[attr-defined]
    last = max(index for index, word in enumerate(words) if word is not None)
    first_missing = next(word for word in overflowing[0].word_ids if word is not None)
    while last > 1 and words[last] == first_missing:
        last -= 1
    return text[: offsets[last][1]]
