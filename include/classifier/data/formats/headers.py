"""Whether a file has the columns that the settings name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

#: Nothing, or one or two words, as a column is called.
_COLUMN_NAME = re.compile(r"|[^\W\d][\w.:-]{0,39}( [\w.:-]{1,39})?")
_MOST_COLUMN_NAMES = 20


def has_columns(names: Sequence[str], source: Source, data: DataConfig, problems: Problems) -> bool:
    """Return whether text and label can be told; gathers what is wrong with the names otherwise."""
    if not data.has_header:
        remedy = "Let text_column and label_column be names (in quotation marks where a name is a number)."
        problems.add(source.name, "its columns have names, and the settings give their numbers", remedy)
        return False
    wanted = data.columns
    settings = "text_column, label_column and the columns of slices" if data.slices else "text_column and label_column"
    missing = [name for name in wanted if name not in names]
    if missing and set(names) & set(data.labels):
        # The first review is taken for the names of the columns, and a review belongs in no log.
        problems.add(
            source.name,
            "a label stands where the names of the columns should",
            "Begin the file with a header line, or let text_column and label_column be the numbers of the columns.",
        )
    elif missing:
        problems.add(
            source.name,
            f"missing columns: {', '.join(map(repr, missing))}; there are: {_listed(names)}",
            f"Rename the columns, or set {settings} in the model's YAML.",
        )
    twice = [name for name in wanted if list(names).count(name) > 1]
    if twice:
        problems.add(
            source.name, f"columns that stand there twice: {', '.join(map(repr, twice))}", "Rename one of them."
        )
    return not missing and not twice


def numbered_columns(count: int, source: Source, data: DataConfig, problems: Problems) -> list[str]:
    """Return what columns without names are called: their numbers, from 1; none when there are too few of them."""
    if missing := [number for number in data.columns if int(number) > count]:
        problems.add(
            source.name,
            f"has {count:,} columns, and the settings ask for number {', '.join(missing)}",
            "Check text_column and label_column in the model's YAML: the first column is 1.",
        )
        return []
    return [str(number) for number in range(1, count + 1)]


def _listed(names: Sequence[str]) -> str:
    """Return the names, when they look like some: a file without a header has its first review here."""
    if not all(_COLUMN_NAME.fullmatch(name) for name in names):
        return f"{len(names):,} that do not look like names (no header line?)"
    shown = [repr(name) for name in names[:_MOST_COLUMN_NAMES]]
    if left := len(names) - len(shown):
        shown.append(f"{left:,} more")
    return ", ".join(shown) or "none"
