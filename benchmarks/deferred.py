"""A real triggerer with as many deferred tasks as wanted, on a database of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

_STOP_SECONDS = 30
_WARNING = b"async thread was blocked for"
_LOOP_WATCH = Path(__file__).parent / "loop_watch"
#: Airflow's watchdog sleeps a tenth of a second, and warns when that took twice as long: what keeps the event loop
#: busy for so long brings a warning.
BLOCKING_SECONDS = 0.1


def airflow_settings(home: Path) -> dict[str, str]:
    """Return the environment of an Airflow that keeps to itself."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__TRIGGERER__CAPACITY": "2000",
    }


class DeferredTasks:
    """Task instances of one DAG run, of which some wait for a trigger. Airflow's settings must be in place.

    :param largest: how many there are.
    """

    def __init__(self, largest: int) -> None:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.models.taskinstance import TaskInstance
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import DAG
        from airflow.utils.db import initdb
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        initdb()
        DagBundlesManager().sync_bundles_to_db()
        with DAG("waiting", schedule=None) as dag:
            EmptyOperator(task_id="wait")
        bag = DagBag("/dev/null", collect_dags=False)
        bag.dags[dag.dag_id] = dag
        dag.relative_fileloc = "made_for_a_benchmark.py"
        sync_bag_to_db(bag, "dags-folder", None)
        with create_session() as session:
            stored = SerializedDagModel.get(dag.dag_id, session=session)
            assert stored is not None
            now = datetime.now(tz=UTC)
            run = stored.dag.create_dagrun(
                run_id="benchmark",
                logical_date=now,
                data_interval=(now, now),
                run_after=now,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
            task = stored.dag.get_task("wait")
            for index in range(largest):
                session.add(
                    TaskInstance(task=task, run_id=run.run_id, dag_version_id=stored.dag_version_id, map_index=index)
                )

    def defer(self, triggers: Sequence[Any]) -> None:
        """Have the first tasks wait for these triggers, and no other task for any."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import Trigger
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState
        from sqlalchemy import delete, select, update

        with create_session() as session:
            session.execute(update(TaskInstance).values(state=None, trigger_id=None))
            session.execute(delete(Trigger))
            rows = []
            for trigger in triggers:
                path, kwargs = trigger.serialize()
                rows.append(Trigger(classpath=path, kwargs=kwargs))
            session.add_all(rows)
            session.flush()
            tasks = session.scalars(
                select(TaskInstance).where(TaskInstance.map_index >= 0).order_by(TaskInstance.map_index)
            )
            for task, row in zip(tasks, rows, strict=False):
                task.state, task.trigger_id = TaskInstanceState.DEFERRED, row.id

    def resumed(self) -> set[int]:
        """Return the numbers of the tasks whose trigger has fired."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState
        from sqlalchemy import select

        with create_session() as session:
            state = TaskInstanceState.SCHEDULED
            return set(session.scalars(select(TaskInstance.map_index).where(TaskInstance.state == state)))


class Triggerer:
    """A running ``airflow triggerer``.

    :param process: its main process; the triggers run in a child of it.
    :param log_file: what both say.
    :param loop_file: what :mod:`benchmarks.loop_watch.sitecustomize` writes.
    """

    def __init__(self, process: psutil.Process, log_file: Path, loop_file: Path) -> None:
        self._process = process
        self._log_file = log_file
        self._loop_file = loop_file
        self.runner = self._find_runner()

    def cpu_seconds(self) -> Mapping[str, float]:
        """Return the processor time used so far: by the process of the triggers, and by the whole triggerer."""
        processes = [self._process, *self._process.children(recursive=True)]
        spent = {process.pid: sum(process.cpu_times()[:2]) for process in processes}
        return {"runner": spent[self.runner.pid], "all": sum(spent.values())}

    def runner_bytes(self) -> int:
        """Return the memory that belongs to the process of the triggers alone."""
        return int(self.runner.memory_full_info().uss)

    def warnings(self) -> int:
        """Return how often Airflow has said that the event loop was blocked, by whatever."""
        return self._log_file.read_bytes().count(_WARNING)

    def busy_seconds(self) -> list[float]:
        """Return for how long the triggers' event loop has worked without a pause, each time that it was for long."""
        lines = self._loop_file.read_text(encoding="utf-8").splitlines() if self._loop_file.exists() else []
        found = (line.split() for line in lines)
        return [float(seconds) for pid, seconds in found if int(pid) == self.runner.pid]

    def _find_runner(self) -> psutil.Process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE:
                break
            if children := self._process.children():
                return children[0]
            time.sleep(0.2)
        raise RuntimeError(f"The triggerer did not start; see {self._log_file}.")


@contextmanager
def triggerer(home: Path, environment: Mapping[str, str]) -> Iterator[Triggerer]:
    """Run a triggerer for the length of a block.

    :param environment: added to this process's own.
    """
    log_file, loop_file = home / "triggerer.log", home / "loop.txt"
    loop_file.unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, (str(_LOOP_WATCH), os.environ.get("PYTHONPATH"))))
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("airflow")), "triggerer", "--skip-serve-logs"],
            env={**os.environ, **environment, "PYTHONPATH": path, "LOOP_WATCH_FILE": str(loop_file)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Triggerer(psutil.Process(process.pid), log_file, loop_file)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
