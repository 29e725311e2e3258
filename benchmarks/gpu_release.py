"""How long one release takes on a GPU: preprocess, train, package, evaluate, serve, each in a process of its own.

So are they in a cluster, each in its pod. There is no Airflow and no pipeline around the steps: neither computes.
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import gpu
from benchmarks.harness import Benchmark, arguments, clean_up_when_told_to_stop
from benchmarks.load import ROOT
from benchmarks.training import ENCODER, describe
from include.classifier.packaging.native_server import native_server
from include.classifier.packaging.server import RunningServer, torchserve
from include.sample_data.generate import make_review

NATIVE, TORCHSERVE = "native", "torchserve"
STEPS = (PREPROCESS, TRAIN, PACKAGE, EVALUATE, SERVE) = ("preprocess", "train", "package", "evaluate", "serve")
WHOLE = "one release"
#: The limit, for all steps together.
MOST_SECONDS = 480.0

MODEL, VERSION = "gpu-reviews", "20260101000000"
_LABELS = {str(stars): f"{stars} stars" for stars in range(1, 6)}
#: One row to be evaluated for so many to be learned from.
_TRAIN_ROWS_PER_EVALUATION_ROW = 6
_STEP = """
import json, sys
from include.classifier import steps
getattr(steps, sys.argv[1])(**json.loads(sys.argv[2]))
"""
_SHOWN_LINES = 20


class StepError(RuntimeError):
    """A step of the release has failed; the message ends with the last lines that it printed."""


@dataclass(kw_only=True)
class Release:
    """What was made, and how long each step took.

    :param folder: of the release, with ``candidate.json``.
    :param seconds: step -> wall time of its process, start and imports included.
    :param printed: step -> what it printed.
    """

    folder: Path
    runtime: str
    seconds: dict[str, float] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)

    @property
    def candidate(self) -> dict[str, Any]:
        """``candidate.json``."""
        return dict(json.loads((self.folder / "candidate.json").read_text(encoding="utf-8")))

    @property
    def package(self) -> Path:
        """Folder of the package."""
        return self.folder / "package"

    @contextmanager
    def served(self) -> Iterator[RunningServer]:
        """Serve the package, as long as the block lasts; it begins when the model answers."""
        with (native_server if self.runtime == NATIVE else torchserve)(self.package) as server:
            server.wait_until_ready(MODEL)
            yield server

    def figures(self) -> dict[str, float]:
        """Return the seconds of each step, and of all of them."""
        return {**self.seconds, WHOLE: sum(self.seconds.values())}


def main() -> None:
    """Measure, and write ``results/gpu-release.json``."""
    parser = arguments(__doc__ or "", sizes=[200] if gpu.is_trial() else [6000], pairs=1, counted="rows to learn from")
    parser.add_argument("--base-model", default=base_model(), help="folder of a pretrained encoder, or scratch")
    given = parser.parse_args()
    clean_up_when_told_to_stop()
    print(f"Computing on {gpu.device()}: {gpu.describe()}.", flush=True)
    benchmark = Benchmark(
        name="gpu-release",
        title="A release on a GPU",
        sides={NATIVE: "packed for the native server, and served by it", TORCHSERVE: "the same with TorchServe"},
        sizes=given.sizes,
        size_unit="rows",
        pairs=given.pairs,
        units=dict.fromkeys((*STEPS, WHOLE), "s"),
        notes=(
            f"Measured on {gpu.describe()}. Generated reviews; {_of_model(given.base_model)} is "
            "trained for three epochs in batches of 32.",
            f"`{SERVE}` ends when all golden examples have been answered.",
        ),
        ours=NATIVE,
    )
    with tempfile.TemporaryDirectory(prefix="gpu-release-") as folder:
        for run, (size, side) in enumerate(benchmark.runs()):
            home = Path(folder) / str(run)
            made = release(home, runtime=side, rows=size, training={"base_model": given.base_model})
            benchmark.add(size, side, made.figures())
    judge(benchmark)
    print(gpu.write(benchmark))


def base_model() -> str:
    """Return what is trained: a pretrained encoder (``ENCODER_DIR``), in a trial what takes a second."""
    return "scratch" if gpu.is_trial() else str(os.environ.get("ENCODER_DIR") or ENCODER)


def _of_model(name: str) -> str:
    return "a small model" if name == "scratch" else f"a pretrained encoder ({describe(Path(name))})"


def judge(benchmark: Benchmark) -> None:
    """Compare the time of a release with the limit, at the largest size."""
    largest = max(benchmark.sizes)
    for side in benchmark.sides:
        seconds = max(benchmark.figures(WHOLE, largest, side))
        benchmark.require(f"seconds for a release with {side}, {largest} rows", seconds, at_most=MOST_SECONDS)


def release(folder: Path, *, runtime: str, rows: int, training: Mapping[str, Any]) -> Release:
    """Make a release of generated reviews, and serve it until its golden examples are answered.

    :param folder: gets everything; made here.
    :param runtime: ``native`` or ``torchserve``.
    :param rows: to learn from.
    :param training: section ``training`` of a model's YAML, over what is set here.
    :raises StepError: when a step fails.
    """
    folder.mkdir(parents=True)
    made = Release(folder=folder, runtime=runtime)
    uri = folder.as_uri()
    sources = {
        name: write_rows(folder / f"{name}.csv", count, seed=seed)
        for seed, (name, count) in enumerate(
            {"train": rows, "evaluation": max(50, rows // _TRAIN_ROWS_PER_EVALUATION_ROW)}.items()
        )
    }
    data = {name: [str(file)] for name, file in sources.items()} | {"labels": _LABELS}
    settings = {"epochs": 3, "batch_size": 32, "max_length": 128} | dict(training)
    of_this = {"dataset_uri": f"{uri}/dataset/dataset.json", "model_name": MODEL, "model_version": VERSION}
    model_dir, facts = str(folder / "model"), {name: str(folder / f"{name}.json") for name in ("training", "package")}

    preprocess = ["-m", "include.classifier.preprocess", "--model", MODEL, "--data", json.dumps(data)]
    _run(made, PREPROCESS, [*preprocess, "--output-uri", f"{uri}/dataset"])
    _step(made, TRAIN, **of_this, model_dir=model_dir, training_file=facts["training"], settings=settings)
    _step(
        made,
        PACKAGE,
        **of_this,
        model_dir=model_dir,
        package_file=facts["package"],
        output_uri=uri,
        # As a model's YAML has it that asks for a GPU for its pods (``serving.kserve.gpu``).
        serving={"runtime": runtime, "precision": "float32"},
    )
    _step(
        made,
        EVALUATE,
        **of_this,
        package_file=facts["package"],
        training_file=facts["training"],
        output_uri=uri,
    )
    began = time.perf_counter()
    with made.served() as server:
        predictions(server, [example["text"] for example in made.candidate["golden_examples"]])
        made.seconds[SERVE] = time.perf_counter() - began
    return made


def write_rows(file: Path, count: int, *, seed: int) -> Path:
    """Write so many labelled reviews, no text twice.

    :param seed: other reviews for another.
    """
    rng = random.Random(f"{seed} {count}")  # noqa: S311  repeatable on purpose
    texts: dict[str, int] = {}
    while len(texts) < count:
        stars = len(texts) % len(_LABELS) + 1
        texts.setdefault(make_review(stars, rng), stars)
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(("label", "text"))
        writer.writerows((stars, text) for text, stars in texts.items())
    return file


def predictions(server: RunningServer, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a server says about texts, with the probabilities of all labels.

    :raises StepError: when it does not answer them.
    """
    body = {"instances": list(texts), "top_k": len(_LABELS)}
    status, answer = server.predict(f"/v1/models/{MODEL}:predict", body)
    if status != 200:
        raise StepError(f"The server answered {status}. Its log ends with:\n{server.log_tail()}")
    return list(answer["predictions"])


def _step(made: Release, name: str, **arguments: Any) -> None:
    _run(made, name, ["-c", _STEP, f"{name}_step", json.dumps(arguments)])


def _run(made: Release, name: str, command: Sequence[str]) -> None:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    made.seconds[name] = time.perf_counter() - began
    made.printed[name] = done.stdout
    if done.returncode:
        shown = "\n".join(done.stdout.splitlines()[-_SHOWN_LINES:])
        raise StepError(f"The step {name} ended with code {done.returncode}:\n{shown}")
    print(f"{name}: {made.seconds[name]:.1f} s", flush=True)


if __name__ == "__main__":
    main()
