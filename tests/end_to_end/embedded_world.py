"""The embedded world as a user has it: a state folder, two ports, and make."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from tests.serving_support import free_port

PROJECT = Path(__file__).parents[2]
MODEL = "sample-reviews"


class EmbeddedWorld:
    """A state folder and ports of its own, used through make alone.

    :param more: variables of the environment besides.
    """

    def __init__(self, state: Path, **more: str) -> None:
        self.state = state
        self.airflow = f"http://127.0.0.1:{(airflow_port := free_port())}"
        self.serving = f"http://127.0.0.1:{(serving_port := free_port())}"
        ours = ("AIRFLOW", "MAKE", "MODELS_DIR", "MODEL_STORE", "ALERT_URL", "PYTHONPATH")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "STATE_DIR": str(state),
            "AIRFLOW_PORT": str(airflow_port),
            "SERVING_PORT": str(serving_port),
            **more,
        }

    def make(self, target: str, *, limit_seconds: float = 1700, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one target; its settings come as variables of make, as a user gives them."""
        try:
            return subprocess.run(
                ["make", "--no-print-directory", target, *(f"{name}={value}" for name, value in settings.items())],
                cwd=PROJECT,
                env=self.env,
                capture_output=True,
                text=True,
                timeout=limit_seconds,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.output or b"").decode(errors="replace")
            raise AssertionError(
                f"make {target} has not ended after {limit_seconds:g} s; it said last:\n{said[-3000:]}"
            ) from None

    def predict(self, *texts: str, model: str = MODEL) -> list[dict[str, Any]]:
        """Ask the public address."""
        answer = request_json(f"{self.serving}/v1/models/{model}:predict", {"instances": list(texts)})
        return answer["predictions"]

    def token(self, output_of_make_airflow: str) -> str:
        """Sign in with the password that `make airflow` printed."""
        password = output_of_make_airflow.split("password: ")[1].split()[0]
        return request_json(f"{self.airflow}/auth/token", {"username": "admin", "password": password})["access_token"]

    def connection(self, conn_type: str) -> dict[str, Any]:
        """Return what the form of a connection would send."""
        python = str(PROJECT / ".venv" / "pipelines" / "bin" / "python")
        extra = {
            "local_pipelines": {"python": python, "project_dir": str(PROJECT), "runs_dir": str(self.state / "runs")},
            "torchserve": {"python": python, "state_dir": str(self.state / "serving")},
            "mlflow": {"tracking_uri": f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}"},
        }[conn_type]
        address = {"host": "127.0.0.1", "port": int(self.serving.rsplit(":")[-1])} if conn_type == "torchserve" else {}
        return {"connection_id": "tried", "conn_type": conn_type, "extra": json.dumps(extra)} | address

    def candidate(self, version: str, model: str = MODEL) -> dict[str, Any]:
        """Read what the pipeline wrote about a version."""
        return json.loads((self.state / "store" / model / version / "candidate.json").read_text())


def request_json(url: str, body: Any = None, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)
