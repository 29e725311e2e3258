"""Looks at the input once: pins its files by their digests, counts their rows, and divides them into shards."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from include.classifier.batch.output import Output
from include.classifier.batch.rows import JsonColumns, columns_of, only, read_chunks
from include.classifier.data.formats.headers import has_columns
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source
from include.classifier.packaging.archive import sha256_of
from include.classifier.progress import report
from include.contracts.batch.documents import OUTPUT_COLUMNS, Column, InputFile, Plan, Shard, Span
from include.contracts.rules.addresses import secrets_of
from include.contracts.settings import DataConfig

FORMATS = ("csv", "tsv", "jsonl", "parquet")
#: Rows whose numbers are kept of a file, to divide it; of a larger one every second, every fourth …
_MOST_MARKS = 1 << 16
#: Shards of one prediction: their files are listed, and their names have five digits.
_MOST_SHARDS = 50_000
_PROGRESS_ROWS = 1_000_000


class Marks:
    """Numbers of rows by which a file can be divided: every one of a small file, fewer of a large one."""

    def __init__(self) -> None:
        self.rows = 0
        self.stride = 1
        self.numbers: list[int] = []

    def add(self, numbers: Sequence[int]) -> None:
        """Take the numbers of the next rows."""
        self.numbers += numbers[-self.rows % self.stride :: self.stride]
        self.rows += len(numbers)
        while len(self.numbers) > _MOST_MARKS:
            self.numbers = self.numbers[::2]
            self.stride *= 2


def make_plan(
    data: DataConfig,
    *,
    output: Output,
    model: str,
    version: str,
    archive_sha256: str,
    allowed_sources: Sequence[str],
    shard_rows: int,
) -> Plan:
    """Return the plan of a prediction, which stands in its folder from then on; one that is there is carried on.

    :param data: how rows are read; ``train`` names the input.
    :param allowed_sources: what the input may be, see :mod:`include.contracts.rules.allowed_sources`.
    :param shard_rows: rows of a shard, at most.
    :raises DataError: when the input cannot be scored, or the folder holds the predictions of another one.
    :raises SourceUnavailableError: when a store does not hand out a file.
    """
    (uri,) = data.train
    if secrets_of(uri):
        raise DataError(
            "The address of the data holds a user, a password or a signature, which would stand in the plan: give the "
            "steps the credentials (`cluster.secrets`), and name the address without."
        )
    problems = Problems()
    files = all_files([Source(uri, "train", allowed_sources)], problems)
    problems.raise_if_any()
    told = {
        "model": model,
        "version": version,
        "archive_sha256": archive_sha256,
        "data_uri": uri,
        "text_columns": data.text_columns,
        "reading_sha256": reading_digest(data),
    }
    if plan := output.plan():
        _insist_on_same(plan, told, [source.uri for source in files], output)
        done = f"{plan.rows:,} rows in {len(plan.shards):,} shards"
        report(f"plan: {output.name} holds the plan of this prediction already ({done}); it is carried on")
        return plan
    plan = _new_plan(files, data, told, shard_rows)
    output.write(plan)
    return plan


def reading_digest(data: DataConfig) -> str:
    """Return the digest of the settings that decide which text a row has."""
    settings = data.model_dump(include={"text_column", "text_separator", "encoding", "unescape", "max_text_characters"})
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _insist_on_same(plan: Plan, told: dict[str, Any], uris: list[str], output: Output) -> None:
    found = plan.model_dump(include=set(told)) | {"files": [file.uri for file in plan.files]}
    if differing := [name for name, value in (told | {"files": uris}).items() if found[name] != value]:
        raise DataError(
            f"{output.name}: holds predictions by version {plan.version} of {plan.model} of {plan.data_uri}, made with "
            f"another {', another '.join(differing)}. Choose an empty folder; or, to go on with it, name the version "
            "and the input as they were."
        )


def _new_plan(files: Sequence[Source], data: DataConfig, told: dict[str, Any], shard_rows: int) -> Plan:
    formats = {source.format for source in files}
    if len(formats) > 1 or not formats <= set(FORMATS) or not data.has_header:
        raise DataError(
            f"{told['data_uri']}: is {' and '.join(sorted(formats))}, and files of one of these formats can be scored, "
            f"with names for their columns: {', '.join(FORMATS)}. Export it as Parquet."
        )
    json_columns, columns = JsonColumns(), list[Column]()
    found: list[InputFile] = []
    marks: list[Marks] = []
    for source in files:
        file, its_columns, its_marks = _look_at(source, data, json_columns)
        if found and {(column.name, column.type) for column in columns} != {
            (each.name, each.type) for each in its_columns
        }:
            raise DataError(f"{source.name}: has other columns than {files[0].name}. Score them one after the other.")
        found, marks, columns = [*found, file], [*marks, its_marks], columns or its_columns
    columns = columns or json_columns.columns
    problems = Problems()
    if formats == {"jsonl"} and any(each.rows for each in marks):
        has_columns([column.name for column in columns], files[0], only(data, data.text_columns), problems)
    problems.raise_if_any()
    if not any(each.rows for each in marks):
        raise DataError(f"{told['data_uri']}: has no row that can be read, so there is nothing to score.")
    # Spark and most databases take names that differ in case alone for the same one.
    if taken := sorted(column.name for column in columns if column.name.lower() in OUTPUT_COLUMNS):
        raise DataError(
            f"{told['data_uri']}: has columns that predictions are written to: {', '.join(taken)}. Rename them."
        )
    return Plan(
        schema_version=1,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        format=cast("Literal['csv', 'tsv', 'jsonl', 'parquet']", formats.pop()),
        columns=columns,
        files=found,
        shards=divide(marks, shard_rows),
        **told,
    )


def _look_at(source: Source, data: DataConfig, json_columns: JsonColumns) -> tuple[InputFile, list[Column], Marks]:
    """Return a file's facts, its columns (of JSON Lines they are in ``json_columns``) and where it can be divided."""
    marks, unreadable = Marks(), 0
    with source.on_this_machine() as local:
        digest = sha256_of(Path(local.uri))
        columns = columns_of(local, data, data.text_columns)
        for chunk in read_chunks(local, data, [column.name for column in columns]):
            before = marks.rows
            marks.add(chunk.numbers.tolist())
            unreadable += len(chunk.unreadable)
            if not columns:
                json_columns.add(chunk.columns[0])
            if marks.rows // _PROGRESS_ROWS > before // _PROGRESS_ROWS:
                report(f"plan: {source.name}: {marks.rows:,} rows counted")
        if sha256_of(Path(local.uri)) != digest:
            raise changed(source.name)
        facts = {"size_bytes": Path(local.uri).stat().st_size, "rows": marks.rows, "unreadable": unreadable}
    return InputFile(uri=source.uri, sha256=digest, **facts), columns, marks


def divide(files: Sequence[Marks], shard_rows: int) -> list[Shard]:
    """Return shards of about so many rows, in the order of the rows: every row is in one of them.

    :param files: where each of the files can be divided.
    """
    rows = sum(marks.rows for marks in files)
    wanted = min(max(1, math.ceil(rows / shard_rows)), _MOST_SHARDS)
    shards: list[Shard] = []
    spans: list[Span] = []
    before = passed = 0  # rows of the shards that are made, and all that were passed
    for index, marks in enumerate(files):
        begin = 0
        for position in range(1, len(marks.numbers)):
            at = passed + position * marks.stride
            # The next shard begins with the first row that can be told by its number, at or behind its share.
            if at >= (len(shards) + 1) * rows / wanted:
                number = marks.numbers[position]
                shards.append(Shard(spans=[*spans, Span(file=index, begin=begin, end=number)], rows=at - before))
                spans, begin, before = [], number, at
        passed += marks.rows
        spans.append(Span(file=index, begin=begin, end=None))
        if index + 1 < len(files) and passed >= (len(shards) + 1) * rows / wanted and passed > before:
            shards.append(Shard(spans=spans, rows=passed - before))
            spans, before = [], passed
    if not shards or passed > before:
        return [*shards, Shard(spans=spans, rows=passed - before)]
    # Files without rows at the end: there may be lines in them to reject.
    return [*shards[:-1], Shard(spans=[*shards[-1].spans, *spans], rows=shards[-1].rows)]


def changed(name: str) -> DataError:
    """Return the error for an input that is not the one of the plan any more."""
    return DataError(
        f"{name}: was changed since the plan was made, so that nobody could say what the predictions are of. "
        "Restore it, or predict into a new folder."
    )
