"""How long it takes to pack a model for TorchServe: our archive against torch-model-archiver as it is by default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import OURS, Benchmark, arguments

OTHER = "torch-model-archiver"
SECONDS, SIZE = "time", "archive"
_CHUNK_BYTES = 1 << 20
_OURS = """
import sys
from pathlib import Path
from include.classifier.packaging.archive import build_archive
build_archive(Path(sys.argv[1]), model="reviews", version="20260101000000", target=Path(sys.argv[2]) / "reviews.mar")
"""


def main() -> None:
    """Measure, and write ``results/packaging.json``."""
    given = arguments(__doc__ or "", sizes=[25, 80, 250], pairs=5).parse_args()
    benchmark = Benchmark(
        name="packaging",
        title="Packaging",
        sides={OURS: "`build_archive`: stored entries, the same bytes every time", OTHER: "its default, deflated"},
        sizes=given.sizes,
        size_unit="MB",
        pairs=given.pairs,
        units={SECONDS: "s", SIZE: "MiB"},
        notes=(
            "Wall time of a process of its own for each archive, imports included; ours reads the archive once more "
            "for its SHA-256.",
            "Weights are normally distributed 32-bit numbers in a safetensors file.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="packaging-") as folder:
        models = {size: make_model(Path(folder) / f"model-{size}", size) for size in given.sizes}
        for size, side in benchmark.runs():
            with tempfile.TemporaryDirectory(dir=folder) as target:
                benchmark.add(size, side, measure(side, models[size], Path(target)))
    largest = max(given.sizes)
    benchmark.require(f"times faster, {largest} MB", benchmark.by_ours(SECONDS, largest), at_least=5)
    print(benchmark.write())


def make_model(folder: Path, megabytes: int) -> Path:
    """Write a model folder as training leaves it, with weights of that size."""
    import numpy
    from safetensors.numpy import save_file

    folder.mkdir()
    weights = numpy.random.default_rng(42).standard_normal(megabytes * 250_000, dtype=numpy.float32)
    save_file({"weights": weights}, folder / "model.safetensors")
    labels = {"0": "bad", "1": "good"}
    for name, document in {
        "config.json": {"id2label": labels},
        "tokenizer.json": {},
        "tokenizer_config.json": {},
        "classifier.json": {"labels": list(labels.values()), "max_length": 128},
    }.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


def measure(side: str, model: Path, target: Path) -> dict[str, float]:
    """Pack once and return the figures."""
    began = time.perf_counter()
    subprocess.run(_command(side, model, target), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    archive = target / "reviews.mar"
    os.sync()  # what this run has still to write must not fall on the next one
    return {SECONDS: seconds, SIZE: archive.stat().st_size / 2**20}


def _command(side: str, model: Path, target: Path) -> list[str]:
    if side == OURS:
        return [sys.executable, "-c", _OURS, str(model), str(target)]
    extra = [str(path) for path in sorted(model.iterdir()) if path.suffix == ".json"]
    return [
        str(Path(sys.executable).with_name("torch-model-archiver")),
        *("--model-name", "reviews", "--version", "1", "--handler", "text_classifier"),
        *("--serialized-file", str(model / "model.safetensors"), "--extra-files", ",".join(extra)),
        *("--export-path", str(target)),
    ]


if __name__ == "__main__":
    main()
