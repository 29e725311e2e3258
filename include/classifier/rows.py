"""The rows of all sources in one table: reads them, marks those that repeat, splits evaluation rows off."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from include.classifier.checks import DUPLICATE, LEAKED, LabelIndex
from include.classifier.problems import DataError, Problems
from include.classifier.readers import read_rows
from include.classifier.serving.text import clean
from include.classifier.sources import Source
from include.models.model_config import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_PROGRESS_ROWS = 100_000


def read_table(sources: Sequence[Source], data: DataConfig, problems: Problems) -> pd.DataFrame:
    """Read all sources, printing how far it is with a long one.

    :param problems: gathers what is wrong with the files.
    :return: columns ``source`` (index into sources), ``split``, ``number`` (line or row index), ``text`` and ``label``
        (as read), ``cleaned``, ``class`` (-1: unknown) and ``dropped`` (a reason; empty: the row is kept).
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    import pandas as pd

    labels = LabelIndex(list(data.labels))
    columns: dict[str, list] = {name: [] for name in ("source", "number", "text", "label", "cleaned", "class")}
    for index, source in enumerate(sources):
        try:
            for count, row in enumerate(read_rows(source, data, problems), start=1):
                cleaned = clean(row.text) if isinstance(row.text, str) else ""
                values = (index, row.number, row.text, row.label, cleaned, labels.find(row.label))
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
                if count % _PROGRESS_ROWS == 0:
                    print(f"{source.name}: {count:,} rows read.", flush=True)
        except DataError as error:
            problems.take(error)
    types = {"source": "int64", "number": "int64", "class": "int64"}
    table = pd.DataFrame({name: pd.Series(values, dtype=types.get(name, "object")) for name, values in columns.items()})
    table["split"] = table["source"].map(lambda index: sources[index].split).astype("object")
    table["dropped"] = pd.Series("", index=table.index, dtype="object")
    return table


def mark_repeated(table: pd.DataFrame) -> pd.DataFrame:
    """Mark rows whose cleaned text stood in the split before, and evaluation rows whose text is trained on.

    The label does not count: with one text under two labels in the table, a later split could tear them apart, and
    the model would be measured on what it has learned.

    :return: the duplicates whose label is not that of the row that stays: somebody should look at these.
    """
    kept = table[table["dropped"] == ""]
    groups = kept.groupby(["split", "cleaned"], sort=False)["class"]
    repeated = kept[groups.cumcount() > 0]
    contradicting = repeated[repeated["class"] != groups.transform("first")[repeated.index]]
    table.loc[repeated.index, "dropped"] = DUPLICATE

    kept = table[table["dropped"] == ""]
    trained_on = set(kept.loc[kept["split"] == "train", "cleaned"])
    leaked = (kept["split"] == "evaluation") & kept["cleaned"].isin(trained_on)
    table.loc[leaked.index[leaked], "dropped"] = LEAKED
    return contradicting


def split_off(classes: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose rows for evaluation, the same share of each class.

    :param classes: class of each row, shape (rows,).
    :param fraction: share that goes to evaluation; of two rows or more, at least one goes and one stays.
    :return: True for rows that go to evaluation, shape (rows,).
    """
    import numpy as np

    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose, nothing here is secret
    chosen = np.zeros(len(classes), dtype=bool)
    for index in np.unique(classes):
        positions = np.flatnonzero(classes == index).tolist()
        count = min(max(1, round(len(positions) * fraction)), len(positions) - 1)
        chosen[rng.sample(positions, count)] = True
    return chosen
