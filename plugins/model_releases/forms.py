"""The form of a DAG with many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG, ParamsDict  # type: ignore[attr-defined]  # it is there, and not in the stub


def set_form(dag: DAG, fields: Mapping[str, Any]) -> None:
    """Give a DAG the fields of its form, once it has its tasks.

    Each task would copy the whole form, several times: most of reading the file for a large one, and for one that
    offers every model to a task of every model a time that grows with their square.
    """
    dag.params = ParamsDict(dict(fields))
