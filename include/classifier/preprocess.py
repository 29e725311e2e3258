"""Makes the data set of a release: reads, checks, drops what would spoil the measurement, splits, writes.

``python -m include.classifier.preprocess --model NAME --data JSON --seed N --output-uri URI``

Ends with 0 when the data set is written, with 2 when data or settings are wrong, and with 1 when another try may help.
With 1 and 2 the last line on stderr says why. No text of the data is ever printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from include.classifier.checks import DROP_REASONS, check_rows, check_split
from include.classifier.data import Split, write_dataset
from include.classifier.problems import DataError, Problems, SourceUnavailableError, name_places
from include.classifier.rows import mark_repeated, read_table, split_off
from include.classifier.sources import Source, SplitName
from include.models.model_config import DataConfig

if TYPE_CHECKING:
    import pandas as pd

SPLITS: tuple[SplitName, ...] = get_args(SplitName)


def preprocess(data: DataConfig, *, model: str, seed: int, output_uri: str) -> dict[str, Any]:
    """Write the data set of a release, and print what was kept and what was dropped.

    :param data: the model's data settings.
    :param model: its name.
    :param seed: decides which rows are split off when ``data.evaluation`` is empty.
    :param output_uri: URI of the folder for the Parquet files and ``dataset.json``.
    :return: ``dataset.json``.
    :raises DataError: when the data cannot be used; names every problem with file and row.
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    problems = Problems()
    sources = [Source(uri, split) for split in SPLITS for uri in getattr(data, split)]
    table = read_table(sources, data, problems)
    check_rows(table, sources, data, problems)
    problems.raise_if_any()

    contradicting = mark_repeated(table)
    dropped = {
        reason: {split: int(((table["dropped"] == reason) & (table["split"] == split)).sum()) for split in SPLITS}
        for reason in DROP_REASONS
    }
    _print_drops(table, contradicting, sources)
    kept = _divide(table, data, seed)
    for split in SPLITS:
        origin = split if data.evaluation else "train"
        lost = ", ".join(f"{by[origin]:,} {reason}" for reason, by in dropped.items() if by[origin]) or "none"
        check_split(kept[split], split, data, problems, lost=lost)
    problems.raise_if_any()

    document = write_dataset(
        output_uri,
        model=model,
        label_names=list(data.labels.values()),
        splits={split: Split(rows["cleaned"].tolist(), rows["class"].tolist()) for split, rows in kept.items()},
        sources=[
            {"uri": source.name, "split": source.split, "rows": int((table["source"] == index).sum())}
            for index, source in enumerate(sources)
        ],
        rows_in=len(table),
        dropped=dropped,
    )
    _print_result(document)
    return document


def _divide(table: pd.DataFrame, data: DataConfig, seed: int) -> dict[SplitName, pd.DataFrame]:
    rows = table[table["dropped"] == ""]
    if data.evaluation:
        for_evaluation = (rows["split"] == "evaluation").to_numpy()
    else:
        for_evaluation = split_off(rows["class"].to_numpy(), data.evaluation_fraction, seed)
        print(f"No evaluation data is given: {sum(for_evaluation):,} rows are split off (stratified, seed {seed}).")
    return {"train": rows[~for_evaluation], "evaluation": rows[for_evaluation]}


def _print_drops(table: pd.DataFrame, contradicting: pd.DataFrame, sources: Sequence[Source]) -> None:
    for split, rows in table.groupby("split", sort=False):
        dropped = rows[rows["dropped"] != ""]
        print(f"{split}: {len(rows):,} rows read, {len(dropped):,} dropped.")
        for reason in DROP_REASONS:
            _print_places(f"  {reason}", dropped[dropped["dropped"] == reason], sources)
    _print_places("Duplicates whose label is not that of the row that stays", contradicting, sources)


def _print_places(what: str, rows: pd.DataFrame, sources: Sequence[Source]) -> None:
    if len(rows):
        places = (
            f"{sources[index].name} {sources[index].place(number)}"
            for index, number in zip(rows["source"], rows["number"], strict=True)
        )
        print(f"{what}: {len(rows):,} ({name_places(places)})")


def _print_result(document: dict[str, Any]) -> None:
    for name, split in document["splits"].items():
        counts = ", ".join(f"{label} {count:,}" for label, count in split["label_counts"].items())
        print(f"{name}: {split['rows']:,} rows written to {split['uri']} ({counts}).")
        for label, count in split["label_counts"].items():
            if not count:
                print(f"Warning: no {name} row has the label {label}; nothing can be said about it.")
    print(f"Digest of the data set: {document['sha256']}", flush=True)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m include.classifier.preprocess", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--data", required=True, help="the section `data` of the model's YAML as JSON")
    parser.add_argument("--seed", type=int, default=42, help="for the rows split off for evaluation (%(default)s)")
    parser.add_argument("--output-uri", required=True, help="URI of the folder to write to")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line.

    :return: exit code.
    """
    options = _parse_arguments(arguments)
    try:
        data = DataConfig.model_validate_json(options.data)
        preprocess(data, model=options.model, seed=options.seed, output_uri=options.output_uri)
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
    except OSError as error:
        print(f"Reading or writing failed, which may be worth another try: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
