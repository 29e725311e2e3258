"""How many rows a second a batch prediction scores: from the file to the files, against the model's forward pass alone.

Run it with the pipeline half's Python: ``python -m benchmarks.batch``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.harness import OURS, Benchmark, arguments
from benchmarks.models import LABELS, write_distilbert
from benchmarks.reviews import read_reviews
from include.classifier.batch.model import Scorer
from include.classifier.batch.steps import finish_step, plan_step, score_step
from include.classifier.serving.predictor import Predictor
from include.contracts.batch.documents import Plan

BARE = "forward pass"
THROUGHPUT = "throughput"
_VERSION = "20260101000000"


def main() -> None:
    """Measure, and write ``results/batch.json``."""
    parser = arguments(__doc__ or "", sizes=[250, 500, 1000], pairs=5, counted="rows")
    parser.add_argument("--layers", type=int, default=6, help="of the DistilBERT (%(default)s)")
    given = parser.parse_args()
    benchmark = Benchmark(
        name="batch",
        title="Batch prediction",
        sides={
            OURS: "plan, score and finish: JSON Lines in, Parquet out, every digest computed and checked",
            BARE: "`Predictor.probabilities` of all rows at once, tokenised before the clock starts",
        },
        sizes=given.sizes,
        size_unit="rows",
        pairs=given.pairs,
        units={THROUGHPUT: "rows/s"},
        notes=(
            "A DistilBERT of the usual size with random weights in PyTorch, 128 tokens at most, on all CPUs of one "
            "process, loaded before the clock starts. Texts have the lengths of real reviews.",
        ),
    )
    texts = read_reviews()
    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        folder = Path(name)
        model = write_distilbert(folder / "model", texts, layers=given.layers)
        predictor = Predictor.load(model, device="cpu")
        predictor.predict(texts[:8])  # the first pass allocates
        for number, (size, side) in enumerate(benchmark.runs()):
            rows = list(islice(cycle(texts), size))
            measure = _bare if side == BARE else _ours
            seconds = measure(predictor, rows, folder / str(number))
            benchmark.add(size, side, {THROUGHPUT: size / seconds})
    largest = max(given.sizes)
    share = benchmark.ours_by(THROUGHPUT, largest)
    benchmark.require(f"of the forward pass, {largest:,} rows", share, at_least=0.95)
    print(benchmark.write())


def _bare(predictor: Predictor, texts: list[str], folder: Path) -> float:
    rows = predictor.tokenise(texts).input_ids
    began = time.perf_counter()
    predictor.probabilities(rows)
    return time.perf_counter() - began


def _ours(predictor: Predictor, texts: list[str], folder: Path) -> float:
    @contextmanager
    def load(plan: Plan) -> Iterator[Scorer]:
        yield Scorer(predictor)

    folder.mkdir()
    data = folder / "reviews.jsonl"
    data.write_text("".join(json.dumps({"id": row, "text": text}) + "\n" for row, text in enumerate(texts)))
    reading: dict[str, Any] = {"text_column": "text", "labels": list(LABELS)}
    whole: dict[str, Any] = {"allowed_sources": ["*"], "output_uri": str(folder / "out"), "reading": reading}
    began = time.perf_counter()
    with redirect_stdout(StringIO()):
        plan_step(
            data_uri=str(data),
            model_name="reviews",
            model_version=_VERSION,
            archive_sha256="0" * 64,
            allowed_outputs=["*"],
            shard_rows=20_000,
            workers=1,
            **whole,
        )
        score_step(worker=0, workers=1, archive_uri="", archive_sha256="0" * 64, load=load, **whole)
        found = finish_step(output_uri=whole["output_uri"])
    seconds = time.perf_counter() - began
    assert found.predicted == len(texts)
    return seconds


if __name__ == "__main__":
    main()
