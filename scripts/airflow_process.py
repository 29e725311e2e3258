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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environment import AIRFLOW, migrate


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
    return all(
        health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor")
    )


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
