"""Counts the training rows that a release would read now, for the brake ``schedule.min_new_rows``.

``python -m include.classifier.data.source_rows --data JSON --output-uri URI``

Counts rows as preprocessing reads them, before any is dropped, and writes ``[{"uri": …, "rows": …}]``: to be held
against ``sources`` in the ``dataset.json`` of the live model. Ends like preprocessing: 2 when data or settings are
wrong, 1 when another try may help, the reason last on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems, SourceUnavailableError
from include.classifier.data.readers import read_batches
from include.classifier.data.sources import Source, as_uri
from include.contracts.settings import DataConfig


def count_rows(data: DataConfig) -> list[dict[str, Any]]:
    """Return name and rows of every training source, in their order.

    Of a Parquet file only the end is read; others are read through.

    :raises DataError: when a source is not there or not what it should be.
    :raises SourceUnavailableError: when its store does not hand it out.
    """
    problems = Problems()
    sources = all_files([Source(uri, "train") for uri in data.train], problems)
    counts = [{"uri": source.name, "rows": _count(source, data, problems)} for source in sources]
    problems.raise_if_any()
    return counts


def _count(source: Source, data: DataConfig, problems: Problems) -> int:
    if source.format == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with source.open() as file:
                return int(parquet.ParquetFile(file).metadata.num_rows)
        except pa.ArrowException:
            pass  # reading it says what is wrong with it
    return sum(len(batch.numbers) for batch in read_batches(source, data, problems))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m include.classifier.data.source_rows", description=__doc__)
    parser.add_argument("--data", required=True, help="the section `data` of the model's YAML as JSON")
    parser.add_argument("--output-uri", required=True, help="URI of the file to write to")
    options = parser.parse_args(arguments)
    try:
        counts = count_rows(DataConfig.model_validate_json(options.data))
        _write(counts, options.output_uri)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors())
        print(f"--data is not valid: {wrong}.", file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except (SourceUnavailableError, OSError) as error:
        print(f"Counting the rows failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    print(f"{sum(count['rows'] for count in counts):,} training rows in {len(counts)} source(s).", flush=True)
    return 0


def _write(counts: Sequence[dict[str, Any]], uri: str) -> None:
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(as_uri(uri))
    filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    filesystem.pipe_file(path, json.dumps(counts).encode())


if __name__ == "__main__":
    sys.exit(main())
