"""What data must look like, as pandera schemas: first each row, then each split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from include.classifier.problems import Problems
from include.classifier.sources import Source, SplitName
from include.models.model_config import DataConfig

if TYPE_CHECKING:
    import pandas as pd
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


def check_rows(frame: pd.DataFrame, sources: Sequence[Source], data: DataConfig, problems: Problems) -> None:
    """Check each row: refuses the file for some mistakes, marks the row for others.

    :param frame: columns ``source`` (index into sources), ``number``, ``text``, ``label`` (as read), ``cleaned``,
        ``class`` (-1: unknown) and ``dropped``, where the reason is put.
    """
    from pandera.errors import SchemaErrors

    try:
        _row_schema(data).validate(_facts(frame), lazy=True)
    except SchemaErrors as errors:
        failures = errors.failure_cases
    else:
        return
    for reason in (UNKNOWN_LABEL, EMPTY):  # the more telling one last, so that it stays
        frame.loc[failures.loc[failures["check"] == reason, "index"], "dropped"] = reason
    refused = failures[~failures["check"].isin(DROP_REASONS)].sort_values("index")
    for index, what in zip(refused["index"], refused["check"], strict=True):
        source = sources[frame.at[index, "source"]]
        problems.add(source.name, what, _REMEDIES[what], place=source.place(frame.at[index, "number"]))


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


def _facts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what is checked: facts about texts and never the texts, because an error repeats what it is about."""
    import pandas as pd

    return pd.DataFrame(
        {
            "text_type": frame["text"].map(lambda text: type(text).__name__),
            "characters": frame["text"].map(lambda text: len(text) if isinstance(text, str) else 0).astype("int64"),
            "unicode": frame["text"].map(_is_unicode).astype("bool"),
            "label_type": frame["label"].map(lambda label: type(label).__name__),
            "filled": frame["cleaned"] != "",
            "class": frame["class"],
        }
    )


def _row_schema(data: DataConfig) -> DataFrameSchema:
    import pandera.pandas as pa

    checks = {
        "text_type": pa.Check.isin(["str", "NoneType"], error=_TEXT_TYPE),
        "characters": pa.Check.le(data.max_text_characters, error=_TEXT_LENGTH),
        "unicode": pa.Check.eq(True, error=_TEXT_UNICODE),
        "label_type": pa.Check.isin(["str", "int", "float", "bool", "NoneType"], error=_LABEL_TYPE),
        "filled": pa.Check.eq(True, error=EMPTY),
        "class": pa.Check.ge(0, error=UNKNOWN_LABEL),
    }
    return pa.DataFrameSchema({column: pa.Column(checks=check) for column, check in checks.items()})


def _is_unicode(text: Any) -> bool:
    if not isinstance(text, str) or text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_split(frame: pd.DataFrame, split: SplitName, data: DataConfig, problems: Problems, *, lost: str) -> None:
    """Check what is left of a split: enough rows, more than one label, no class next to empty.

    :param frame: the rows that are kept; only column ``class`` is looked at.
    :param lost: how many rows were dropped and why, for the message.
    """
    from pandera.errors import SchemaErrors

    schema, remedies = _split_schema(frame, split, data, lost)
    try:
        schema.validate(frame[["class"]], lazy=True)
    except SchemaErrors as errors:
        for what in errors.failure_cases["check"]:
            problems.add(f"{split} data", what, remedies[what])


def _split_schema(
    frame: pd.DataFrame, split: SplitName, data: DataConfig, lost: str
) -> tuple[DataFrameSchema, dict[str, str]]:
    import pandera.pandas as pa

    keys = list(data.labels)
    rows = len(frame)
    counts = [int((frame["class"] == index).sum()) for index in range(len(keys))]
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
        {"class": pa.Column(int)},
        checks=[
            pa.Check(lambda _: rows >= fewest, error=too_few),
            pa.Check(lambda _: rows == 0 or sum(count > 0 for count in counts) > 1, error=one_label),
            pa.Check(lambda _: min(counts) >= floor * rows, error=below),
        ],
    )
    return schema, remedies
