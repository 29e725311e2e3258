"""Runs DAGs in this terminal, without a scheduler: one of a kind at a time, and none that outlives its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from environment import migrate, state_dir
from only_one import one_starter, only_one
from release_log import readable

from include.contracts.rules.addresses import without_secrets

#: Environment variables of what runs in a terminal: its state folder, and what it is in words.
_MARK, _WHAT = "TERMINAL_DAG_OF", "TERMINAL_DAG"

_GRACE_SECONDS = 5.0

#: `airflow dags test` of a DAG, with its configuration from the standard input: every account of a machine sees the
#: arguments of its processes, and a source's address may have a signature. It goes with whoever started it
#: (``PR_SET_PDEATHSIG``, ``SIGKILL``): Airflow takes its time over ``SIGTERM``.
_TEST_DAG = (
    "import ctypes, runpy, sys; sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9); "
    "sys.argv = ['airflow', 'dags', 'test', sys.argv[1], '-c', sys.stdin.read()]; "
    "runpy.run_module('airflow', run_name='__main__')"
)


def run_dag(env: Mapping[str, str], dag_id: str, conf: Mapping[str, Any], what: str) -> None:
    """Run a DAG to its end, show what a person wants to see of it, and leave its whole log in a file.

    :param what: says it in words; of two with the same words, the second is refused.
    :raises SystemExit: when it does not succeed, or is refused.
    """
    name = what.replace(" of ", "-").replace(" ", "-")
    refusal = f"Another {what} is under way in another terminal, so none was started: wait for it, or end it there."
    with only_one(state_dir() / "commands" / f"{name}.lock", refusal=refusal):
        for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends it as Ctrl-C does, but for `nohup`
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        _run(env, dag_id, conf, what, state_dir() / "logs" / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl")


def end_terminal_dags() -> list[str]:
    """End what runs in other terminals and return what it was, in words. Nobody else starts anything meanwhile."""
    import psutil

    from include.marked_processes import end, find

    mark, names = str(state_dir()), set()
    for process in find(_MARK, mark):
        with suppress(psutil.Error):
            names.add(process.environ()[_WHAT])
    if end(_MARK, mark, psutil.Process.terminate, _GRACE_SECONDS):
        end(_MARK, mark, psutil.Process.kill, _GRACE_SECONDS)
    return sorted(names)


def _run(env: Mapping[str, str], dag_id: str, conf: Mapping[str, Any], what: str, log: Path) -> None:
    with one_starter(state_dir()):
        migrate(env)
        log.parent.mkdir(parents=True, exist_ok=True)
        given = f" with {json.dumps(_shown(conf))}" if conf else ""
        print(f"Starting the {what}{given} (whole log: {log})", flush=True)
        started, since = time.monotonic(), datetime.now(UTC)
        process = _start(env, dag_id, conf, what)
    assert process.stdout is not None
    try:
        with log.open("w", encoding="utf-8") as file:
            for text in readable(_copied(process.stdout, file)):
                print(text, flush=True)
        code = process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        sys.exit(f"\nInterrupted; {_cancel_runs(dag_id, since)} pipeline run(s) cancelled.")
    seconds = time.monotonic() - started
    if code < 0:
        sys.exit(f"The {what} was ended after {seconds:.0f} s by signal {-code}, as `make stop` does. Its log: {log}")
    if code:
        sys.exit(f"The {what} failed after {seconds:.0f} s. The whole log: {log}")
    print(f"Done in {seconds:.0f} s.")


def _start(env: Mapping[str, str], dag_id: str, conf: Mapping[str, Any], what: str) -> subprocess.Popen[str]:
    marks = {_MARK: str(state_dir()), _WHAT: what}
    output = {"AIRFLOW__LOGGING__JSON_LOGS": "True", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", _TEST_DAG, dag_id],
        env={**os.environ, **env, **output, **marks},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin:  # its end says why it died before
        process.stdin.write(json.dumps(conf))
    return process


def _cancel_runs(dag_id: str, since: datetime) -> int:
    """Cancel the pipeline runs that this command has started, and not those of other terminals."""
    from kubeflow_provider.hooks import get_pipeline_service

    pipelines = get_pipeline_service("pipelines_default")
    runs = pipelines.find_runs(json.dumps(dag_id))
    own = [run.run_id for run in runs if run.created_at is None or run.created_at >= since]
    for run_id in own:
        pipelines.terminate_run(run_id)
    return len(own)


def _shown(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a form without what the addresses of sources may hide."""
    return {
        name: [without_secrets(source) for source in value] if isinstance(value, list) else value
        for name, value in conf.items()
    }


def _copied(lines: TextIO, file: TextIO) -> Iterator[str]:
    for line in lines:
        file.write(line)
        yield line
