"""A real Airflow (scheduler, DAG processor, API server, triggerer) on a throw-away home, asked through its REST API."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
from cryptography.fernet import Fernet

from tests.waiting import LIMIT_SECONDS, wait_for

ROOT = Path(__file__).parents[1]
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: Tasks are forks of the one, DAG files are read by forks of the other.
FORKING = ("scheduler", "dag-processor")
#: Seconds between two questions to the API: each costs the machine more than the waiting does.
_PAUSE_SECONDS = 0.6
#: How often the API is asked when SQLite, which all components write to at once, is in the way.
_TRIES = 5


#: ``serve(files, connections, dag_ids)``, see :meth:`AirflowServer.serve`.
Serve = Callable[[Mapping[str, str], Mapping[str, Mapping[str, Any]], Collection[str]], "AirflowServer"]


class AirflowServer:
    """The components of an Airflow, each a process of its own, with REST helpers.

    :param home: empty folder for ``AIRFLOW_HOME``.
    :param database: SQLAlchemy's address of a database with Airflow's tables and nothing else.
    """

    def __init__(self, home: Path, database: str) -> None:
        self.home = home
        self.dags_folder = home / "dags"
        self.dags_folder.mkdir()
        # Without one, each component would write its own.
        (home / "airflow.cfg").touch()
        self.port, log_port, trigger_log_port = _free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = (home / "output.txt").open("ab")
        self._token = ""
        plugins = ROOT / "plugins"
        settings = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API__WORKERS": "1",
            # What its database answered stands in the answer then, and not in a log that is gone with the test.
            "AIRFLOW__API__EXPOSE_STACKTRACE": "True",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins if _has_the_releases() else home / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__CORE__PARALLELISM": "3",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            # By default 20 seconds without an answer of the API server, which builds half of itself at the first task
            # and shares the machine with the other tests, fail a task.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "24",
            # New files are soon seen, and those that are known are not read again and again.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(ROOT) if _has_the_releases() else f"{ROOT}{os.pathsep}{plugins}",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.env = inherited | settings
        self._known: set[psutil.Process] = set()
        self._components: dict[str, subprocess.Popen[bytes]] = {}
        for name in COMPONENTS:
            self._start(name)

    def _start(self, command: str, *options: str, name: str = "", settings: Mapping[str, str] = {}) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking_airflow" if command in FORKING else "airflow", command, *options],
            env=self.env | dict(settings),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._components[name or command] = process
        self._known.add(psutil.Process(process.pid))

    def restart(self, name: str, settings: Mapping[str, str] = {}) -> None:
        """End a component as a redeployment does, and start another.

        :param settings: environment variables of the new one.
        """
        self._components[name].terminate()
        self._components[name].wait(timeout=LIMIT_SECONDS)
        self._start(name, settings=settings)

    def add_triggerer(self, name: str) -> None:
        """Start a triggerer beside the first one."""
        # The first one serves the logs of both.
        self._start("triggerer", "--skip-serve-logs", name=name)

    def pause(self, name: str) -> None:
        """Stop a component's processes where they are, as a machine does that hangs; :meth:`go_on` lets them go on."""
        self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Let a component that was paused go on."""
        self._signal(name, signal.SIGCONT)

    def pid(self, name: str) -> int:
        """Return the process id of a component."""
        return self._components[name].pid

    def _signal(self, name: str, number: signal.Signals) -> None:
        component = psutil.Process(self._components[name].pid)
        for process in (component, *component.children(recursive=True)):
            process.send_signal(number)

    def remove(self, name: str) -> None:
        """End a component that a test has added."""
        component = self._components.pop(name)
        component.terminate()
        component.wait(timeout=LIMIT_SECONDS)

    def serve(
        self,
        files: Mapping[str, str],
        connections: Mapping[str, Mapping[str, Any]],
        dag_ids: Collection[str],
    ) -> None:
        """Add DAG files and connections, and wait until the DAGs can be triggered.

        :param files: name -> source, which may be indented.
        :param connections: id -> fields as ``AIRFLOW_CONN_<ID>`` has them; they take the place of what was there.
        """
        self.wait_until_ready()
        for conn_id, fields in connections.items():
            body = {"connection_id": conn_id, **fields, "extra": json.dumps(fields.get("extra", {}))}
            create = {"action": "create", "entities": [body], "action_on_existence": "overwrite"}
            self.call("PATCH", "/connections", {"actions": [create]})
        for name, source in files.items():
            (self.dags_folder / name).write_text(textwrap.dedent(source), encoding="utf-8")
        self.wait_until_ready(dag_ids)

    @property
    def is_whole(self) -> bool:
        """Whether every component still runs and says that it is well."""
        return all(process.poll() is None for process in self._components.values()) and self._is_ready(())

    @property
    def is_gone(self) -> bool:
        """Whether no process of it is left."""
        return not self._processes()

    def _is_ready(self, dag_ids: Collection[str]) -> bool:
        try:
            health = self.call("GET", "/monitor/health")
            known = {dag["dag_id"] for dag in self.call("GET", "/dags?limit=100")["dags"]}
        except (OSError, RuntimeError):
            return False
        parts = [health[part]["status"] for part in ("scheduler", "triggerer", "dag_processor")]
        return set(dag_ids) <= known and parts == ["healthy"] * 3

    def wait_until_ready(self, dag_ids: Collection[str] = ()) -> None:
        """Wait until every component is healthy and the DAGs are known and can be triggered."""

        def is_ready() -> bool:
            for name, process in self._components.items():
                if process.poll() is not None:
                    raise AssertionError(f"Airflow's {name} has ended:\n{self.output()[-5000:]}")
            return self._is_ready(dag_ids)

        wait_for(is_ready, lambda: f"Airflow is ready\n{self.output()[-5000:]}", pause=_PAUSE_SECONDS)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the REST API (``/api/v2`` + path) and return the JSON of its answer."""
        import requests

        if not self._token:
            self._token = requests.get(f"{self.url}/auth/token", timeout=LIMIT_SECONDS).json()["access_token"]
        for left in reversed(range(_TRIES)):
            answer = requests.request(
                method,
                f"{self.url}/api/v2{path}",
                json=body,
                headers={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
                timeout=LIMIT_SECONDS,  # the first task makes the API server build half of itself anew
            )
            if answer.ok:
                return answer.json()
            # What the database has refused it has undone; a user who sees that clicks again.
            if not left or "orig_error" not in answer.text:
                break
            time.sleep(1)
        raise RuntimeError(f"{answer.status_code} {_reason(answer)} ({method} {path})")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a DAG run and return its id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, states: Collection[str] = ("success", "failed")) -> str:
        """Wait until a DAG run is in one of the states, and return the state."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        return self._wait_for_state(path, states)

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance: ``state``, ``try_number``, ``pid`` and so on."""
        instance: dict[str, Any] = self.call("GET", self._task_path(dag_id, run_id, task_id))
        return instance

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, states: Collection[str]) -> str:
        """Wait until a task instance is in one of the states, and return the state."""
        return self._wait_for_state(self._task_path(dag_id, run_id, task_id), states)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as ``failed`` or ``success``, as a user does in the UI."""
        self.call("PATCH", self._task_path(dag_id, run_id, task_id), {"new_state": state})

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks, as a user does in the UI."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task pushed."""
        return self.call("GET", f"{self._task_path(dag_id, run_id, task_id)}/xcomEntries/{key}")["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try: what was logged, and the errors that were."""
        content = self.call("GET", f"{self._task_path(dag_id, run_id, task_id)}/logs/{try_number}")["content"]
        lines = [line if isinstance(line, dict) else {"event": str(line)} for line in content]
        errors = [
            f"{error['exc_type']}: {error['exc_value']}" for line in lines for error in line.get("error_detail", [])
        ]
        return "\n".join([line["event"] for line in lines] + errors)

    def output(self) -> str:
        """Return what Airflow's components have written so far."""
        return (self.home / "output.txt").read_text(errors="replace")

    def stop(self) -> None:
        """Stop every process of this Airflow; ending ``standalone`` alone would leave some behind."""
        started = time.monotonic()
        while processes := self._processes():
            seconds = time.monotonic() - started
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL if seconds > 5 else signal.SIGTERM)
            assert seconds < 120, f"still running: {processes}"
            time.sleep(0.3)
        for component in self._components.values():
            component.wait()
        self._output.close()

    def _processes(self) -> list[psutil.Process]:
        """Return what runs of this Airflow: the family tree, what was in it before, and whatever lives in its home.

        No single mark finds all of them: some overwrite their environment with their title, workers lead sessions of
        their own, and the children of a process that has ended belong to nobody.
        """
        self._known |= {process for process in psutil.process_iter() if self._lives_here(process)}
        for process in list(self._known):
            with suppress(psutil.NoSuchProcess):
                self._known |= {process, *process.children(recursive=True)}
        self._known = {process for process in self._known if _is_alive(process)}
        return list(self._known)

    def _lives_here(self, process: psutil.Process) -> bool:
        try:
            return process.cwd() == str(self.home) or process.environ().get("AIRFLOW_HOME") == str(self.home)
        except (psutil.Error, OSError):
            return False  # another user's, or gone by now

    def _task_path(self, dag_id: str, run_id: str, task_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"

    def _wait_for_state(self, path: str, states: Collection[str]) -> str:
        wait_for(
            lambda: self.call("GET", path)["state"] in states,
            lambda: f"{path} is {' or '.join(states)}: {self.call('GET', path)}",
            pause=_PAUSE_SECONDS,
        )
        return str(self.call("GET", path)["state"])


def make_airflow_tables(database: str, home: Path) -> None:
    """Make the tables of an empty database, in a process of its own: Airflow has one database in each.

    :param database: SQLAlchemy's address of it.
    :param home: an ``AIRFLOW_HOME``, which may not exist yet.
    """
    env = os.environ | {"AIRFLOW_HOME": str(home), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
    subprocess.run([sys.executable, "-c", "from airflow.utils.db import initdb; initdb()"], env=env, check=True)


def _has_the_releases() -> bool:
    """Say whether the whole project is installed here, and not the provider alone."""
    return any(distributions(name="airflow-model-releases"))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _reason(answer: Any) -> str:
    """Return what an error says of itself, what the database said first."""
    try:
        detail = answer.json()["detail"]
        return f"{detail['orig_error']}: {detail['statement']}" if "orig_error" in detail else str(detail)[:500]
    except (ValueError, KeyError, TypeError):
        return str(answer.text)[:500]


def _free_ports(number: int) -> list[int]:
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
