"""One installation of docker-compose.yaml, used as a team uses it: through make, the REST API and the endpoint."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.serving_support import free_port

ROOT = Path(__file__).parents[2]
MODEL, DAG = "sample-reviews", "release_sample_reviews"
#: The same model, served by the native server.
NATIVE, NATIVE_DAG = "native-reviews", "release_native_reviews"

#: Every release of the trial model ends within minutes; machines that run tests can be slow.
LIMIT_SECONDS = 1800


def why_no_engine() -> str | None:
    """Return why the stack cannot be tried here, ``None`` where it can."""
    if shutil.which("docker") is None:
        return "no Docker engine: the command docker is not installed"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        if subprocess.run(command, capture_output=True).returncode:
            return f"no Docker engine with compose: `{' '.join(command)}` does not work"
    return None


class Stack:
    """An installation with volumes, ports and secrets of its own.

    Its ``.env`` lies where a team's does, beside the Dockerfile, so that a build that took it in would be found out.

    :param world: ``embedded`` or ``kubeflow``.
    """

    def __init__(self, world: str = "embedded") -> None:
        self.project = f"stack-test-{uuid4().hex[:8]}"
        self.env_file = ROOT / f".env.{self.project}"
        self._environment = os.environ | {"COMPOSE_PROJECT_NAME": self.project}
        names = ("AIRFLOW_PORT", "SERVING_PORT", "NATIVE_PORT", "NATIVE_METRICS_PORT", "MLFLOW_PORT")
        ports = {name: str(free_port()) for name in names}
        self.published = [f"http://127.0.0.1:{port}" for port in ports.values()]
        self.airflow, self.serving, self.native, self.native_metrics, self.mlflow = self.published
        self.make("env", WORLD=world)
        self.set(**ports)

    def set(self, **settings: str) -> None:
        """Change settings of the ``.env``, or add them."""
        text = self.env_file.read_text()
        for name, value in settings.items():
            text, number = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            text += "" if number else f"{name}={value}\n"
        self.env_file.write_text(text)

    def remove(self) -> None:
        """Leave nothing behind but the images."""
        self.compose("down", "--volumes", "--timeout", "10")
        self.env_file.unlink()

    @property
    def settings(self) -> dict[str, str]:
        """What stands in the ``.env``."""
        lines = (line.partition("=") for line in self.env_file.read_text().splitlines() if "=" in line)
        return {name: value.strip("'") for name, _, value in lines if not name.startswith("#")}

    @property
    def passwords(self) -> dict[str, str]:
        """The users' passwords."""
        return json.loads(self.settings["AIRFLOW_PASSWORDS"])

    # Commands

    def make(self, target: str, **settings: str) -> str:
        """Run a target as a user does; return what it printed."""
        variables = [f"{name}={value}" for name, value in {"ENV_FILE": str(self.env_file), **settings}.items()]
        return self._run(["make", "--no-print-directory", target, *variables])

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose`` on this installation."""
        return self._run(["docker", "compose", "--env-file", str(self.env_file), *arguments])

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what ``docker inspect`` tells of a service's container."""
        container = self.compose("ps", "--all", "--quiet", service).strip()
        return json.loads(self._run(["docker", "inspect", container]))[0]

    def sql(self, database: str, query: str) -> str:
        """Ask PostgreSQL."""
        return self.compose(
            *("exec", "-T", "postgres", "sh", "-c"),
            'PGPASSWORD=$POSTGRES_PASSWORD psql -U postgres -d "$0" -tAc "$1"',
            *(database, query),
        ).strip()

    def services(self) -> dict[str, str]:
        """Return how the running services do: ``healthy``, ``starting``, ``unhealthy``, or nothing without a check."""
        lines = self.compose("ps", "--format", "{{.Service}} {{.Health}}").splitlines()
        return {service: health for service, _, health in (line.partition(" ") for line in lines)}

    def training_runs(self) -> int:
        """Return how many training runs there have been."""
        command = "find /var/lib/releases/runs -maxdepth 2 -name request.json"
        return len(self.compose("exec", "-T", "pipelines", *command.split()).splitlines())

    def _run(self, command: list[str]) -> str:
        answer = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
        assert answer.returncode == 0, f"{command}\n{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}"
        return answer.stdout

    # The REST API

    def token(self, user: str = "admin", password: str | None = None) -> str:
        """Sign in."""
        credentials = {"username": user, "password": self.passwords[user] if password is None else password}
        return request_json(f"{self.airflow}/auth/token", credentials)["access_token"]

    def api(self, path: str, body: Any = None) -> Any:
        """Ask Airflow, signed in anew: a token does not outlive every restart."""
        return request_json(f"{self.airflow}/api/v2{path}", body, self.token())

    def release(self, dag: str = DAG, **conf: Any) -> str:
        """Start a release, or another DAG; return its DAG run."""
        return self.api(f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]

    def task_state(self, run: str, task: str) -> str | None:
        """Return a task's state."""
        return self.api(f"/dags/{DAG}/dagRuns/{run}/taskInstances/{task}")["state"]

    def run_state(self, run: str, dag: str = DAG) -> str:
        """Return a release's state."""
        return self.api(f"/dags/{dag}/dagRuns/{run}")["state"]

    def wait(self, run: str, dag: str = DAG) -> str:
        """Wait until a release is over; return how it ended."""
        wait_for(lambda: self.run_state(run, dag) in ("success", "failed"), f"release {run} ends")
        return self.run_state(run, dag)

    def why(self, run: str, dag: str = DAG) -> str:
        """Return the states of a release's tasks, for the message of a failed test."""
        tasks = self.api(f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return ", ".join(f"{task['task_id']} {task['state']} (try {task['try_number']})" for task in tasks)

    # The endpoint

    def live(self, model: str = MODEL) -> str | None:
        """Return the version that answers, ``None`` where nobody does."""
        body = {"instances": ["The food was great and the staff were friendly."]}
        address = self.native if model == NATIVE else self.serving
        try:
            answer = request_json(f"{address}/v1/models/{model}:predict", body)
        except (OSError, ValueError):
            return None
        return answer["predictions"][0]["version"]

    @contextmanager
    def users(self, model: str = MODEL) -> Iterator[Users]:
        """Ask for predictions all the time."""
        users = Users(partial(self.live, model))
        try:
            yield users
        finally:
            users.stop()


@contextmanager
def installation(world: str = "embedded", **settings: str) -> Iterator[Stack]:
    """Have an installation that is up, and that is gone afterwards; the test is skipped where there is no engine."""
    if reason := why_no_engine():
        pytest.skip(reason)
    # One at a time, whatever else runs beside: two stacks on one machine starve each other.
    with (Path(tempfile.gettempdir()) / "stack-test.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stack = Stack(world)
        try:
            stack.set(**settings)
            stack.make("up")
            yield stack
        finally:
            stack.remove()


def models_dir(folder: Path) -> Path:
    """Return a folder with the trial model, and with the same one for the native server."""
    trial = yaml.safe_load((ROOT / "include" / "models" / f"{MODEL}.yaml").read_text())
    for name, more in (
        (MODEL, {}),
        (NATIVE, {"serving": {"runtime": "native"}, "connections": {"serving": "serving_native"}}),
    ):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**trial, **more, "name": name}))
    folder.chmod(0o755)  # read by the containers' user
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


class Users:
    """People who ask for a prediction, and ask again as soon as they have it.

    :param ask: returns the version that answered, ``None`` for no answer.
    """

    def __init__(self, ask: Callable[[], str | None]) -> None:
        self.answers: list[str | None] = []
        self._ask = ask
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Go home."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self.answers.append(self._ask())
            self._over.wait(0.1)


def docker(*arguments: str) -> str:
    """Run a docker command."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def request_json(url: str, body: Any = None, token: str | None = None) -> Any:
    """Send a request, a POST where it has a body."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=180) as answer:
        return json.load(answer)


def wait_for(is_true: Callable[[], bool], what: str) -> None:
    """Wait for a condition; a service that is just being restarted is no answer yet."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            if is_true():
                return
        except (OSError, ValueError, urllib.error.URLError) as error:
            last = str(error)
        else:
            last = ""
        assert time.monotonic() < deadline, f"never: {what} {last}"
        time.sleep(1)
