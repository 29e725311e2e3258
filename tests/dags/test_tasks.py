"""Every attribute of every task, compared with ``tasks.yaml``: a shared default must reach just whom it is meant for.

``RECORD_TASKS=1`` writes the file anew; its difference is then part of the change that a reviewer reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset, BaseOperator

PROJECT = Path(__file__).parents[2]
TASKS = Path(__file__).with_name("tasks.yaml")

#: Where a task stands in Airflow's own structure, not what it does.
_STRUCTURE = ("_dag", "_logger_name", "task_group", "task_id")


def described(value: Any) -> Any:
    """Return a value in YAML's words: the same for the same, wherever checkout and module lie."""
    for kind, words in _WORDS:
        if isinstance(value, kind):
            return words(value)
    if hasattr(value, "__qualname__"):
        return value.__qualname__
    if is_dataclass(value):
        return described({field.name: getattr(value, field.name) for field in fields(value) if field.init})
    return {type(value).__qualname__: described(getattr(value, "__dict__", {}))}


_WORDS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (str, lambda value: value.replace(str(PROJECT), "PROJECT")),
    (bool | int | float | None, lambda value: value),
    (timedelta, lambda value: f"{value.total_seconds():g} s"),
    (Asset, lambda value: value.uri),
    (Mapping, lambda value: {str(key): described(entry) for key, entry in sorted(value.items())}),
    (set | frozenset, lambda value: sorted(map(described, value))),
    (Sequence, lambda value: list(map(described, value))),
)


def attributes(task: Any) -> dict[str, Any]:
    """Return what a task is and does, as far as it differs from an operator of which nothing was asked."""
    plain = vars(BaseOperator(task_id="plain"))
    found = {
        name: described(value)
        for name, value in sorted(vars(task).items())
        if name not in _STRUCTURE
        and not name.startswith("_BaseOperator__")
        and not (name in plain and described(value) == described(plain[name]))
    }
    # The form is the DAG's.
    found.pop("params", None)
    return {"operator": type(task).__qualname__, **found}


def dags() -> dict[str, dict[str, Any]]:
    """Return DAG id -> task id -> attributes; what all tasks of a DAG share stands in ``every task``."""
    bag = DagBag(str(PROJECT / "dags"), safe_mode=False)
    assert bag.import_errors == {}
    found: dict[str, dict[str, Any]] = {}
    for dag_id, dag in sorted(bag.dags.items()):
        tasks = {task.task_id: attributes(task) for task in dag.tasks}
        first, *others = tasks.values()
        shared = {
            name: value
            for name, value in first.items()
            if others and all(name in other and other[name] == value for other in others)
        }
        found[dag_id] = {"every task": shared} | {
            task_id: {name: value for name, value in task.items() if name not in shared}
            for task_id, task in tasks.items()
        }
    return found


def test_every_task_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL_STORE", "MODELS_DIR"):
        monkeypatch.delenv(name, raising=False)
    found = dags()
    if os.environ.get("RECORD_TASKS"):
        TASKS.write_text(yaml.safe_dump(found, sort_keys=False, width=120), encoding="utf-8")

    assert found == yaml.safe_load(TASKS.read_text(encoding="utf-8")), "RECORD_TASKS=1 records what was meant to change"
