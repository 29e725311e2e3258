"""How much memory an epoch over very many tokenised rows takes: ours against the same in Hugging Face's `datasets`.

Run it with the pipeline half's Python: ``python -m benchmarks.shards``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generated_reviews import LABELS, write_reviews
from benchmarks.harness import OURS, Benchmark, arguments
from benchmarks.preprocessing import GIVEN, command, measure

if TYPE_CHECKING:
    from include.classifier.shards.writing import TokenisedRows

OTHER = "datasets"
MEMORY, TIME = "memory of an epoch", "time of an epoch"
BATCH_ROWS = 32
STEPS = 200
_VOCABULARY = 8000
_TOKENS = (5, 40)
_WRITTEN_ROWS = 100_000


def main() -> None:
    """Measure, and write ``results/shards.json``; with a verb, be one of the processes that are measured."""
    if sys.argv[1:2] and sys.argv[1] in _VERBS:
        _VERBS[sys.argv[1]](Path(sys.argv[2]))
        return
    given = arguments(__doc__ or "", sizes=[1_000_000, 3_000_000, 10_000_000], pairs=1).parse_args()
    benchmark = Benchmark(
        name="shards",
        title="Rows beyond memory",
        sides={
            OURS: "`include.classifier.shards`: `EpochOrder` and `StoredRows`, batches of lists, no PyTorch",
            OTHER: "Arrow's memory map by `datasets`, with PyTorch's `RandomSampler` and `DataLoader`",
        },
        sizes=given.sizes,
        size_unit="rows",
        pairs=given.pairs,
        units={MEMORY: "MiB", TIME: "s"},
        notes=(
            "Peak resident memory and wall time of a process of its own for each run, imports included: it goes once "
            f"through all rows in random order, in batches of {BATCH_ROWS}, and does nothing with them. Rows have 5 to "
            "40 tokens of two bytes. Ours sorts every fifty batches by length besides, which the other side does not. "
            f"{STEPS} steps are those of `include.classifier.training`, with a DistilBERT of two layers. Preprocessing "
            "is that of generated reviews in CSV with evaluation data, as in the benchmark of its own.",
        ),
    )
    training: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="shards-") as name:
        folder = Path(name)
        for size in given.sizes:
            # By another process: a child's peak begins with what its parent holds when it is forked.
            measure(_command("write", folder / str(size)))
        for size, side in benchmark.runs():
            verb = "epoch" if side == OURS else "datasets-epoch"
            seconds, mebibytes = measure(_command(verb, folder / str(size)))
            benchmark.add(size, side, {MEMORY: mebibytes, TIME: seconds})
        for size in given.sizes:
            seconds, training[size] = measure(_command("train", folder / str(size)))
            print(f"{size:>6} rows, {STEPS} steps: {seconds:.3g} s, {training[size]:.4g} MiB", flush=True)
    preprocessing = {size: _preprocessing(size) for size in given.sizes}
    state_targets(benchmark, training, preprocessing)
    print(benchmark.write())


def state_targets(
    benchmark: Benchmark, training: dict[int, float], preprocessing: dict[int, tuple[float, float]]
) -> None:
    """Compare with what was to be reached, at every size.

    :param training: rows -> MiB of the training.
    :param preprocessing: rows -> seconds and MiB.
    """
    least, *others = sorted(benchmark.sizes)
    epoch = {size: benchmark.at(MEMORY, size).sides[OURS].median for size in benchmark.sizes}
    memory = {size: mebibytes for size, (_, mebibytes) in preprocessing.items()}
    for what, found, most in (
        ("an epoch", epoch, 1.2),
        (f"{STEPS} steps of training", training, 1.2),
        ("preprocessing", memory, 1.3),
    ):
        for size in others:
            text = f"times the memory of {least:,} rows at {size:,}, {what}"
            benchmark.require(text, found[size] / found[least], at_most=most)
    largest = max(benchmark.sizes)
    for what, figure in (
        (f"MiB, {STEPS} steps of training, {largest:,} rows", training[largest]),
        (f"MiB, preprocessing, {largest:,} rows", memory[largest]),
        *((f"s, preprocessing, {size:,} rows", preprocessing[size][0]) for size in sorted(preprocessing)),
    ):
        benchmark.require(what, figure)


def write_rows(folder: Path) -> None:
    """Write the same rows for both sides: ``stored`` and ``rows.arrow``.

    :param folder: called by the number of rows.
    """
    import pyarrow as pa

    from include.classifier.shards.manifest import Origin
    from include.classifier.shards.writing import write_shards

    folder.mkdir(parents=True)
    schema = pa.schema([("input_ids", pa.list_(pa.uint16())), ("labels", pa.int64())])
    with pa.ipc.new_stream(str(folder / "rows.arrow"), schema) as arrow:

        def both() -> Iterator[TokenisedRows]:
            for batch in _generated(int(folder.name)):
                ends = [0, *batch.lengths.cumsum().tolist()]
                ids = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(batch.tokens, pa.uint16()))
                table = pa.record_batch([ids, pa.array(batch.labels)], schema=schema)
                for begin in range(0, len(table), 1000):  # as `datasets` writes them itself
                    arrow.write_batch(table.slice(begin, 1000))
                yield batch

        origin = Origin(dataset_sha256="", tokenizer_sha256="", max_length=_TOKENS[1])
        write_shards(both(), folder / "stored", origin=origin, token_type="<u2")  # noqa: S106


def _generated(rows: int) -> Iterator[TokenisedRows]:
    import numpy as np

    from include.classifier.shards.writing import TokenisedRows

    chance = np.random.default_rng(rows)
    for begin in range(0, rows, _WRITTEN_ROWS):
        count = min(_WRITTEN_ROWS, rows - begin)
        lengths = chance.integers(_TOKENS[0], _TOKENS[1] + 1, count)
        tokens = chance.integers(4, _VOCABULARY, int(lengths.sum()))
        yield TokenisedRows(tokens, lengths, chance.integers(0, len(LABELS), count))


def _preprocessing(size: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="shards-") as name:
        folder = Path(name) / str(size)
        folder.mkdir()
        measure(_command("write-reviews", folder))
        found = measure(command(OURS, GIVEN, folder, folder / "dataset"))
    print(f"{size:>6} rows, preprocessing: {found[0]:.3g} s, {found[1]:.4g} MiB", flush=True)
    return found


def _command(verb: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.shards", verb, str(folder)]


def _epoch(folder: Path) -> None:
    from include.classifier.shards.order import EpochOrder
    from include.classifier.shards.reading import StoredRows

    rows = StoredRows(folder / "stored")
    seen = 0
    for batch in EpochOrder(rows, batch_rows=BATCH_ROWS, seed=1).batches(0):
        seen += len(rows.__getitems__(batch.tolist()))
    assert seen == len(rows)


def _datasets_epoch(folder: Path) -> None:
    from datasets import Dataset
    from torch.utils.data import DataLoader, RandomSampler

    rows = Dataset.from_file(str(folder / "rows.arrow"))
    loader = DataLoader(rows, batch_size=BATCH_ROWS, sampler=RandomSampler(rows), collate_fn=list)
    assert sum(map(len, loader)) == len(rows)


def _train(folder: Path) -> None:
    from include.classifier.shards.reading import StoredRows
    from include.classifier.tracking import Tracker
    from include.classifier.training.base_model import load_base_model
    from include.classifier.training.hardware import limit_threads
    from include.classifier.training.trainer import fit
    from include.contracts.settings import TrainingConfig

    rows = StoredRows(folder / "stored")
    labels = list(LABELS.values())
    base = load_base_model("scratch", revision=None, labels=labels, texts=["a text"] * 2, max_length=_TOKENS[1])
    base.model.resize_token_embeddings(_VOCABULARY, mean_resizing=False)
    limit_threads(base.model.num_parameters())
    settings = TrainingConfig(
        epochs=STEPS * BATCH_ROWS / len(rows), batch_size=BATCH_ROWS, learning_rate=1e-3, max_length=_TOKENS[1]
    )
    with tempfile.TemporaryDirectory() as scratch:
        fitted = fit(
            base,
            rows,
            None,
            settings=settings,
            class_weights=None,
            tracker=Tracker(),
            scratch=Path(scratch),
        )
    assert abs(fitted.steps - STEPS) <= 1, fitted


def _write_reviews(folder: Path) -> None:
    write_reviews(folder, int(folder.name))


_VERBS = {
    "write": write_rows,
    "write-reviews": _write_reviews,
    "epoch": _epoch,
    "datasets-epoch": _datasets_epoch,
    "train": _train,
}

if __name__ == "__main__":
    main()
