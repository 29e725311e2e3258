"""What data must look like: first each row, then each split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from include.classifier.data.columns import as_texts, clean_all, distinct, joined, unescape_all
from include.classifier.data.contents import personal_data
from include.classifier.data.contents.personal_data import PersonalData
from include.classifier.data.formats.batches import Batch
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source, SplitName
from include.contracts.kinds.labels import label_text
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Reasons to drop a row instead of refusing the file, as they stand in dataset.json. A row has the first that fits.
EMPTY, UNKNOWN_LABEL, DUPLICATE, LEAKED = DROP_REASONS = ("empty", "unknown_label", "duplicate", "leaked")

#: Classes that a message names; the rest is counted.
_CLASSES_SHOWN = 10

_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")


class LabelIndex:
    """Finds the class of a value in the label column.

    ``4``, ``4.0``, ``"4"``, ``" 4 "`` and ``"4.0"`` are the same label, however the file's format writes it.

    :param keys: keys of ``data.labels``, in the order of the classes.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._exact = {label_text(key): index for index, key in enumerate(keys)}
        self._loose: dict[str, int] = {}
        for index, key in enumerate(keys):
            self._loose.setdefault(_whole(label_text(key)), index)

    def find(self, value: Any) -> int:
        """Return the index of the class, -1 for a label that the model does not know."""
        if value is None:
            return -1
        text = label_text(value)
        if isinstance(value, bool) and text not in self._exact:
            text = text.lower()  # as YAML and JSON write it
        # A key that is written just like this goes first: labels may be versions, 1.0 beside 1.
        return self._exact.get(text, self._loose.get(_whole(text), -1))


def _sort(value: Any) -> str:
    """Return what sort of value stands in a column, empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "whole number" if isinstance(value, int) else "number"


def _whole(text: str) -> str:
    match = _WHOLE_NUMBER.fullmatch(text)
    return match[1] if match else text


class Checked(NamedTuple):
    """What is left of a batch: a text, a class and a fate for each row, in its order."""

    texts: pa.Array  #: Cleaned; may be empty.
    classes: np.ndarray  #: int64, -1 for a label that the model does not know.
    reasons: np.ndarray  #: int8: 0 for a row that is kept, else 1 + the reason's index in DROP_REASONS.


class CheckedTexts(NamedTuple):
    """The texts of a batch, whatever their labels."""

    cleaned: pa.Array  #: May be empty.
    refused: dict[str, np.ndarray]  #: What is wrong -> which rows it is wrong with, bool, shape (rows,).


def check_texts(columns: Sequence[pa.Array | list[Any]], data: DataConfig) -> CheckedTexts:
    """Join and clean the texts of a batch and say what is wrong with them."""
    import numpy as np

    parts = [as_texts(column) for column in columns]
    texts = joined([part.values for part in parts], data.text_separator)
    cleaned = clean_all(unescape_all(texts) if data.unescape else texts)
    refused = {
        _TEXT_TYPE: ~np.logical_and.reduce([part.are_texts for part in parts]),
        _TEXT_LENGTH: characters(texts) > data.max_text_characters,
        _TEXT_UNICODE: ~np.logical_and.reduce([part.are_unicode for part in parts]),
    }
    return CheckedTexts(cleaned, refused)


class RowChecks:
    """Checks rows batch by batch: refuses the file for some mistakes, drops the row for others.

    :param problems: gathers the mistakes for which a file is refused.
    """

    def __init__(self, data: DataConfig, problems: Problems) -> None:
        self._labels = LabelIndex(list(data.labels))
        self._data = data
        self.unknown_labels = UnknownLabels()
        self.personal_data = PersonalData(data.personal_data)
        #: Sorts of values that stand in the label column.
        self.label_types: set[str] = set()
        self._problems = problems

    def check(self, batch: Batch, source: Source) -> Checked:
        """Clean the texts of a batch, find the classes and say what is wrong.

        :param source: where the rows come from, for the message.
        """
        import numpy as np

        cleaned, refused = check_texts(batch.texts, self._data)
        cleaned, personal = self.personal_data.check(cleaned, source.split)
        refused |= personal
        labels, rows = distinct(batch.labels)
        self.label_types |= {_sort(label) for label in labels} - {""}
        classes = np.array([self._labels.find(label) for label in labels], dtype=np.int64)
        counts = np.bincount(rows, minlength=len(labels))
        self.unknown_labels.add((labels[index], int(counts[index])) for index in np.flatnonzero(classes < 0))
        classes = classes[rows]
        reasons = np.zeros(len(classes), dtype=np.int8)
        reasons[classes < 0] = reason_code(UNKNOWN_LABEL)
        reasons[characters(cleaned) == 0] = reason_code(EMPTY)  # the more telling one last, so that it stays
        known_types = np.array([isinstance(label, _LABEL_TYPES) for label in labels], dtype=bool)[rows]
        refused[_LABEL_TYPE] = ~known_types
        found = [(int(row), what) for what, fails in refused.items() for row in np.flatnonzero(fails)]
        for row, what in sorted(found, key=itemgetter(0)):
            self._problems.add(source.name, what, _REMEDIES[what], place=source.place(batch.numbers[row]))
        return Checked(cleaned, classes, reasons)


class UnknownLabels:
    """Values of the label column that the model does not know: few, short and frequent ones, which are no texts."""

    _MOST, _FEWEST_ROWS, _SHOWN = 1000, 3, 10
    LONGEST = 40  #: Of those that are shown, in characters.

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, found: Iterable[tuple[Any, int]]) -> None:
        """Count values and their rows."""
        for value, count in found:
            text = label_text(value)
            if value is not None and text and (text in self._counts or len(self._counts) < self._MOST):
                self._counts[text] = self._counts.get(text, 0) + count

    def __str__(self) -> str:
        """Return the most frequent ones for a message, empty when there are none to be shown."""
        found = sorted(self._counts.items(), key=lambda item: -item[1])
        shown = [
            f"{text!r} ({count:,} rows)"
            for text, count in found
            if count >= self._FEWEST_ROWS and len(text) <= self.LONGEST
        ]
        return ", ".join(shown[: self._SHOWN])


def reason_code(reason: str) -> int:
    """Return how a reason to drop a row stands in an array; 0 is none."""
    return 1 + DROP_REASONS.index(reason)


_LABEL_TYPES = (str, int, float, bool, Decimal, type(None))

_TEXT_TYPE = "the text is not a string"
_TEXT_LENGTH = "the text is longer than max_text_characters"
_TEXT_UNICODE = "the text holds half of a surrogate pair, which is no character"
_LABEL_TYPE = "the label is neither a string nor a number"
_REMEDIES = {
    _TEXT_TYPE: "Check text_column in the model's YAML, and how the file was written.",
    _TEXT_LENGTH: "Look for a quotation mark that is not closed before it, or raise max_text_characters.",
    _TEXT_UNICODE: "Repair the escape sequence, or write the file again as UTF-8.",
    _LABEL_TYPE: "Check label_column in the model's YAML, and how the file was written.",
} | personal_data.REMEDIES


def characters(texts: pa.Array) -> np.ndarray:
    """Return how many each text has, 0 for a null; int, shape (rows,)."""
    from pyarrow import compute

    return compute.utf8_length(texts).fill_null(0).to_numpy()


def check_split(
    counts: Sequence[int], split: SplitName, data: DataConfig, problems: Problems, *, lost: str, unknown: str = ""
) -> None:
    """Check what is left of a split: enough rows, more than one label, no class next to empty.

    :param counts: rows of each class that are kept.
    :param lost: how many rows were dropped and why, for the message.
    :param unknown: labels that the model does not know, for the message.
    """
    remedy_for_labels = (
        f"Labels that `labels` in the model's YAML does not name: {unknown}; name them, or set `label_column`. "
        if unknown
        else ""
    )
    keys = list(data.labels)
    rows = sum(counts)
    setting, fewest = (
        ("min_rows", data.min_rows) if split == "train" else ("min_evaluation_rows", data.min_evaluation_rows)
    )
    floor = data.smallest_class_share if split == "train" else 0.0
    found = f"{split} data"
    if rows < fewest:
        what = f"rows left: {rows} (dropped: {lost}), {setting} asks for at least {fewest}"
        problems.add(found, what, f"{remedy_for_labels}Give more rows, or lower the setting.")
    present = [repr(key) for key, count in zip(keys, counts, strict=True) if count]
    if len(present) == 1:
        remedy = f"{remedy_for_labels}Give rows with other labels; check label_column and labels in the model's YAML."
        problems.add(found, f"all rows have one single label: {present[0]}", remedy)
    below = [f"{key!r} has {count}" for key, count in zip(keys, counts, strict=True) if count < floor * rows]
    if below:
        more = f" and {len(below) - _CLASSES_SHOWN:,} more classes" if len(below) > _CLASSES_SHOWN else ""
        shown = ", ".join(below[:_CLASSES_SHOWN])
        what = f"below min_class_share of {floor:g} among {rows} rows: {shown}{more}"
        problems.add(found, what, f"{remedy_for_labels}Give more rows of these labels, or lower the setting.")
