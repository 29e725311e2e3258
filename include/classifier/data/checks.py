"""What data must look like, as pandera schemas: first each row, then each split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from include.classifier.data.batches import Batch
from include.classifier.data.columns import Texts, as_texts, clean_all, distinct
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source, SplitName
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from pandera.pandas import DataFrameSchema

#: Reasons to drop a row instead of refusing the file, as they stand in dataset.json. A row has the first that fits.
EMPTY, UNKNOWN_LABEL, DUPLICATE, LEAKED = DROP_REASONS = ("empty", "unknown_label", "duplicate", "leaked")

_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")


class LabelIndex:
    """Finds the class of a value in the label column.

    ``4``, ``4.0``, ``"4"``, ``" 4 "`` and ``"4.0"`` are the same label, however the file's format writes it.

    :param keys: keys of ``data.labels``, in the order of the classes.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._exact = {_text(key): index for index, key in enumerate(keys)}
        self._loose: dict[str, int] = {}
        for index, key in enumerate(keys):
            self._loose.setdefault(_whole(_text(key)), index)

    def find(self, value: Any) -> int:
        """Return the index of the class, -1 for a label that the model does not know."""
        if value is None:
            return -1
        text = _text(value)
        # A key that is written just like this goes first: labels may be versions, 1.0 beside 1.
        return self._exact.get(text, self._loose.get(_whole(text), -1))


def _text(value: Any) -> str:
    return unicodedata.normalize("NFC", str(value)).strip()


def _whole(text: str) -> str:
    match = _WHOLE_NUMBER.fullmatch(text)
    return match[1] if match else text


class Checked(NamedTuple):
    """What is left of a batch: a text, a class and a fate for each row, in its order."""

    texts: pa.Array  #: Cleaned; may be empty.
    classes: np.ndarray  #: int64, -1 for a label that the model does not know.
    reasons: np.ndarray  #: int8: 0 for a row that is kept, else 1 + the reason's index in DROP_REASONS.


class RowChecks:
    """Checks rows batch by batch: refuses the file for some mistakes, drops the row for others.

    :param problems: gathers the mistakes for which a file is refused.
    """

    def __init__(self, data: DataConfig, problems: Problems) -> None:
        self._labels = LabelIndex(list(data.labels))
        self._schema = _row_schema(data)
        self._problems = problems

    def check(self, batch: Batch, source: Source) -> Checked:
        """Clean the texts of a batch, find the classes and say what is wrong.

        :param source: where the rows come from, for the message.
        """
        import numpy as np

        texts = as_texts(batch.texts)
        cleaned = clean_all(texts.values)
        labels, rows = distinct(batch.labels)
        classes = np.array([self._labels.find(label) for label in labels], dtype=np.int64)[rows]
        facts = _facts(texts, labels, rows) | {"filled": _characters(cleaned) > 0, "class": classes}
        reasons = np.zeros(len(classes), dtype=np.int8)
        failures = self._failures(facts)
        if failures is not None:
            for reason in (UNKNOWN_LABEL, EMPTY):  # the more telling one last, so that it stays
                reasons[failures["index"][failures["check"] == reason].to_numpy(np.int64)] = reason_code(reason)
            refused = failures[~failures["check"].isin(DROP_REASONS)].sort_values("index", kind="stable")
            for index, what in zip(refused["index"], refused["check"], strict=True):
                place = source.place(batch.numbers[index])
                self._problems.add(source.name, what, _REMEDIES[what], place=place)
        return Checked(cleaned, classes, reasons)

    def _failures(self, facts: dict[str, np.ndarray]) -> pd.DataFrame | None:
        import pandas as pd
        from pandera.errors import SchemaErrors

        try:
            self._schema.validate(pd.DataFrame(facts), lazy=True)
        except SchemaErrors as errors:
            return errors.failure_cases
        return None


def reason_code(reason: str) -> int:
    """Return how a reason to drop a row stands in an array; 0 is none."""
    return 1 + DROP_REASONS.index(reason)


_TEXT_TYPE = "the text is not a string"
_TEXT_LENGTH = "the text is longer than max_text_characters"
_TEXT_UNICODE = "the text holds half of a surrogate pair, which is no character"
_LABEL_TYPE = "the label is neither a string nor a number"
_REMEDIES = {
    _TEXT_TYPE: "Check text_column in the model's YAML, and how the file was written.",
    _TEXT_LENGTH: "Look for a quotation mark that is not closed before it, or raise max_text_characters.",
    _TEXT_UNICODE: "Repair the escape sequence, or write the file again as UTF-8.",
    _LABEL_TYPE: "Check label_column in the model's YAML, and how the file was written.",
}


def _facts(texts: Texts, labels: list[Any], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is checked: facts about texts and never the texts, because an error repeats what it is about."""
    import numpy as np

    known_types = (str, int, float, bool, type(None))
    return {
        "text_type": texts.are_texts,
        "characters": _characters(texts.values),
        "unicode": texts.are_unicode,
        "label_type": np.array([isinstance(label, known_types) for label in labels], dtype=bool)[rows],
    }


def _characters(texts: pa.Array) -> np.ndarray:
    from pyarrow import compute

    return compute.utf8_length(texts).fill_null(0).to_numpy()


def _row_schema(data: DataConfig) -> DataFrameSchema:
    import pandera.pandas as pa

    checks = {
        "text_type": pa.Check.eq(True, error=_TEXT_TYPE),
        "characters": pa.Check.le(data.max_text_characters, error=_TEXT_LENGTH),
        "unicode": pa.Check.eq(True, error=_TEXT_UNICODE),
        "label_type": pa.Check.eq(True, error=_LABEL_TYPE),
        "filled": pa.Check.eq(True, error=EMPTY),
        "class": pa.Check.ge(0, error=UNKNOWN_LABEL),
    }
    return pa.DataFrameSchema({column: pa.Column(checks=check) for column, check in checks.items()})


def check_split(counts: Sequence[int], split: SplitName, data: DataConfig, problems: Problems, *, lost: str) -> None:
    """Check what is left of a split: enough rows, more than one label, no class next to empty.

    :param counts: rows of each class that are kept.
    :param lost: how many rows were dropped and why, for the message.
    """
    import pandas as pd
    from pandera.errors import SchemaErrors

    schema, remedies = _split_schema(counts, split, data, lost)
    try:
        schema.validate(pd.DataFrame({"rows": counts}), lazy=True)
    except SchemaErrors as errors:
        for what in errors.failure_cases["check"]:
            problems.add(f"{split} data", what, remedies[what])


def _split_schema(
    counts: Sequence[int], split: SplitName, data: DataConfig, lost: str
) -> tuple[DataFrameSchema, dict[str, str]]:
    import pandera.pandas as pa

    keys = list(data.labels)
    rows = sum(counts)
    setting, fewest = (
        ("min_rows", data.min_rows) if split == "train" else ("min_evaluation_rows", data.min_evaluation_rows)
    )
    floor = data.min_class_share if split == "train" else 0.0
    too_few = f"rows left: {rows} (dropped: {lost}), {setting} asks for at least {fewest}"
    one_label = "all rows have one single label: " + ", ".join(
        repr(key) for key, count in zip(keys, counts, strict=True) if count
    )
    below = f"below min_class_share of {floor:g} among {rows} rows: " + ", ".join(
        f"{key!r} has {count}" for key, count in zip(keys, counts, strict=True) if count < floor * rows
    )
    remedies = {
        too_few: "Give more rows, or lower the setting.",
        one_label: "Give rows with other labels; check label_column and labels in the model's YAML.",
        below: "Give more rows of these labels, or lower the setting.",
    }
    schema = pa.DataFrameSchema(
        {"rows": pa.Column(int)},
        checks=[
            pa.Check(lambda _: rows >= fewest, error=too_few),
            pa.Check(lambda _: rows == 0 or sum(count > 0 for count in counts) > 1, error=one_label),
            pa.Check(lambda _: min(counts) >= floor * rows, error=below),
        ],
    )
    return schema, remedies
