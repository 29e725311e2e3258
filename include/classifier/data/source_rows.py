"""Counts the training rows that a release would read now, for the brake ``schedule.min_new_rows``.

``python -m include.classifier.data.source_rows --data JSON --output-uri URI``, with ``--as-of TIME``, ``--timezone
NAME`` and ``--since DAY`` for dated data.

Counts rows as preprocessing reads them, before any is dropped, and writes ``[{"uri": …, "rows": …}]``: to be held
against ``sources`` in the ``dataset.json`` of the live model. Ends like preprocessing: 2 when data or settings are
wrong, 1 when another try may help, the reason last on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from include.classifier.data.moving.dated_sources import add_dates, on_days
from include.classifier.data.moving.row_dates import RowDates
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems, SourceUnavailableError
from include.classifier.data.readers import read_batches
from include.classifier.data.sources import Source, as_uri
from include.contracts.dates import is_dated
from include.contracts.queries import QUERY
from include.contracts.settings import DataConfig
from include.contracts.version.files import reason_of, write_file


def count_rows(
    data: DataConfig, *, as_of: datetime | None = None, timezone: str = "UTC", since: date | None = None
) -> list[dict[str, Any]]:
    """Return name and rows of every training source, in their order.

    Of a Parquet file only the end is read; others are read through. Of dated data the rows of the window's days are
    counted, for each source as the settings name it. Queries are not run, and have none.

    :param as_of: when the release was asked for; ``None``: now.
    :param timezone: whose days they are.
    :param since: the last day that was read before: what came later is counted, and is marked ``is_new``.
    :raises DataError: when a source is not there or not what it should be.
    :raises SourceUnavailableError: when its store does not hand it out.
    """
    problems = Problems()
    window = data.window(as_of or datetime.now(UTC), timezone)
    if window and since:
        # Today was not over when it was read.
        begin = since if data.until == "today" else since + timedelta(days=1)
        window = window._replace(first=max(window.first, begin))
    dates = RowDates(str(data.date_column), window) if window and data.date_column else None
    counts: list[dict[str, Any]] = []
    for named in (Source(uri, "train") for uri in data.train):
        if named.uri.startswith(QUERY):
            counts.append({"uri": named.uri, "rows": 0})
            continue
        days = window if is_dated(named.uri) else None
        parts = all_files(on_days(named, days) if days else [named], problems)
        groups = {named.name: parts} if days else {part.name: [part] for part in parts}
        is_new = {"is_new": True} if since and (days or dates) else {}
        counts += (
            {"uri": name, "rows": sum(_count(file, data, problems, dates) for file in files)} | is_new
            for name, files in groups.items()
        )
    problems.raise_if_any()
    return counts


def _count(source: Source, data: DataConfig, problems: Problems, dates: RowDates | None) -> int:
    if source.format == "parquet" and dates is None:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with source.open() as file:
                return int(parquet.ParquetFile(file).metadata.num_rows)
        except pa.ArrowException:
            pass  # reading it says what is wrong with it
    read = dates.read if dates else read_batches
    return sum(len(batch.numbers) for batch in read(source, data, problems))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m include.classifier.data.source_rows", description=__doc__)
    parser.add_argument("--data", required=True, help="the section `data` of the model's YAML as JSON")
    parser.add_argument("--output-uri", required=True, help="URI of the file to write to")
    add_dates(parser)
    parser.add_argument("--since", type=date.fromisoformat, help="last day that was read before; of dated data")
    options = parser.parse_args(arguments)
    try:
        data = DataConfig.model_validate_json(options.data)
        counts = count_rows(data, as_of=options.as_of, timezone=options.timezone, since=options.since)
        _write(counts, options.output_uri)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors())
        print(f"--data is not valid: {wrong}.", file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except PermissionError as error:
        print(reason_of(error), file=sys.stderr)
        return 2
    except (SourceUnavailableError, OSError) as error:
        print(f"Counting the rows failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    print(f"{sum(count['rows'] for count in counts):,} training rows in {len(counts)} source(s).", flush=True)
    return 0


def _write(counts: Sequence[dict[str, Any]], uri: str) -> None:
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(as_uri(uri))
    write_file(filesystem, path, json.dumps(counts).encode())


if __name__ == "__main__":
    sys.exit(main())
