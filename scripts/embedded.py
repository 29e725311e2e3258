"""The embedded world: one machine, Python and make only. Runs releases, Airflow and TorchServe for the Makefile."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
AIRFLOW = PROJECT / ".venv" / "airflow" / "bin" / "airflow"
PIPELINES_PYTHON = PROJECT / ".venv" / "pipelines" / "bin" / "python"

#: Environment variable -> field of the release form and how its text is read.
FORM_FIELDS: Mapping[str, tuple[str, Any]] = {
    "TRAIN": ("train", lambda text: re.split(r"[,\s]+", text.strip())),
    "EVALUATION": ("evaluation", lambda text: re.split(r"[,\s]+", text.strip())),
    "BASE_MODEL": ("base_model", str),
    "EPOCHS": ("epochs", float),
    "LEARNING_RATE": ("learning_rate", float),
    "BATCH_SIZE": ("batch_size", int),
    "MAX_LENGTH": ("max_length", int),
    "SEED": ("seed", int),
    "MIN_ACCURACY": ("min_accuracy", float),
    "MIN_MACRO_F1": ("min_macro_f1", float),
    "MAX_REGRESSION": ("max_regression", float),
    "MUST_BEAT_BASELINE": ("must_beat_baseline", lambda text: {"true": True, "false": False}[text.lower()]),
    "REQUIRE_APPROVAL": ("require_approval", lambda text: {"true": True, "false": False}[text.lower()]),
}


def state_dir() -> Path:
    """Return the folder that holds everything that is not source: Airflow's home, runs, models, registry."""
    return Path(os.environ.get("STATE_DIR") or PROJECT / ".state").resolve()


def environment(state: Path, *, airflow_port: int = 8080, serving_port: int = 8085) -> dict[str, str]:
    """Return the settings of the embedded world. A variable that is set already keeps its value.

    :param state: folder for everything that is written.
    :param airflow_port: port of Airflow's UI and API on loopback.
    :param serving_port: port of TorchServe's predictions on loopback.
    """
    home = state / "airflow"
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{airflow_port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{airflow_port}",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
        "PYTHONPATH": str(PROJECT),
        "MODEL_STORE": (state / "store").as_uri(),
        "AIRFLOW_CONN_PIPELINES_DEFAULT": _connection(
            "local_pipelines", python=PIPELINES_PYTHON, project_dir=PROJECT, runs_dir=state / "runs"
        ),
        "AIRFLOW_CONN_SERVING_DEFAULT": _connection(
            "torchserve", host="127.0.0.1", port=serving_port, python=PIPELINES_PYTHON, state_dir=state / "serving"
        ),
        "AIRFLOW_CONN_REGISTRY_DEFAULT": _connection(
            "mlflow",
            tracking_uri=f"sqlite:///{state / 'mlflow' / 'mlflow.db'}",
            artifact_uri=(state / "mlflow" / "artifacts").as_uri(),
        ),
    }
    if alert_url := os.environ.get("ALERT_URL"):
        settings["AIRFLOW_CONN_ALERTS_DEFAULT"] = _connection("apprise", config=[{"path": alert_url, "tag": "alerts"}])
    settings |= {name: value for name, value in os.environ.items() if name in settings and value}
    settings |= _secrets(home)
    return settings


def _connection(conn_type: str, *, host: str | None = None, port: int | None = None, **extra: Any) -> str:
    extra = {name: str(value) if isinstance(value, Path) else value for name, value in extra.items()}
    return json.dumps({"conn_type": conn_type, "host": host, "port": port, "extra": extra})


def _secrets(home: Path) -> dict[str, str]:
    """Return keys that all Airflow processes share and that survive a restart; made once, readable by the owner only."""
    file = home / "secrets.json"
    if not file.exists():
        from cryptography.fernet import Fernet

        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(
            file,
            {
                "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
                "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            },
        )
        _write_private(home / "passwords.json", {"admin": secrets.token_urlsafe(12)})
    return json.loads(file.read_text())


def _write_private(file: Path, content: Mapping[str, str]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream)


def migrate(env: Mapping[str, str]) -> None:
    """Create or upgrade Airflow's database, when that has not been done with this version of Airflow."""
    from importlib.metadata import version

    stamp = Path(env["AIRFLOW_HOME"]) / f"migrated-{version('apache-airflow-core')}"
    if stamp.exists():
        return
    print("Preparing Airflow's database (once)", flush=True)
    answer = subprocess.run([AIRFLOW, "db", "migrate"], env={**os.environ, **env}, capture_output=True, text=True)
    if answer.returncode:
        sys.exit(f"airflow db migrate failed:\n{answer.stdout[-2000:]}{answer.stderr[-2000:]}")
    stamp.touch()


def form_values(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the form's fields that the user has set.

    :raises SystemExit: naming the setting that cannot be read.
    """
    values = {}
    for variable, (field, read) in FORM_FIELDS.items():
        text = settings.get(variable, "")
        if text:
            try:
                values[field] = read(text)
            except (ValueError, KeyError):
                sys.exit(f"{variable}={text!r} is not valid for the form's field {field!r}.")
    return values


# Processes in the background


def _process_file(env: Mapping[str, str]) -> Path:
    return Path(env["AIRFLOW_HOME"]) / "airflow.process.json"


def airflow_process(env: Mapping[str, str]) -> Any:
    """Return Airflow's leading process (psutil), ``None`` when it is not running."""
    import psutil

    try:
        record = json.loads(_process_file(env).read_text())
        process = psutil.Process(record["pid"])
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
    # A process id is used again after a reboot: the start time tells them apart.
    return process if abs(process.create_time() - record["create_time"]) < 2 else None


def start_airflow(env: Mapping[str, str], *, timeout_seconds: float = 180) -> None:
    """Start ``airflow standalone`` in the background and wait until its API answers."""
    import psutil

    url = env["AIRFLOW__API__BASE_URL"]
    port = int(env["AIRFLOW__API__PORT"])
    if airflow_process(env) is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"Port {port} is taken by another program: make airflow AIRFLOW_PORT=<free port>")
        migrate(env)
        log = Path(env["AIRFLOW_HOME"]) / "airflow.log"
        print(f"Starting Airflow (about half a minute; log: {log})", flush=True)
        with log.open("ab") as stream:
            # A session of its own: `make stop` must reach the scheduler and workers too, which outlive their parent.
            child = subprocess.Popen(
                [AIRFLOW, "standalone"],
                env={**os.environ, **env},
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        record = {"pid": child.pid, "create_time": psutil.Process(child.pid).create_time()}
        _process_file(env).write_text(json.dumps(record))
    deadline = time.monotonic() + timeout_seconds
    while not _is_healthy(url):
        if airflow_process(env) is None or time.monotonic() > deadline:
            sys.exit(f"Airflow did not start; the end of {Path(env['AIRFLOW_HOME']) / 'airflow.log'} says why.")
        time.sleep(1)
    password = json.loads(Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).read_text())["admin"]
    print(f"Airflow is running: {url}   user: admin   password: {password}\nStop it with: make stop")


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310
            health = json.load(answer)
    except (OSError, ValueError):
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor"))


def stop_airflow(env: Mapping[str, str]) -> bool:
    """End every process of Airflow's session. Return whether it was running."""
    import psutil

    process = airflow_process(env)
    if process is None:
        return False
    # Workers lead sessions of their own, so the tree is taken before its root is gone.
    family = [process, *process.children(recursive=True)]
    for member in family:
        _signal(member, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=15)
    for member in alive:
        _signal(member, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    _process_file(env).unlink(missing_ok=True)
    return True


def _signal(process: Any, number: int) -> None:
    import psutil

    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
