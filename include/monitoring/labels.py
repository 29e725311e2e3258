"""Takes labels that arrive after requests were answered: from a file of somebody's into the model store.

``python -m include.monitoring.labels --model NAME --store-uri URI --file FILE``, with ``--labels JSON`` for a model
whose labels are known.

A CSV file has a header with ``id`` and ``label`` and, where a request had several rows, ``row``; JSON Lines have the
same names. Everything or nothing is taken: a line that is wrong is named, with its place and without what stands there.
Ends with 2 when the file is wrong, and with 1 when another try may help; the reason is the last line on stderr.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO
from uuid import uuid4

from pydantic import ValidationError

from include.classifier.data.problems import DataError, SourceUnavailableError
from include.classifier.data.sources import Source, as_uri, write_whole
from include.contracts.kinds.labels import label_text
from include.contracts.monitoring.labels import MOST_LABEL_CHARACTERS, ArrivedLabel
from include.contracts.monitoring.layout import LABELS
from include.contracts.section import problems
from include.contracts.version.files import reason_of

#: Of one file.
MOST_BYTES = 200_000_000
MOST_LABELS = 1_000_000
_MOST_PROBLEMS = 5
_MOST_CELL_CHARACTERS = 1000


def add_labels(
    file_uri: str, *, store_uri: str, labels: Mapping[str, str] | None = None, at: datetime | None = None
) -> int:
    """Write the labels of a file into the model store and return how many they are.

    :param file_uri: path or URI of a ``.csv`` or ``.jsonl`` file.
    :param labels: ``data.labels`` of the model: either of both names of a label is taken; ``None``: any label.
    :param at: when they have arrived; ``None``: now.
    :raises DataError: naming what is wrong with the file; nothing was written then.
    :raises SourceUnavailableError: when its store does not hand it out.
    """
    source, now = Source(file_uri, "train"), at or datetime.now(UTC)
    names = _names(labels) if labels else None
    wrong: list[str] = []
    found: dict[tuple[str, int], ArrivedLabel] = {}
    count = 0
    with source.open() as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"{source.name}: has more than {MOST_BYTES // 1_000_000} MB. Give its labels in several files.")
    text = io.StringIO(_decoded(content, source.name), newline="")
    for place, given in _rows(text, source):
        count += 1
        if count > MOST_LABELS:
            raise DataError(f"{source.name}: has more than {MOST_LABELS:,} labels. Give them in several files.")
        try:
            label = _read(given, names, now=now, origin=source.name[:200])
        except ValueError as error:
            wrong.append(f"{place}: {error}")
            if len(wrong) == _MOST_PROBLEMS:
                break
            continue
        before = found.get((label.id, label.row))
        if before is not None and before.label != label.label:
            wrong.append(f"{place}: this row of this request has another label further up")
        found[label.id, label.row] = label
    if wrong:
        raise DataError(f"{source.name}: nothing was taken; {'; '.join(wrong[:_MOST_PROBLEMS])}.")
    if not found:
        raise DataError(f"{source.name}: holds no label. It needs the columns id and label.")
    lines = [json.dumps(each.model_dump(), ensure_ascii=False) for each in found.values()]
    name = f"{now:%H%M%S}-{uuid4().hex[:12]}.jsonl"
    write_whole(f"{as_uri(store_uri)}/{LABELS}/{now:%Y-%m-%d}/{name}", "\n".join(lines) + "\n")
    return len(found)


def _names(labels: Mapping[str, str]) -> dict[str, str]:
    """Return what a file may call a label -> the name that the endpoint answers; names go before keys."""
    return {label_text(key): name for key, name in labels.items()} | {
        label_text(name): name for name in labels.values()
    }


def _read(given: Mapping[str, Any], names: Mapping[str, str] | None, *, now: datetime, origin: str) -> ArrivedLabel:
    """Return what a row says.

    :raises ValueError: without what stands there: it is an outsider's.
    """
    label, row = given.get("label"), given.get("row")
    if isinstance(label, bool | float | list | dict) or label is None or not label_text(label):
        raise ValueError("label: a text or a whole number is needed")
    text = label_text(label)
    if len(text) > MOST_LABEL_CHARACTERS:
        raise ValueError(f"label: it has more than {MOST_LABEL_CHARACTERS} characters")
    if names is not None and text not in names:
        raise ValueError("label: the model does not know it; `data.labels` in its YAML has those that it knows")
    try:
        number = 0 if row in (None, "") else int(str(row))
    except ValueError:
        raise ValueError("row: a whole number from 0 is needed") from None
    try:
        return ArrivedLabel(
            schema_version=1,
            id=given.get("id"),  # type: ignore[arg-type]
            row=number,
            label=names[text] if names is not None else text,
            at=now.isoformat(timespec="milliseconds"),
            origin=origin,
        )
    except ValidationError as error:
        raise ValueError(problems(error)) from None


def _rows(text: TextIO, source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if source.format == "jsonl":
        yield from _json_lines(text, source)
    elif source.format in ("csv", "tsv"):
        yield from _table(text, source, "\t" if source.format == "tsv" else ",")
    else:
        raise DataError(f"{source.name}: labels are read from .csv, .tsv and .jsonl files.")


def _json_lines(text: TextIO, source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{source.name}: nothing was taken; line {number} is no JSON.") from None
        if not isinstance(found, dict):
            raise DataError(f"{source.name}: nothing was taken; line {number} is no JSON object.")
        yield f"line {number}", found


def _table(text: TextIO, source: Source, delimiter: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    limit = csv.field_size_limit(_MOST_CELL_CHARACTERS)
    try:
        reader = csv.DictReader(text, delimiter=delimiter)
        if not {"id", "label"} <= set(reader.fieldnames or ()):
            raise DataError(f"{source.name}: its first line must name the columns id and label, and may name row.")
        for found in reader:
            yield f"line {reader.line_num}", found
    except csv.Error:
        raise DataError(f"{source.name}: nothing was taken; it is no CSV file of short cells.") from None
    finally:
        csv.field_size_limit(limit)


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: byte {error.start} is not UTF-8. Write it again as UTF-8.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m include.monitoring.labels", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--store-uri", required=True, help="the model's folder in the model store")
    parser.add_argument("--file", required=True, help="path or URI of the labels: .csv, .tsv or .jsonl")
    parser.add_argument("--labels", type=json.loads, help="`data.labels` of the model's YAML as JSON (any)")
    options = parser.parse_args(arguments)
    try:
        count = add_labels(options.file, store_uri=options.store_uri, labels=options.labels)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except PermissionError as error:
        print(reason_of(error), file=sys.stderr)
        return 2
    except (SourceUnavailableError, OSError) as error:
        print(f"Reading or writing failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.model}: {count:,} labels taken; the next comparison joins them with captured requests.", flush=True
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
