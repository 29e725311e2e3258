"""What each way to compute a model costs and changes: those that a package can name, and those that were only tried.

OpenVINO is no dependency of this project: its sides are there when Python finds it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import OURS, Benchmark, arguments, instruction_sets
from benchmarks.load import ROOT
from benchmarks.reviews import SAMPLE_DATA
from benchmarks.training import ENCODER, Rows, read_rows

MILLISECONDS, START, DIFFERENCE, ACCURACY = "processor time of a text", "start", "largest difference", "accuracy"

#: A thread alone: threads that wait for each other on a busy machine take processor time and compute nothing.
_THREADS = 1
_TRAINING_ROWS = 160

SIDES = {
    OURS: "the model as it was trained: torch-float32",
    "torch-bfloat16": "PyTorch in bfloat16, a text at a time",
    "torch compiled": "torch.compile (inductor, any shape), 32-bit floats",
    "onnx-float32": "ONNX Runtime, 32-bit floats",
    "onnx-int8": "ONNX Runtime, 8-bit integers with weights of seven bits",
    "OpenVINO float32": "OpenVINO with the file of onnx-float32",
    "OpenVINO int8": "OpenVINO with the file of onnx-int8",
}

#: Rows of token ids to the probabilities of each.
Compute = Callable[[Sequence[list[int]]], Sequence[Sequence[float]]]


def main() -> None:
    """Measure, and write ``results/kernels.json``."""
    parser = arguments(__doc__ or "", sizes=[1, 4, 16], pairs=3, counted="texts at once")
    parser.add_argument("--model", type=Path, help="folder that training wrote; default: MiniLM, trained for this")
    parser.add_argument("--texts", type=Path, default=SAMPLE_DATA, help="CSV with columns text and label")
    parser.add_argument("--rows", type=int, default=48, help="texts that are classified (%(default)s)")
    given = parser.parse_args()
    rows = read_rows(given.texts)
    sides = {name: what for name, what in SIDES.items() if not name.startswith("OpenVINO") or find_spec("openvino")}
    benchmark = Benchmark(
        name="kernels",
        title="Kernels",
        sides=sides,
        sizes=given.sizes,
        size_unit="texts at once",
        pairs=given.pairs,
        units={MILLISECONDS: "ms", START: "s", DIFFERENCE: "", ACCURACY: ""},
        notes=(
            f"A MiniLM (BERT of six layers, 384 wide), trained on {_TRAINING_ROWS} rows of the sample data; "
            f"{given.rows} others are classified.",
            "Processor time of one thread, without tokenising; every side has seen the texts once. The start is a "
            "process of its own until its first answer, in processor time with that of the compilers it starts; it "
            "is measured once.",
            "Differences are those of a probability to the model as it was trained.",
            f"The CPU has {instruction_sets()}.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="kernels-") as name:
        folder = Path(name)
        model = given.model or _trained(folder / "model", rows)
        _write_variants(model, folder)
        texts = Rows(rows.texts[-given.rows :], rows.classes[-given.rows :], rows.labels)
        _measure(benchmark, model, folder, texts)
    last = max(given.sizes)
    for side in list(sides)[1:]:
        benchmark.require(f"{side}: times as fast, {last} texts at once", benchmark.ours_by(MILLISECONDS, last, side))
    print(benchmark.write())


def _trained(target: Path, rows: Rows) -> Path:
    """Train the encoder that the tests have; return the folder."""
    from include.classifier.tracking import Tracker
    from include.classifier.training.fine_tuning import train
    from include.contracts.settings import TrainingConfig

    settings = TrainingConfig(base_model=str(ENCODER), epochs=4, learning_rate=1e-4, batch_size=8, max_length=128)
    most = _TRAINING_ROWS
    train(
        rows.texts[:most],
        rows.classes[:most],
        labels=rows.labels,
        settings=settings,
        model_dir=target,
        tracker=Tracker(),
    )
    return target


def _write_variants(model: Path, folder: Path) -> None:
    from include.classifier.packaging.bfloat16 import write_bfloat16
    from include.classifier.packaging.onnx_export import export, write

    exported = export(model)
    write(exported, model, folder / "onnx-float32", as_int8=False)
    write(exported, model, folder / "onnx-int8", as_int8=True)
    # It needs nothing: here it is measured on a processor that has to do without, too.
    write_bfloat16(model, folder / "torch-bfloat16", needs=[])


def _measure(benchmark: Benchmark, model: Path, folder: Path, texts: Rows) -> None:
    from include.classifier.serving.predictor import Predictor

    rows = Predictor.load(model, device="cpu", threads=_THREADS).tokenise(texts.texts).input_ids
    starts = {side: _start_seconds(side, model, folder) for side in benchmark.sides}
    computes = {side: compute_of(side, model, folder) for side in benchmark.sides}
    for compute in computes.values():
        for size in benchmark.sizes:
            _answers(compute, rows, size)
    expected = _answers(computes[OURS], rows, 1)
    for size, side in benchmark.runs():
        began = time.process_time()
        found = _answers(computes[side], rows, size)
        seconds = time.process_time() - began
        figures = {MILLISECONDS: seconds / len(rows) * 1000, START: starts[side]}
        benchmark.add(size, side, figures | _compared(expected, found, texts.classes))


def compute_of(side: str, model: Path, folder: Path) -> Compute:
    """Load a side."""
    from include.classifier.serving.predictor import Predictor

    if side.startswith("OpenVINO"):
        return _openvino(folder / side.replace("OpenVINO ", "onnx-") / "model.onnx")
    source = model if side in (OURS, "torch compiled") else folder / side
    predictor = Predictor.load(source, device="cpu", threads=_THREADS)
    if source in (model, folder / "torch-bfloat16"):
        import torch

        torch.set_num_threads(_THREADS)
    if side == "torch compiled":
        import torch

        network: Any = predictor._engine._model  # type: ignore[attr-defined]
        network.forward = torch.compile(network.forward, dynamic=True)
    return predictor.probabilities


def _openvino(file: Path) -> Compute:
    import numpy as np
    import openvino  # type: ignore[import-not-found,unused-ignore]

    settings = {"INFERENCE_NUM_THREADS": _THREADS, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.compile_model(file, "CPU", settings).create_infer_request()

    def compute(rows: Sequence[list[int]]) -> list[list[float]]:
        found = []
        for row in rows:
            logits = request.infer([np.array([row], dtype=np.int64)])[0][0]
            powers = np.exp(logits - logits.max())
            found.append((powers / powers.sum()).tolist())
        return found

    return compute


def _answers(compute: Compute, rows: Sequence[list[int]], size: int) -> list[Sequence[float]]:
    return [values for start in range(0, len(rows), size) for values in compute(rows[start : start + size])]


def _compared(
    expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]], classes: Sequence[int]
) -> dict[str, float]:
    """Return how far probabilities lie apart, and the share of right labels."""
    pairs = zip(expected, found, strict=True)
    largest = max(abs(one - other) for ours, theirs in pairs for one, other in zip(ours, theirs, strict=True))
    right = sum(max(range(len(row)), key=row.__getitem__) == label for row, label in zip(found, classes, strict=True))
    return {DIFFERENCE: largest, ACCURACY: right / len(classes)}


def _start_seconds(side: str, model: Path, folder: Path) -> float:
    """Return the processor time that a process takes to its first answer, with that of what it starts."""
    program = (
        "import sys; from pathlib import Path; from benchmarks.kernels import compute_of; "
        "compute_of(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))([[2, 5, 6, 3]])"
    )
    # Compilers keep what they have made: each start here is the first one.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    process = subprocess.Popen(
        [sys.executable, "-c", program, side, str(model), str(folder)], cwd=ROOT, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{side} did not start: its process ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
