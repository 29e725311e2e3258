"""Makes the sample data: short reviews with one to five stars, the same bytes at every run.

Each review is put together from a place, aspects of it, opinions of one strength and a verdict. Some reviews of two
to four stars also carry a remark of the other kind ("at least the tea was good"), so that a model has to weigh what
it reads, and a few openings and remarks carry no opinion at all.

Run it with ``python -m include.sample_data.generate``.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from include.sample_data.vocabulary import ADVERBS, ASIDES, COUNTERPOINTS, DOMAINS, FRAMES, OPINIONS, VERDICTS

SEED = 20261121
TRAIN_ROWS_PER_STAR = 120
EVALUATION_ROWS_PER_STAR = 30
FOLDER = Path(__file__).parent


def make_review(stars: int, rng: random.Random) -> str:
    """Make one review.

    :param stars: 1 to 5.
    """
    domain = rng.choice(DOMAINS)
    place = rng.choice(domain.places)
    first, second, third, fourth = rng.sample(domain.aspects, 4)
    opinion, other, more = rng.sample(OPINIONS[stars], 3)
    adverb = rng.choice(ADVERBS[stars])
    frame = rng.choice(FRAMES)
    sentences = [
        frame.format(
            First=_capital(first),
            first=first,
            second=second,
            opinion=opinion,
            other=other,
            Adverb=_capital(adverb),
            place=place,
        )
    ]
    if rng.random() < 0.3:
        sentences.append(f"{_capital(third)} {more}.")
    if stars in COUNTERPOINTS and rng.random() < 0.3:
        sentences.append(rng.choice(COUNTERPOINTS[stars]).format(aspect=fourth))
    if rng.random() < 0.4:
        sentences.insert(0, rng.choice(domain.occasions).format(place=place))
    if rng.random() < 0.25:
        sentences.append(rng.choice(ASIDES))
    if rng.random() < 0.7:
        sentences.append(rng.choice(VERDICTS[stars]).format(place=place))
    return " ".join(sentences)


def make_rows(seed: int = SEED) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Make the rows of both files: (stars, text), shuffled; no text stands twice, in either file."""
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose, nothing here is secret
    seen: set[str] = set()
    train: list[tuple[int, str]] = []
    evaluation: list[tuple[int, str]] = []
    for rows, per_star in ((train, TRAIN_ROWS_PER_STAR), (evaluation, EVALUATION_ROWS_PER_STAR)):
        for stars in OPINIONS:
            wanted = len(rows) + per_star
            while len(rows) < wanted:
                text = make_review(stars, rng)
                if text not in seen:
                    seen.add(text)
                    rows.append((stars, text))
        rng.shuffle(rows)
    return train, evaluation


def write_files(folder: Path) -> None:
    """Write ``train.csv`` and ``evaluation.csv``."""
    for name, rows in zip(("train.csv", "evaluation.csv"), make_rows(), strict=True):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("label", "text"))
            writer.writerows(rows)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def main() -> None:
    """Write the files into this folder, or into another."""
    parser = argparse.ArgumentParser(description="Make the sample reviews.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write (default: %(default)s)")
    folder = parser.parse_args().folder
    write_files(folder)
    print(f"Sample reviews written to {folder}.")


if __name__ == "__main__":
    main()
