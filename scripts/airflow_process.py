"""Starts and stops Airflow (scheduler, DAG processor, triggerer, API server) in the background."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from environment import AIRFLOW, migrate

#: Airflow's parts. Not `airflow standalone`: its log servers listen on every address of the machine, and nothing
#: here needs them, because all parts see the same log folder.
PARTS: Mapping[str, Sequence[str]] = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}


def _process_file(env: Mapping[str, str]) -> Path:
    return Path(env["AIRFLOW_HOME"]) / "airflow.processes.json"


def airflow_processes(env: Mapping[str, str]) -> dict[str, Any]:
    """Return the parts of Airflow that are running: name and process (psutil)."""
    import psutil

    try:
        record = json.loads(_process_file(env).read_text())
    except (OSError, ValueError):
        return {}
    found = {}
    for name, (pid, create_time) in record.items():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            # A process id is used again after a reboot: the start time tells them apart.
            if abs(process.create_time() - create_time) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                found[name] = process
    return found


def start_airflow(env: Mapping[str, str], *, timeout_seconds: float = 180) -> None:
    """Start Airflow in the background and wait until all of its parts are healthy. Starts only what is missing.

    Nobody else starts or stops it meanwhile.
    """
    url = env["AIRFLOW__API__BASE_URL"]
    running = airflow_processes(env)
    logs = Path(env["AIRFLOW_HOME"]) / "logs-of-airflow"
    if len(running) < len(PARTS):
        if "api-server" not in running and _is_taken(int(env["AIRFLOW__API__PORT"])):
            sys.exit(f"Port {env['AIRFLOW__API__PORT']} is taken by another program: make airflow AIRFLOW_PORT=<free>")
        migrate(env)
        logs.mkdir(parents=True, exist_ok=True)
        print(f"Starting Airflow (about half a minute; logs: {logs})", flush=True)
        started = {name: _start(name, env, logs) for name in PARTS if name not in running}
        record = {name: (each.pid, each.create_time()) for name, each in {**running, **started}.items()}
        _process_file(env).write_text(json.dumps(record))
    deadline = time.monotonic() + timeout_seconds
    while not _is_healthy(url):
        missing = [name for name in PARTS if name not in airflow_processes(env)]
        if missing or time.monotonic() > deadline:
            stop_airflow(env)
            sys.exit(
                f"Airflow did not start ({', '.join(missing) or 'too slow'}); the ends of the files in {logs} say why."
            )
        time.sleep(1)
    password = json.loads(Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).read_text())["admin"]
    print(f"Airflow is running: {url}   user: admin   password: {password}\nStop it with: make stop")


def _start(name: str, env: Mapping[str, str], logs: Path) -> Any:
    import psutil

    with (logs / f"{name}.log").open("ab") as stream:
        # A session of its own: it goes on when the terminal is closed.
        child = subprocess.Popen(
            [AIRFLOW, *PARTS[name]],
            env={**os.environ, **env},
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return psutil.Process(child.pid)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310
            health = json.load(answer)
    except (OSError, ValueError):
        return False
    return all(
        health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
    )


def stop_airflow(env: Mapping[str, str]) -> bool:
    """End every process of Airflow and return whether any was running. Nobody else starts or stops it meanwhile."""
    import psutil

    running = airflow_processes(env).values()
    # Workers lead sessions of their own, so the trees are taken before their roots are gone.
    family = [member for process in running for member in [*process.children(recursive=True), process]]
    for member in family:
        _signal(member, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=15)
    for member in alive:
        _signal(member, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    _process_file(env).unlink(missing_ok=True)
    return bool(family)


def _signal(process: Any, number: int) -> None:
    import psutil

    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
