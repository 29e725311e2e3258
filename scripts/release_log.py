"""Turns the log of ``airflow dags test`` into what a person wants to see of a release."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from include.contracts.printable import printable

_TASK = re.compile(r"\[DAG TEST\] starting task_id=(\S+)")
#: Packages of our operators, hooks and triggers, whatever base Airflow hangs their loggers on.
_OURS = ("kubeflow_provider", "local_services", "model_releases")


def readable(lines: Iterable[str]) -> Iterator[str]:
    """Yield a heading for each task, and below it what our own code logged, and why a task was skipped or failed.

    :param lines: output with ``[logging] json_logs`` on.
    """
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # a stray print of a library
        if isinstance(entry, dict):
            yield from map(printable, _entry(entry))


def _entry(entry: dict[str, Any]) -> Iterator[str]:
    event, logger = str(entry.get("event", "")), str(entry.get("logger", ""))
    if task := _TASK.match(event):
        yield f"== {task[1]}"
    elif any(package in logger for package in _OURS):
        mark = "" if entry.get("level") in ("info", "debug") else f"{entry['level'].upper()}: "
        yield from (f"   {mark}{text}" for text in event.splitlines())
        yield from _exceptions(entry)
    elif logger == "task" and entry.get("reason"):  # Airflow's own word for a task that is skipped
        yield f"   Skipped: {entry['reason']}"
    elif logger == "task" and entry.get("level") in ("error", "critical"):
        yield from _exceptions(entry)


def _exceptions(entry: dict[str, Any]) -> Iterator[str]:
    # The last of a chain is the one that ended the task.
    for error in (entry.get("exception") or [])[:1]:
        yield from (f"   {text}" for text in f"{error['exc_type']}: {error['exc_value']}".splitlines())
