"""How fast preprocessing is and how much memory it takes: ours against the same work in pandas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.generated_reviews import LABELS, write_reviews
from benchmarks.harness import OURS, Benchmark, arguments

OTHER = "pandas"
#: What the data are: evaluation data given, whose leaks are to be found; or training data alone, to be split.
GIVEN, SPLIT_OFF = "evaluation given", "split off"
UNITS = {f"{what}, {task}": unit for what, unit in (("time", "s"), ("memory", "MiB")) for task in (GIVEN, SPLIT_OFF)}


def main() -> None:
    """Measure, and write ``results/preprocessing.json``."""
    given = arguments(__doc__ or "", sizes=[100_000, 1_000_000, 10_000_000], pairs=2).parse_args()
    benchmark = Benchmark(
        name="preprocessing",
        title="Preprocessing",
        sides={
            OURS: "`include.classifier.preprocess`, with its checks, places and digests",
            OTHER: "`read_csv`, the same cleaning, `drop_duplicates`, `isin`, `sample`, `to_parquet`",
        },
        sizes=given.sizes,
        size_unit="rows",
        pairs=given.pairs,
        units=UNITS,
        notes=(
            "Wall time and peak resident memory of a process of its own for each run, imports included. Generated "
            "reviews of about 75 characters in CSV: a tenth need cleaning, some repeat or are empty. "
            f"`{GIVEN}`: nine rows to train on for one to evaluate on, leaks are dropped. `{SPLIT_OFF}`: the training "
            "rows alone, a fifth of each class is split off. Both sides keep the same rows, which is compared at the "
            "smallest size.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="preprocessing-") as name:
        folder = Path(name)
        for size in given.sizes:
            (folder / str(size)).mkdir()
            write_reviews(folder / str(size), size)
        compare(folder / str(min(given.sizes)), folder / "compared")
        for size, side in benchmark.runs():
            figures: dict[str, float] = {}
            for task in (GIVEN, SPLIT_OFF):
                with tempfile.TemporaryDirectory(dir=folder) as target:
                    seconds, mebibytes = measure(command(side, task, folder / str(size), Path(target)))
                figures |= {f"time, {task}": seconds, f"memory, {task}": mebibytes}
            benchmark.add(size, side, figures)
    state_targets(benchmark)
    print(benchmark.write())


def state_targets(benchmark: Benchmark) -> None:
    """Compare with what was to be reached, at the two largest sizes."""
    *_, smaller, largest = [min(benchmark.sizes), *sorted(benchmark.sizes)]
    for task in (GIVEN, SPLIT_OFF):
        memory = [benchmark.at(f"memory, {task}", size).sides[OURS].median for size in (smaller, largest)]
        what = f"times the memory of {smaller:,} rows at {largest:,}, {task}"
        benchmark.require(what, memory[1] / memory[0], at_most=1.3)
    for task in (GIVEN, SPLIT_OFF):
        what = f"time, {task}"
        benchmark.require(f"times faster, {largest:,} rows, {task}", benchmark.by_ours(what, largest), at_least=1)
        rows = largest if task == GIVEN else largest - largest // 10
        benchmark.require(
            f"thousand rows/s, {largest:,} rows, {task}", rows / benchmark.at(what, largest).sides[OURS].median / 1000
        )


def command(side: str, task: str, data: Path, target: Path) -> list[str]:
    """Return the command line of one run."""
    train, evaluation = data / "train.csv", [data / "evaluation.csv"] if task == GIVEN else []
    if side == OURS:
        settings = {"train": str(train), "evaluation": list(map(str, evaluation)), "labels": LABELS}
        arguments = ["--model", "generated", "--data", json.dumps(settings), "--output-uri", target.as_uri()]
        return [sys.executable, "-m", "include.classifier.preprocess", *arguments]
    arguments = ["--train", str(train), *(f"--evaluation={file}" for file in evaluation), "--output", str(target)]
    return [sys.executable, "-m", "benchmarks.pandas_preprocessing", *arguments]


def measure(arguments: list[str]) -> tuple[float, float]:
    """Run once; return seconds, and the most memory that the process held, in MiB."""
    os.sync()  # what an earlier run has still to write must not fall on this one
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)  # neither side starts processes of its own
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments[2]} ended with {process.returncode}.")
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def compare(data: Path, target: Path) -> None:
    """Check that both sides keep the same rows.

    :raises RuntimeError: when they do not.
    """
    for number, task in enumerate((GIVEN, SPLIT_OFF)):
        kept = {}
        for side in (OURS, OTHER):
            folder = target / f"{side}-{number}"
            measure(command(side, task, data, folder))
            splits = [_rows(folder / f"{split}.parquet") for split in ("train", "evaluation")]
            # Each side splits with random numbers of its own: which rows are kept and how many of each class go.
            kept[side] = splits if task == GIVEN else [sorted(splits[0] + splits[1]), *map(_labels, splits)]
        if kept[OURS] != kept[OTHER]:
            raise RuntimeError(f"Both sides keep other rows where the task is: {task}.")


def _rows(file: Path) -> list[tuple[str, int]]:
    from pyarrow import parquet

    table = parquet.read_table(file).to_pydict()
    return list(zip(table["text"], table["label"], strict=True))


def _labels(rows: Iterable[tuple[str, int]]) -> list[int]:
    return sorted(label for _, label in rows)


if __name__ == "__main__":
    main()
