"""Shows the first rows of a source as preprocessing would read them; texts included, and so at a terminal alone.

``python -m include.classifier.preview``, on stdin ``{"data": {…}, "source": "…", "rows": 5, "timezone": "UTC"}``: the
section ``data`` of the model's YAML, a source in the place of those that it names, and the clock that its days go by.

Ends with 0, with 2 when data or settings are wrong, and with 1 when another try may help.
"""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from include.classifier.data.checks import DROP_REASONS, Checked, RowChecks
from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.encodings import SAMPLE_BYTES, guesses
from include.classifier.data.moving.dated_sources import on_days
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems, SourceUnavailableError
from include.classifier.data.readers import read_batches
from include.classifier.data.sources import Source
from include.contracts.dates import is_dated
from include.contracts.printable import printable
from include.contracts.queries import QUERY
from include.contracts.section import problems as wrong_settings
from include.contracts.settings import DataConfig

#: Characters of a text that are shown.
_SHOWN = 300


def preview(data: DataConfig, uri: str, *, rows: int, timezone: str = "UTC") -> Iterator[str]:
    """Yield what people read of the first rows of a source, line by line; of dated data those of the first day.

    :param timezone: whose days they are.
    :raises DataError: when something is wrong with what was read.
    :raises SourceUnavailableError: when a store or server does not hand it out.
    """
    problems = Problems()
    source = Source(uri, "train")
    if uri.startswith(QUERY):
        raise DataError(f"{uri}: its rows are Airflow's to fetch, in a release. Name another source with DATA=.")
    window = data.with_sources([uri], None).window(datetime.now(UTC), timezone)
    dated = on_days(source, window) if window and is_dated(uri) else None
    if dated == []:
        raise DataError(f"{source.name}: nothing is there for any of the days {window}.")
    files = all_files(dated or [source], problems)
    problems.raise_if_any()
    source = files[0]
    yield f"{source.name}: {source.format}{f', the first of {len(files):,} files' if len(files) > 1 else ''}"
    checks = RowChecks(data, problems)
    left = rows
    for batch in read_batches(source, data, problems):
        yield from _rows(batch, checks.check(batch, source), source, data, count=left)
        left -= len(batch.numbers)
        if left <= 0:
            break
    if source.format in ("csv", "tsv", "jsonl") and data.encoding is None:
        yield from _readings(source)
    problems.raise_if_any()


def _rows(batch: Batch, checked: Checked, source: Source, data: DataConfig, *, count: int) -> Iterator[str]:
    names = list(data.labels.values())
    found = zip(batch.numbers[:count].tolist(), batch.labels[:count], checked.texts[:count].to_pylist(), strict=True)
    for (number, label, text), class_, reason in zip(found, checked.classes, checked.reasons, strict=False):
        value = printable(str(getattr(label, "as_py", lambda value=label: value)()))
        meaning = names[class_] if class_ >= 0 else "unknown"
        fate = f"; dropped as {DROP_REASONS[reason - 1]}" if reason else ""
        yield f"\n{source.place(number)}: label {value} ({meaning}), {len(text):,} characters{fate}"
        yield f"  {printable(text[:_SHOWN])}{'…' if len(text) > _SHOWN else ''}"


def _readings(source: Source) -> Iterator[str]:
    """Yield how the first line that is not ASCII reads in each encoding that is likely, where it is not UTF-8."""
    with source.open() as file:
        sample = file.read(SAMPLE_BYTES)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        line = next(line for line in sample.splitlines() if not line.isascii())
        for name, share in guesses(sample):
            yield f"\nAs {name} ({share:.0%} letters), a line reads:"
            yield f"  {printable(line.decode(name, errors='replace')[:_SHOWN])}"


def main() -> int:
    """Run from the command line.

    :return: exit code.
    """
    if not sys.stdout.isatty():
        print("The first rows are shown at a terminal alone: a log or a file would keep their texts.", file=sys.stderr)
        return 2
    question: dict[str, Any] = json.load(sys.stdin)
    try:
        data = DataConfig.model_validate(question["data"])
        for line in preview(data, question["source"], rows=question["rows"], timezone=question.get("timezone", "UTC")):
            print(line)
    except ValidationError as error:
        print(f"The settings are not valid: {wrong_settings(error, 'data')}.", file=sys.stderr)
        return 2
    except DataError as error:
        print("", *error.problems, sep="\n", file=sys.stderr)
        return 2
    except SourceUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
