"""Short reviews in any number, the same ones every time: most are fine, some need cleaning, repeat or are empty."""

from __future__ import annotations

import csv
import random
from itertools import product
from pathlib import Path

#: Five labels; what a row's label says is not what its text says, which does not matter here.
LABELS = {str(star): f"{star} stars" for star in range(1, 6)}
_WHEN = ("On Monday", "Last week", "In March", "Twice now", "For lunch", "After work", "On a rainy day", "Again")
_WHO = ("we", "my sister", "the whole team", "our neighbours", "three of us", "my old friend", "a colleague", "I")
_DID = ("tried", "ordered", "shared", "waited for", "sent back", "came for", "praised", "could not finish")
_HOW = ("cold", "crisp", "salty", "famous", "tiny", "generous", "spicy", "burnt", "homemade", "plain")
_WHAT = ("soup", "noodles", "pizza", "breakfast", "dumplings", "cake", "salad", "coffee", "curry", "burger")
_BEGINNINGS = [" ".join(words) for words in product(_WHEN, _WHO, _DID)]
_MIDDLES = [" ".join(words) for words in product(("the", "a", "some", "their"), _HOW, _WHAT)]
_ENDINGS = [
    f"{joint} {subject} {verdict}{mark}"
    for joint in (", and", ", but", " while", " because", "; still")
    for subject in ("the staff", "the bill", "the music", "the room", "service")
    for verdict in ("was lovely", "took ages", "made up for it", "was too much", "is not what it was", "felt right")
    for mark in (".", "!")
]
#: Of the rows that stay as they are, those that repeat another, and those that are empty or need cleaning.
_SHARES = (0.88, 0.02, 0.1)
_REMEMBERED = 1000
_CHUNK_ROWS = 50_000


def write_reviews(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write training and evaluation data as CSV, nine rows to one; some rows stand in both.

    :param folder: an empty one that is there.
    :return: both files.
    """
    rng = random.Random(rows)  # noqa: S311 - the same rows every time
    evaluation = rows // 10
    files = folder / "train.csv", folder / "evaluation.csv"
    remembered = _texts(rng, _REMEMBERED)
    for file, count in zip(files, (rows - evaluation, evaluation), strict=True):
        with file.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(["text", "label"])
            for begin in range(0, count, _CHUNK_ROWS):
                texts = _texts(rng, min(_CHUNK_ROWS, count - begin))
                _spoil(texts, rng, remembered)
                writer.writerows(zip(texts, rng.choices("12345", k=len(texts)), strict=True))
    return files


def _texts(rng: random.Random, rows: int) -> list[str]:
    parts = (rng.choices(part, k=rows) for part in (_BEGINNINGS, _MIDDLES, _ENDINGS))
    return [f"{beginning} {middle}{ending}" for beginning, middle, ending in zip(*parts, strict=True)]


def _spoil(texts: list[str], rng: random.Random, remembered: list[str]) -> None:
    for index, kind in enumerate(rng.choices(range(3), _SHARES, k=len(texts))):
        if kind == 1:
            texts[index] = rng.choice(remembered)
        elif kind == 2:
            text = texts[index]
            texts[index] = rng.choice(
                (" ", text.replace(" ", "  ", 2), text.replace("a", "á", 1), text.replace(" ", r"\n", 1))
            )
