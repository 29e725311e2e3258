"""What a release costs: ``make release`` against the same functions called by one bare script, step by step."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.harness import OURS, Benchmark, arguments, clean_up_when_told_to_stop
from include.sample_data.generate import make_review
from tests.end_to_end.embedded_world import MODEL, PROJECT, EmbeddedWorld

OTHER = "a bare script"
PIPELINES_PYTHON = PROJECT / ".venv" / "pipelines" / "bin" / "python"
WALL, START, PIPELINE, CHECKS, BETWEEN = (
    "wall time",
    "until the first step",
    "the pipeline's own process",
    "checks and records",
    "between the steps",
)
#: Name of a step here -> of its task in the release DAG.
TASKS: Mapping[str, str] = {
    "preprocess": "preprocess",
    "register": "register",
    "deploy": "deploy_candidate",
    "smoke test": "smoke_test",
    "promote": "promote",
}
#: Steps inside the task ``train``, which runs the pipeline.
PIPELINE_STEPS = ("train", "package", "evaluate")
#: Tasks that a bare script does not have.
CHECK_TASKS = ("check", "gate", "approve", "verify", "release", "report")
STEPS = ("preprocess", *PIPELINE_STEPS, "register", "deploy", "smoke test", "promote")

#: The target: so many times the bare script's time and so many seconds.
FACTOR, SECONDS = 1.5, 10.0

_PREPARE = """
import sys
sys.path.insert(0, "scripts")
from environment import environment, migrate, state_dir
migrate(environment(state_dir()))
"""
_PREPARED = "prepared"
#: When something began and ended, in seconds since the epoch.
Span = tuple[float, float]


def main() -> None:
    """Measure, and write ``results/overhead.json``."""
    given = arguments(__doc__ or "", sizes=[600, 1200, 2400], pairs=2).parse_args()
    clean_up_when_told_to_stop()
    benchmark = Benchmark(
        name="overhead",
        title="What a release costs",
        sides={
            OURS: "`make release` in the embedded world: Airflow, kfp.local, TorchServe and MLflow",
            OTHER: "the same functions one after the other in one process, without Airflow and kfp",
        },
        sizes=given.sizes,
        size_unit="rows",
        pairs=given.pairs,
        units=dict.fromkeys((WALL, START, *STEPS, PIPELINE, CHECKS, BETWEEN), "s"),
        notes=(
            "The trial model's first release, on rows of the sample data's kind. Both environments are installed and "
            "Airflow's database is made; everything else is new in every run.",
            f"`{START}`: Python's, Airflow's and the first libraries' start. `{PIPELINE}`: the task `train` without "
            "the three steps in it: kfp, the run's process and the waiting for it. "
            f"`{CHECKS}`: what the bare script leaves out: {', '.join(CHECK_TASKS)}. `{BETWEEN}`: the rest, the end "
            "of the process too.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        home = Path(folder)
        preparing = prepare(home)
        files = {size: write_rows(home / f"rows-{size}.csv", size) for size in given.sizes}
        for size, side in benchmark.runs():
            benchmark.add(size, side, (measure_ours if side == OURS else measure_bare)(home, files[size]))
    judge(benchmark, preparing)
    print(benchmark.write())


def judge(benchmark: Benchmark, preparing: float) -> None:
    """Compare the wall times with what was to be reached.

    :param preparing: seconds that the database took.
    """
    for size in benchmark.sizes:
        pairs = zip(*(benchmark.figures(WALL, size, side) for side in (OURS, OTHER)), strict=True)
        beyond = median(ours - FACTOR * bare for ours, bare in pairs)
        benchmark.require(f"seconds beyond {FACTOR:g} times a bare script, {size} rows", beyond, at_most=SECONDS)
    benchmark.require("seconds for Airflow's database, once in an installation", preparing)


def prepare(home: Path) -> float:
    """Make Airflow's database as an installation has it, and return how many seconds that takes."""
    state = home / _PREPARED
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", _PREPARE],
        cwd=PROJECT,
        env=os.environ | {"STATE_DIR": str(state)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.monotonic() - began
    # What holds paths and keys is made anew for each state.
    for name in ("airflow.cfg", "secrets.json", "passwords.json"):
        (state / "airflow" / name).unlink(missing_ok=True)
    return seconds


def write_rows(file: Path, count: int) -> Path:
    """Write so many labelled reviews, no text twice."""
    rng = random.Random(count)  # noqa: S311  repeatable on purpose
    texts: dict[str, int] = {}
    while len(texts) < count:
        stars = len(texts) % 5 + 1
        texts.setdefault(make_review(stars, rng), stars)
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(("label", "text"))
        writer.writerows((stars, text) for text, stars in texts.items())
    return file


def measure_ours(home: Path, rows: Path) -> dict[str, float]:
    """Release with make, on a new state, and return the seconds of each part."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        state = Path(folder)
        shutil.copytree(home / _PREPARED, state, dirs_exist_ok=True)
        world = EmbeddedWorld(state)
        try:
            began = time.time()
            done = world.make("release", MODEL=MODEL, TRAIN=str(rows), MIN_MACRO_F1="0")
            wall = time.time() - began
            if done.returncode:
                raise RuntimeError(f"The release failed:\n{(done.stdout + done.stderr)[-2000:]}")
            tasks, steps = task_times(state / "airflow" / "airflow.db"), step_times(state / "runs")
        finally:
            world.make("stop")
    of_tasks = {step: tasks[task] for step, task in TASKS.items()}
    return figures(
        began,
        wall,
        start=min(begin for begin, _ in tasks.values()),
        steps=of_tasks | {name: steps[name] for name in PIPELINE_STEPS},
        pipeline=tasks["train"],
        checks=[tasks[name] for name in CHECK_TASKS if name in tasks],
    )


def measure_bare(home: Path, rows: Path) -> dict[str, float]:
    """Release with the bare script and return the seconds of each part."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        request = json.dumps({"model": MODEL, "train": str(rows), "folder": folder})
        began = time.time()
        answer = subprocess.run(
            [str(PIPELINES_PYTHON), "-m", "benchmarks.bare_release", request],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        wall = time.time() - began
    steps = {name: (begin, end) for name, (begin, end) in json.loads(answer.stdout.splitlines()[-1]).items()}
    return figures(began, wall, start=min(begin for begin, _ in steps.values()), steps=steps)


def figures(
    began: float,
    wall: float,
    *,
    start: float,
    steps: Mapping[str, Span],
    pipeline: Span | None = None,
    checks: Sequence[Span] = (),
) -> dict[str, float]:
    """Divide the wall time of a release among its parts.

    :param began: when its command began, seconds since the epoch.
    :param start: when its first step began.
    :param pipeline: when the task ran that holds the pipeline's steps, where there is one.
    """
    parts = {START: start - began} | {name: _seconds(steps[name]) for name in STEPS}
    inside = sum(parts[name] for name in PIPELINE_STEPS)
    parts[PIPELINE] = _seconds(pipeline) - inside if pipeline else 0.0
    parts[CHECKS] = sum(_seconds(check) for check in checks)
    return {WALL: wall} | parts | {BETWEEN: wall - sum(parts.values())}


def task_times(database: Path) -> dict[str, Span]:
    """Return when each task of a database's only DAG run began and ended."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT task_id, start_date, end_date FROM task_instance "
            "WHERE start_date IS NOT NULL AND end_date IS NOT NULL AND state = 'success'"
        ).fetchall()
    return {task: (_epoch(began), _epoch(ended)) for task, began, ended in rows}


def step_times(runs: Path) -> dict[str, Span]:
    """Return when each step of a folder's only pipeline run began and ended."""
    (state,) = runs.glob("*/state.json")
    steps = json.loads(state.read_text(encoding="utf-8"))["steps"]
    return {step["name"]: (_epoch(step["started"]), _epoch(step["ended"])) for step in steps}


def _epoch(moment: str) -> float:
    """Read a moment as Airflow's database and a run's record write it; without a zone it is UTC."""
    read = datetime.fromisoformat(moment)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _seconds(span: Span) -> float:
    return span[1] - span[0]


if __name__ == "__main__":
    main()
