"""One installation of docker-compose.yaml, used as a team uses it: through make, the REST API and the endpoint."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODEL, DAG = "sample-reviews", "release_sample_reviews"

#: Every release of the trial model ends within minutes; machines that run tests can be slow.
LIMIT_SECONDS = 1800


class Stack:
    """An installation with volumes, ports and secrets of its own.

    :param folder: for its ``.env`` and its back-ups.
    :param project: name of its containers and volumes.
    :param ports: for Airflow, predictions and MLflow.
    """

    def __init__(self, folder: Path, project: str, ports: Sequence[int]) -> None:
        self.project = project
        self.env_file = folder / "stack.env"
        self._environment = os.environ | {"COMPOSE_PROJECT_NAME": project}
        self.make("env")
        text = self.env_file.read_text()
        for name, port in zip(("AIRFLOW_PORT", "SERVING_PORT", "MLFLOW_PORT"), ports, strict=True):
            text = re.sub(rf"^{name}=.*$", f"{name}={port}", text, flags=re.MULTILINE)
        self.env_file.write_text(text)
        self.airflow, self.serving, self.mlflow = (f"http://127.0.0.1:{port}" for port in ports)

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

    def release(self, **conf: Any) -> str:
        """Start a release; return its DAG run."""
        return self.api(f"/dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]

    def task_state(self, run: str, task: str) -> str | None:
        """Return a task's state."""
        return self.api(f"/dags/{DAG}/dagRuns/{run}/taskInstances/{task}")["state"]

    def wait(self, run: str) -> str:
        """Wait until a release is over; return how it ended."""

        def state() -> str:
            return self.api(f"/dags/{DAG}/dagRuns/{run}")["state"]

        wait_for(lambda: state() in ("success", "failed"), f"release {run} ends")
        return state()

    def why(self, run: str) -> str:
        """Return the states of a release's tasks, for the message of a failed test."""
        tasks = self.api(f"/dags/{DAG}/dagRuns/{run}/taskInstances")["task_instances"]
        return ", ".join(f"{task['task_id']} {task['state']} (try {task['try_number']})" for task in tasks)

    # The endpoint

    def live(self) -> str | None:
        """Return the version that answers, ``None`` where nobody does."""
        body = {"instances": ["The food was great and the staff were friendly."]}
        try:
            answer = request_json(f"{self.serving}/v1/models/{MODEL}:predict", body)
        except (OSError, ValueError):
            return None
        return answer["predictions"][0]["version"]

    @contextmanager
    def users(self) -> Iterator[Users]:
        """Ask for predictions all the time."""
        users = Users(self.live)
        try:
            yield users
        finally:
            users.stop()


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


def request_json(url: str, body: Any = None, token: str | None = None) -> Any:
    """Send a request, a POST where it has a body."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
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
