"""What many projects do before training, in pandas: read, clean, drop, split, write. The peer of our preprocessing.

``python -m benchmarks.pandas_preprocessing --train FILE [--evaluation FILE] --output FOLDER``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from benchmarks.generated_reviews import LABELS
from include.classifier.serving.text import clean

CLASSES = {label: index for index, label in enumerate(LABELS)}


def read(file: Path) -> pd.DataFrame:
    """Return cleaned texts and classes of the rows that are neither empty nor of an unknown label, each text once."""
    frame = pd.read_csv(file, usecols=["text", "label"], dtype=str, na_filter=False)
    frame["text"] = frame["text"].map(clean)
    frame["label"] = frame["label"].map(CLASSES)
    frame = frame[(frame["text"] != "") & frame["label"].notna()]
    return frame.drop_duplicates("text")


def main() -> None:
    """Write ``train.parquet`` and ``evaluation.parquet``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, help="without it, a fifth of each class is split off")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    train = read(given.train)
    if given.evaluation:
        evaluation = read(given.evaluation)
        evaluation = evaluation[~evaluation["text"].isin(train["text"])]
    else:
        evaluation = train.groupby("label").sample(frac=0.2, random_state=42).sort_index()
        train = train.drop(evaluation.index)
    given.output.mkdir(parents=True, exist_ok=True)
    train.to_parquet(given.output / "train.parquet", compression="zstd", index=False)
    evaluation.to_parquet(given.output / "evaluation.parquet", compression="zstd", index=False)
    print(f"{len(train):,} rows to train on, {len(evaluation):,} to evaluate on.")


if __name__ == "__main__":
    main()
