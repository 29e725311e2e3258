"""Airflow with 200 models and 20,000 releases on PostgreSQL: pages, the scheduler, and reading the DAG files.

Three parts, each with a file of results of its own: what has been measured need not be measured again (``--only``).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from benchmarks.deferred import airflow_settings
from benchmarks.harness import OURS, RESULTS, Benchmark, clean_up_when_told_to_stop
from benchmarks.history import names, write_models
from benchmarks.parse import make_project
from tests.postgresql import PostgresqlServer, postgresql_server

ROOT = Path(__file__).parent.parent
PARTS = ("pages", "scheduler", "parse")
BUSY = "all under way"
#: Of the models, so many are being trained whenever a page is asked for.
UNDER_WAY = 5
#: Releases of a model in the small world: more than any page shows of one. Only the models have them that are on a page
#: which is asked for: 24 after none, and after the eleventh.
FEW, SHOWN = 60, 35
#: How much longer a page may take, or how many rows more it may look at, with twelve times the history.
LIMIT = 1.2

_READ = """
import json, os, resource, sys, time
import airflow.sdk, airflow.providers.standard.operators.empty
from airflow.dag_processing.dagbag import DagBag
found = {}
for file in sys.argv[1:]:
    began = time.process_time()
    bag = DagBag(file, safe_mode=False)
    found[os.path.basename(file)] = time.process_time() - began
    assert not bag.import_errors, bag.import_errors
found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
found["dags"] = len(bag.dags)
print("figures", json.dumps(found))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An Airflow with a history, and its registry.

    :param releases: how many there are.
    :param airflow: SQLAlchemy's address of Airflow's database. :param registry: of MLflow's.
    :param home: has its ``AIRFLOW_HOME`` and the YAMLs of its models.
    """

    releases: int
    airflow: str
    registry: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What programs of this Airflow are started with."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return (
            inherited
            | airflow_settings(self.home)
            | {
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "1",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.airflow,
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
                "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-a-benchmark" * 4,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MODELS_DIR": str(self.home / "models"),
                "MODEL_STORE": (self.home / "store").as_uri(),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            }
        )

    def run(self, *arguments: str) -> str:
        """Run a Python program of this Airflow, and return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments[:3])} has failed: {done.stderr[-3000:]}")
        return done.stdout

    def pages(self, times: int) -> dict[str, Any]:
        """Return what each page costs; see :mod:`benchmarks.scale_pages`."""
        printed = self.run("-m", "benchmarks.scale_pages", self.registry, "--times", str(times))
        return dict(json.loads(printed.splitlines()[-1]))


def small(models: int) -> dict[str, int]:
    """Return model -> releases of an Airflow that is a few weeks old."""
    return {name: FEW if place < SHOWN else 1 for place, name in enumerate(names(models))}


def large(models: int, releases: int) -> dict[str, int]:
    """Return model -> releases of one that is years old: a quarter of all are those of the first model."""
    first, *others = names(models)
    each = max(FEW, releases * 3 // 4 // max(1, len(others)))
    return {first: max(FEW, releases - each * len(others)), **dict.fromkeys(others, each)}


def make_worlds(server: PostgresqlServer, folder: Path, wanted: Mapping[str, Mapping[str, int]]) -> list[World]:
    """Make an Airflow for each of these histories. Their tables and DAGs are the same, and made once."""
    worlds: list[World] = []
    bare = server.new_database()
    for name, releases in wanted.items():
        home = folder / name
        write_models(home / "models", len(releases))
        made = World(releases=sum(releases.values()), airflow=bare, registry=server.new_database(), home=home)
        if not worlds:
            made.run("-c", "from airflow.utils.db import initdb; initdb()")
            made.run("-m", "benchmarks.history", made.registry, "{}")
        world = replace(made, airflow=copied(server, bare))
        began = time.monotonic()
        world.run("-m", "benchmarks.history", world.registry, json.dumps(releases), "--under-way", str(UNDER_WAY))
        print(f"{world.releases} releases of {len(releases)} models in {time.monotonic() - began:.0f} s", flush=True)
        worlds.append(world)
    return worlds


def copied(server: PostgresqlServer, address: str) -> str:
    """Return the address of a copy of a database."""
    new, old = make_url(server.new_database()), make_url(address)
    engine = create_engine(new.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{new.database}"')
        connection.exec_driver_sql(f'CREATE DATABASE "{new.database}" TEMPLATE "{old.database}"')
    engine.dispose()
    return new.render_as_string(hide_password=False)


def measure_pages(worlds: list[World], *, models: int, pairs: int, folder: Path, plans: Path | None = None) -> None:
    """Write ``scale-pages.json``, and every page's plans where that is wanted."""
    runs: list[tuple[int, dict[str, Any]]] = []
    for pair in range(pairs):
        for world in worlds if pair % 2 == 0 else reversed(worlds):
            runs.append((world.releases, world.pages(5)))
    things = [thing for thing in runs[0][1] if thing != "tasks"]  # whose queries are only looked at
    benchmark = Benchmark(
        name="scale-pages",
        title="Pages with years of releases",
        sides={OURS: f"the Releases page with {models} models, five of which are being trained"},
        sizes=[world.releases for world in worlds],
        size_unit="releases",
        pairs=pairs,
        units={
            f"{thing}: {what}": unit for what, unit in (("time", "ms"), ("rows looked at", "rows")) for thing in things
        },
        notes=(
            f"PostgreSQL 15 for Airflow and for MLflow's registry, without a server between; the page in one process, "
            f"which remembers nothing from request to request. The model that is looked at, {names(1)[0]}, has {FEW} "
            "releases in the smaller history and a quarter of all in the larger. Pages are those of the application's "
            "routes. Rows are those of tables that grow, which `EXPLAIN ANALYZE` counts where the planner may read no "
            "table whole. `watch` is what a look of `watch_releases` asks the registry.",
        ),
    )
    for size, figures in runs:
        measured = {f"{thing}: time": figures[thing]["ms"] for thing in things}
        measured |= {f"{thing}: rows looked at": float(figures[thing]["visited"]) for thing in things}
        benchmark.add(size, OURS, measured)
    whole = [line for _, figures in runs for each in figures.values() for line in each["whole"]]
    for line in whole:
        print(f"without an index: {line}", flush=True)
    benchmark.require("queries without an index on a table that grows", len(whole), at_most=0)
    for thing in things:
        for what in ("time", "rows looked at"):
            benchmark.require(f"times the {what}: {thing}", grown(runs, thing, what), at_most=at_most(thing))
    if plans:
        plans.write_text(plans_of(runs[-1][1]), encoding="utf-8")
    print(benchmark.write(folder))


def at_most(thing: str) -> float | None:
    """Return the limit of what people open daily.

    MLflow finds a version, and versions of a state, by looking through the tags of the model's own versions, and what
    pipelines made through those of all.
    """
    looks_through_tags = ("VERSION", "OLDER", "state=", "/without-airflow", "watch")
    return None if any(word in thing and "/drift" not in thing for word in looks_through_tags) else LIMIT


def grown(runs: list[tuple[int, dict[str, Any]]], thing: str, what: str) -> float:
    """Return the median over the pairs of what a thing costs with the larger history, times the smaller."""
    key = "ms" if what == "time" else "visited"
    values: dict[int, list[float]] = {}
    for size, figures in runs:
        values.setdefault(size, []).append(figures[thing][key])
    smaller, larger = (sorted(values[size])[len(values[size]) // 2] for size in sorted(values))
    return larger / smaller if smaller else 1.0


def plans_of(figures: Mapping[str, Any]) -> str:
    """Return rows and indexes of every thing, for whoever wants to see them."""
    return "\n".join(f"{thing}\n  " + "\n  ".join(each["plans"]) for thing, each in figures.items()) + "\n"


def measure_scheduler(worlds: list[World], *, models: int, seconds: float, folder: Path) -> None:
    """Write ``scale-scheduler.json``."""
    benchmark = Benchmark(
        name="scale-scheduler",
        title="The scheduler with years of releases",
        sides={OURS: f"{models} release DAGs, {UNDER_WAY} of them in a training", BUSY: "all of them in a training"},
        sizes=[world.releases for world in worlds],
        size_unit="releases",
        pairs=1,
        units={"scheduler": "% of a core", "its database": "% of a core", "memory": "MiB"},
        notes=(
            f"`airflow scheduler` with its defaults for {seconds:.0f} s, after 15 s to begin; LocalExecutor. "
            "A release in a training is a running DAG run with a deferred task; nothing is started or ended meanwhile.",
        ),
    )
    for side in (OURS, BUSY):
        for world in worlds:
            if side == BUSY:
                arguments = f"leave_under_way({names(models)!r})"
                world.run("-c", f"from benchmarks.history import leave_under_way; {arguments}")
            benchmark.add(world.releases, side, scheduler_load(world, seconds))
    smaller, larger = (world.releases for world in worlds)
    for side in (OURS, BUSY):
        share = {size: benchmark.at("scheduler", size).sides[side].median for size in (smaller, larger)}
        benchmark.require(f"% of a core, scheduler, {larger:,} releases, {side}", share[larger])
        benchmark.require(
            f"times that with {smaller:,} releases, {side}", share[larger] / share[smaller], at_most=LIMIT
        )
    print(benchmark.write(folder))


def scheduler_load(world: World, seconds: float) -> dict[str, float]:
    """Run a scheduler, and return what it and the database's processes compute, in percent of a core."""
    log = (world.home / "scheduler.log").open("ab")
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("airflow")), "scheduler", "--skip-serve-logs"],
        env=world.environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        tree = psutil.Process(process.pid)
        time.sleep(15)
        before, began = spent(tree, world), time.monotonic()
        time.sleep(seconds)
        after, passed = spent(tree, world), time.monotonic() - began
        memory = tree.memory_full_info().uss / 2**20
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
    shares = {name: 100 * (after[name] - before[name]) / passed for name in before}
    return {"scheduler": shares["scheduler"], "its database": shares["database"], "memory": memory}


def spent(tree: psutil.Process, world: World) -> dict[str, float]:
    """Return the processor seconds of a scheduler with its children, and of the database's processes."""
    folder = str(make_url(world.airflow).query["host"])
    servers = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and folder in " ".join(process.info["cmdline"] or [])
    ]
    return {
        "scheduler": seconds_of([tree, *tree.children(recursive=True)]),
        "database": seconds_of([child for server in servers for child in server.children()]),
    }


def seconds_of(processes: list[psutil.Process]) -> float:
    """Return the processor seconds of those that are still there."""
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def measure_parsing(sizes: list[int], folder: Path) -> None:
    """Write ``scale-parse.json``."""
    files = sorted(file.name for file in (ROOT / "dags").glob("*.py"))
    benchmark = Benchmark(
        name="scale-parse",
        title="Reading the DAG files of many models",
        sides={OURS: "every file of `dags/`, and what a task of one model reads of `release_models.py`"},
        sizes=sizes,
        size_unit="models",
        pairs=1,
        units={**dict.fromkeys(files, "s"), "all files": "s", "a task of one model": "s", "memory": "MiB"},
        notes=(
            "Processor time, Airflow itself having been imported; the first file, and the task, also import the "
            "project's own modules. Memory is the most that one process took for all files.",
        ),
    )
    with tempfile.TemporaryDirectory(prefix="scale-") as home:
        for size in sizes:
            project = make_project(Path(home) / f"project-{size}", size)
            found = read_files(Path(home), project, [str(project / "dags" / file) for file in files])
            dag = {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "release_sample_reviews_0"}
            task = read_files(Path(home), project, [str(project / "dags" / "release_models.py")], **dag)
            assert task["dags"] == 1, task
            figures = {file: found[file] for file in files} | {"memory": found["memory"]}
            figures |= {
                "all files": sum(found[file] for file in files),
                "a task of one model": task["release_models.py"],
            }
            benchmark.add(size, OURS, figures)
    few, most = min(sizes), max(sizes)
    task_seconds = {size: benchmark.at("a task of one model", size).sides[OURS].median for size in sizes}
    benchmark.require(f"seconds, all files, {most:,} models", benchmark.at("all files", most).sides[OURS].median)
    more = task_seconds[most] - task_seconds[few]
    benchmark.require(f"seconds more for a task with {most:,} models than with {few}", more, at_most=0.5)
    benchmark.require("seconds that each model adds to all files", slope(benchmark, "all files", few, most))
    print(benchmark.write(folder))


def slope(benchmark: Benchmark, what: str, few: int, most: int) -> float:
    """Return what each model adds to a measure."""
    times = [benchmark.at(what, size).sides[OURS].median for size in (few, most)]
    return (times[1] - times[0]) / max(1, most - few)


def read_files(home: Path, project: Path, files: list[str], **environment: str) -> dict[str, float]:
    """Read DAG files in one process; return file -> seconds, with the most memory and the DAGs of the last one."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, *files],
        env=os.environ
        | airflow_settings(home)
        | {"PYTHONPATH": f"{project / 'plugins'}:{project}", "MODELS_DIR": str(project / "include" / "models")}
        | {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600"}
        | environment,
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{files} cannot be read: {done.stderr[-2000:]}")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("figures "))
    return dict(json.loads(line.removeprefix("figures ")))


def main() -> None:
    """Measure all, or one part."""
    clean_up_when_told_to_stop()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the three parts")
    parser.add_argument("--quick", action="store_true", help="a trial with few models; its results are not kept")
    parser.add_argument("--plans", type=Path, help="write the indexes that each page's queries use to this file")
    given = parser.parse_args()
    models, releases, pairs, seconds = (30, 3000, 1, 10.0) if given.quick else (200, 20_000, 2, 30.0)
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        folder = Path(scratch) if given.quick else RESULTS
        if {"pages", "scheduler"} & {*given.only}:
            with postgresql_server() as server:
                histories = {"small": small(models), "large": large(models, releases)}
                worlds = make_worlds(server, Path(scratch), histories)
                if "pages" in given.only:
                    measure_pages(worlds, models=models, pairs=pairs, folder=folder, plans=given.plans)
                if "scheduler" in given.only:
                    measure_scheduler(worlds, models=models, seconds=seconds, folder=folder)
        if "parse" in given.only:
            measure_parsing([1, 20] if given.quick else [1, 200, 1000], folder)


if __name__ == "__main__":
    main()
