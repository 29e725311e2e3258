"""What it costs Airflow to read the DAG files: ours, with more and more models, against an empty DAG."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.deferred import airflow_settings
from benchmarks.harness import OURS, Benchmark, arguments

ROOT = Path(__file__).parent.parent
OTHER = "an empty DAG"
WHOLE, FILE = "whole process", "file alone"
_EMPTY = "from airflow.sdk import DAG\n\nwith DAG('empty', schedule=None):\n    pass\n"
#: Prints the seconds that the file takes once Airflow itself is there, as in Airflow's own parsing processes.
_READ = """
import sys, time
import airflow.sdk, airflow.providers.standard.operators.empty
from airflow.dag_processing.dagbag import DagBag
began = time.process_time()
bag = DagBag(sys.argv[1], safe_mode=False)
seconds = time.process_time() - began
assert not bag.import_errors, bag.import_errors
assert len(bag.dags) == int(sys.argv[2]), sorted(bag.dags)
print("seconds", seconds)
"""


def main() -> None:
    """Measure, and write ``results/parse.json``."""
    given = arguments(__doc__ or "", sizes=[1, 3, 9], pairs=5).parse_args()
    benchmark = Benchmark(
        name="parse",
        title="Reading the DAG file",
        sides={OURS: "`dags/release_models.py`", OTHER: "a file with one DAG without tasks"},
        sizes=given.sizes,
        size_unit="models",
        pairs=given.pairs,
        units={WHOLE: "s", FILE: "s"},
        notes=(
            "Processor time. `whole process`: a Python process from its start to its end that reads one DAG file. "
            "`file alone`: what the file takes in it once Airflow has been imported, with the imports that the file "
            "makes itself.",
            "Each model is one more file in `include/models`, and one more DAG of 13 tasks or more.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="parse-") as folder:
        home = Path(folder)
        empty = home / "empty_dag.py"
        empty.write_text(_EMPTY, encoding="utf-8")
        projects = {size: make_project(home / f"project-{size}", size) for size in given.sizes}
        for warm in projects.values():
            measure(home, warm, warm / "dags" / "release_models.py", None)  # compiles the sources
        for size, side in benchmark.runs():
            file, dags = (projects[size] / "dags" / "release_models.py", size) if side == OURS else (empty, 1)
            benchmark.add(size, side, measure(home, projects[size], file, dags))
    smallest = min(given.sizes)
    factor = benchmark.ours_by(WHOLE, smallest)
    benchmark.require(f"times the time of an empty DAG, {smallest} model, whole process", factor, at_most=1.2)
    benchmark.require("seconds for each further model", _slope(benchmark, given.sizes))
    print(benchmark.write())


def make_project(folder: Path, models: int) -> Path:
    """Copy what Airflow reads, with so many models."""
    for part in ("dags", "plugins", "include/models", "include/contracts", "include/pipelines"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (ROOT / "include").glob("*.py"):
        shutil.copy(file, folder / "include" / file.name)
    configs = folder / "include" / "models"
    first = sorted(configs.glob("*.yaml"))[0]
    text = first.read_text(encoding="utf-8")
    name = first.stem
    for file in configs.glob("*.yaml"):
        file.unlink()
    for number in range(models):
        (configs / f"{name}-{number}.yaml").write_text(text.replace(name, f"{name}-{number}"), encoding="utf-8")
    return folder


def measure(home: Path, project: Path, file: Path, dags: int | None) -> dict[str, float]:
    """Read a DAG file once; without a number of DAGs only to see that it can be read."""
    environment = os.environ | airflow_settings(home) | {"PYTHONPATH": f"{project / 'plugins'}:{project}"}
    expected = dags if dags is not None else len(list((project / "include" / "models").glob("*.yaml")))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-c", _READ, str(file), str(expected)],
        env=environment,
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if result.returncode:
        raise RuntimeError(f"{file} cannot be read: {result.stderr.strip().splitlines()[-1:]}")
    alone = next(line for line in result.stdout.splitlines() if line.startswith("seconds "))
    return {WHOLE: seconds, FILE: json.loads(alone.removeprefix("seconds "))}


def _slope(benchmark: Benchmark, sizes: list[int]) -> float:
    """Return what each model adds to the time of the file alone."""
    smallest, largest = min(sizes), max(sizes)
    if smallest == largest:
        return 0.0
    times = [benchmark.at(FILE, size).sides[OURS].median for size in (smallest, largest)]
    return (times[1] - times[0]) / (largest - smallest)


if __name__ == "__main__":
    main()
