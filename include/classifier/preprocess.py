"""Makes the data set of a release: reads, checks, drops what would spoil the measurement, splits, writes.

``python -m include.classifier.preprocess --model NAME --data JSON --seed N --output-uri URI``, with ``--as-of
TIME`` and ``--timezone NAME`` for dated data.

Ends with 0 when the data set is written, with 2 when data or settings are wrong, and with 1 when another try may help.
With 1 and 2 the last line on stderr says why. No text of the data is ever printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from include.classifier.data.checks import DROP_REASONS, check_split, reason_code
from include.classifier.data.dataset import write_dataset
from include.classifier.data.moving.dated_sources import RECORD, Resolved, add_dates, resolve
from include.classifier.data.moving.labelled_requests import labelled_requests
from include.classifier.data.moving.query_rows import stored_rows
from include.classifier.data.moving.row_dates import RowDates
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Places, Problems, SourceUnavailableError, some
from include.classifier.data.repeated import mark_repeated
from include.classifier.data.rows import Rows, read_rows
from include.classifier.data.sources import Source, SplitName, as_uri
from include.classifier.data.splitting import split_off
from include.contracts.data.origins import not_permitted, origin_of
from include.contracts.monitoring.labels import LABELLED_REQUESTS
from include.contracts.settings import DataConfig
from include.contracts.version.files import reason_of

if TYPE_CHECKING:
    import numpy as np

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
#: How a row's split stands in an array.
_MARKS = {split: mark for mark, split in enumerate(SPLITS, start=1)}


def preprocess(
    data: DataConfig,
    *,
    model: str,
    seed: int,
    output_uri: str,
    allowed_sources: Sequence[str] | None = None,
    as_of: datetime | None = None,
    timezone: str = "UTC",
    queries_uri: str | None = None,
    requests_uri: str | None = None,
) -> dict[str, Any]:
    """Write the data set of a release, and print what was kept and what was dropped.

    :param data: the model's data settings.
    :param model: its name.
    :param seed: decides which rows are split off when ``data.evaluation`` is empty.
    :param output_uri: URI of the folder for the Parquet files and ``dataset.json``.
    :param allowed_sources: what the sources may be where a form has named them; ``None``: they are trusted.
    :param as_of: when the release was asked for, which decides the days of dated data; ``None``: now.
    :param timezone: whose days they are.
    :param queries_uri: folder with the rows of queries, which Airflow has run.
    :param requests_uri: folder of the model in the model store, whose captured requests are training rows where their
        labels have arrived; ``None``: none are.
    :return: ``dataset.json``.
    :raises DataError: when the data cannot be used; names every problem with file and row.
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    problems = Problems()
    found = find_sources(
        data,
        problems,
        output_uri=output_uri,
        allowed_sources=allowed_sources,
        as_of=as_of,
        timezone=timezone,
        queries_uri=queries_uri,
        with_requests=requests_uri is not None,
    )
    if requests_uri:
        found = found.with_labelled(labelled_requests(requests_uri, output_uri, data))
    with read_rows(found.sources, data, problems, found.dates) as rows:
        return write_kept(rows, found, data, problems, model=model, seed=seed, output_uri=output_uri)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is read for a data set.

    :param sources: one for each file, those of training first.
    :param digests: source -> SHA-256 of the SQL of the query that it is.
    :param labelled: the source of captured requests with labels, which is among them.
    :param window: what ``dataset.json`` says of the days that are read.
    :param dates: leaves out training rows of other days, and counts them.
    """

    sources: list[Source]
    digests: Mapping[str, str]
    labelled: Source | None
    window: dict[str, Any] | None
    dates: RowDates | None

    def with_labelled(self, labelled: Source | None) -> Found:
        """Return the same with captured requests behind the training data; ``None``: there are none."""
        if labelled is None:
            return self
        trained_on = sum(source.split == "train" for source in self.sources)
        sources = [*self.sources[:trained_on], labelled, *self.sources[trained_on:]]
        return replace(self, sources=sources, labelled=labelled)


def find_sources(
    data: DataConfig,
    problems: Problems,
    *,
    output_uri: str,
    allowed_sources: Sequence[str] | None,
    as_of: datetime | None,
    timezone: str,
    queries_uri: str | None,
    with_requests: bool,
) -> Found:
    """Find the files of the sources; arguments are those of :func:`preprocess`.

    :param problems: gathers sources of which nothing is there.
    :param with_requests: whether captured requests with labels are trained on as well.
    :raises DataError: when nothing says that a source may be used.
    :raises SourceUnavailableError: when a store does not say what it holds.
    """
    named = [Source(uri, split, allowed_sources) for split in SPLITS for uri in getattr(data, split)]
    _check_origins(named, data, problems, with_requests=with_requests)
    named, digests = stored_rows(named, problems, queries_uri)
    window = data.window(as_of or datetime.now(UTC), timezone)
    resolved = resolve(named, window, problems, f"{as_uri(output_uri)}/{RECORD}") if window else Resolved(named, None)
    sources = all_files(resolved.sources, problems)
    dates = RowDates(str(data.date_column), window) if window and data.date_column else None
    return Found(sources=sources, digests=digests, labelled=None, window=resolved.window, dates=dates)


def write_kept(
    rows: Rows, found: Found, data: DataConfig, problems: Problems, *, model: str, seed: int, output_uri: str
) -> dict[str, Any]:
    """Drop what would spoil the measurement, split the rest and write it; arguments are those of :func:`preprocess`.

    :param rows: of all sources.
    :param problems: what is wrong with them.
    :return: ``dataset.json``.
    :raises DataError: when the data cannot be used.
    """
    if found.dates:
        found.dates.report(rows.span("train").stop, problems)
    problems.raise_if_any()
    evaluation_begins = rows.span("evaluation").start
    requests = slice(0, 0)
    if found.labelled:
        requests = slice(rows.ends[found.sources.index(found.labelled) - 1], evaluation_begins)
    contradicting = mark_repeated(rows.texts, rows.store.classes, rows.store.reasons, evaluation_begins, requests)
    dropped = {reason: {split: int(_dropped(rows, reason, split).sum()) for split in SPLITS} for reason in DROP_REASONS}
    _print_drops(rows, dropped, contradicting)
    for line in rows.personal_data.lines():
        print(line)
    del contradicting  # with ten million rows these are ten million bytes
    marks = _divide(rows, data, seed, requests)
    for split in SPLITS:
        origin = split if data.evaluation else "train"
        lost = ", ".join(f"{by[origin]:,} {reason}" for reason, by in dropped.items() if by[origin]) or "none"
        counts = _class_counts(rows.store.classes[marks == _MARKS[split]], len(data.labels))
        check_split(counts, split, data, problems, lost=lost, unknown=str(rows.unknown_labels))
    problems.raise_if_any()

    document = write_dataset(
        output_uri,
        model=model,
        label_names=list(data.labels.values()),
        splits={split: rows.store.batches(marks, mark) for split, mark in _MARKS.items()},
        sources=[
            {"uri": source.name, "split": source.split, "rows": count}
            | ({} if source.version is None else {"version": source.version})
            | ({"named": source.named} if source.named else {})
            | _query(source, found.digests)
            | _licence(source, data)
            for source, count in zip(found.sources, rows.counts(), strict=True)
        ],
        rows_in=len(rows.store),
        dropped=dropped,
        slices=data.slices,
        columns={name: ["text"] for name in data.text_columns} | {str(data.label_column): sorted(rows.label_types)},
        personal_data={str(kind): became for kind, became in rows.personal_data.document().items()},
        window=found.window and found.window | (found.dates.counts() if found.dates else {}),
    )
    _print_result(document)
    return document


def _check_origins(named: Sequence[Source], data: DataConfig, problems: Problems, *, with_requests: bool) -> None:
    """Note the sources of which nothing says that they may be used; none of them is opened then.

    :raises DataError: naming them.
    """
    locations = [source.uri for source in named] + ([LABELLED_REQUESTS] if with_requests else [])
    if refused := not_permitted(locations, data.origins, data.licences):
        problems.take(DataError(*refused))
        problems.raise_if_any()


def _query(source: Source, digests: Mapping[str, str]) -> dict[str, str]:
    """Return what ``dataset.json`` says of the query that a source is."""
    found = digests.get(source.named or "")
    return {"query_sha256": found} if found else {}


def _licence(source: Source, data: DataConfig) -> dict[str, str]:
    """Return what ``dataset.json`` says of a source's licence: of a part of it, or of a day's, that of the whole."""
    origin = origin_of(source.named or source.uri, data.origins)
    return {"licence": origin.licence} if origin else {}


def _dropped(rows: Rows, reason: str, split: SplitName) -> np.ndarray:
    """Return which rows of a split were dropped for a reason, bool, shape (rows of the split,)."""
    return rows.store.reasons[rows.span(split)] == reason_code(reason)


def _divide(rows: Rows, data: DataConfig, seed: int, requests: slice) -> np.ndarray:
    """Return the mark of the split to which each row belongs in the end, 0 for none; int8, shape (rows,).

    :param requests: rows that are trained on and never split off, so that the others are split as without them.
    """
    import numpy as np

    kept = rows.store.reasons == 0
    marks = np.where(kept, np.int8(_MARKS["train"]), np.int8(0))
    if data.evaluation:
        in_evaluation = rows.span("evaluation")
        marks[in_evaluation] = np.where(kept[in_evaluation], np.int8(_MARKS["evaluation"]), np.int8(0))
    else:
        kept[requests] = False
        chosen = split_off(rows.store.classes[kept], data.evaluation_fraction, seed)
        marks[kept] += chosen * np.int8(_MARKS["evaluation"] - _MARKS["train"])
        print(f"No evaluation data is given: {chosen.sum():,} rows are split off (stratified, seed {seed}).")
    return marks


def _class_counts(classes: np.ndarray, class_count: int) -> list[int]:
    import numpy as np

    found, counts = np.unique(classes, return_counts=True)
    by_class = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return [by_class.get(index, 0) for index in range(class_count)]


def _print_drops(rows: Rows, dropped: Mapping[str, Mapping[SplitName, int]], contradicting: np.ndarray) -> None:
    import numpy as np

    for split in SPLITS:
        span = rows.span(split)
        if span.start == span.stop:
            continue
        print(f"{split}: {span.stop - span.start:,} rows read, {sum(by[split] for by in dropped.values()):,} dropped.")
        for reason, by in dropped.items():
            if by[split]:
                chosen = np.zeros(len(rows.store), dtype=bool)
                chosen[span] = _dropped(rows, reason, split)
                _print_places(f"  {reason}", rows.places(chosen))
    _print_places("Duplicates whose label is not that of the row that stays", rows.places(contradicting))


def _print_places(what: str, places: Places) -> None:
    if places.count:
        print(f"{what}: {places.count:,} ({places})")


def _print_result(document: dict[str, Any]) -> None:
    for name, split in document["splits"].items():
        counts = split["label_counts"]
        listed = some([f"{label} {count:,}" for label, count in counts.items()])
        print(f"{name}: {split['rows']:,} rows written to {split['uri']} ({listed}).")
        if missing := [label for label, count in counts.items() if not count]:
            print(f"Warning: no {name} row has the label {some(missing)}; nothing can be said about it.")
    print(f"Digest of the data set: {document['sha256']}", flush=True)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m include.classifier.preprocess", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--data", required=True, help="the section `data` of the model's YAML as JSON")
    parser.add_argument("--seed", type=int, default=42, help="for the rows split off for evaluation (%(default)s)")
    parser.add_argument("--output-uri", required=True, help="URI of the folder to write to")
    parser.add_argument("--allowed-sources", type=json.loads, help="what a form may name, as a JSON array (anything)")
    parser.add_argument(
        "--requests-uri", help="URI of the model's folder, whose captured requests with labels are trained on (none)"
    )
    parser.add_argument(
        "--queries-uri", help="URI of the folder with the rows of queries, which Airflow has run (none)"
    )
    add_dates(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    options = _parse_arguments(arguments)
    try:
        data = DataConfig.model_validate_json(options.data)
        preprocess(
            data,
            model=options.model,
            seed=options.seed,
            output_uri=options.output_uri,
            allowed_sources=options.allowed_sources,
            as_of=options.as_of,
            timezone=options.timezone,
            queries_uri=options.queries_uri,
            requests_uri=options.requests_uri,
        )
    except ValidationError as error:
        settings = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors()
        )
        print(f"--data is not valid: {settings}.", file=sys.stderr)
        return 2
    except DataError as error:
        if len(error.problems) > 1:
            print("The data cannot be used:", *error.problems, sep="\n  ", flush=True)
        print(error, file=sys.stderr)
        return 2
    except SourceUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    except PermissionError as error:
        print(reason_of(error), file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Reading or writing failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
