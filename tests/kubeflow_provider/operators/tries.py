"""A task as the run operator sees it, try by try, without an Airflow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any


class Store(dict[str, Any]):
    """Task state store that outlives a try."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Tries:
    """A task instance over its tries: each call to :meth:`context` is the next try."""

    def __init__(self) -> None:
        self.store = Store()
        self.xcom: dict[str, Any] = {}
        self.max_tries = 0
        self.born = datetime(2026, 11, 29, tzinfo=UTC)

    def context(self) -> Any:
        ti = SimpleNamespace(
            dag_id="releases",
            run_id="manual_1",
            task_id="train",
            map_index=-1,
            max_tries=self.max_tries,
            xcom_push=self.xcom.__setitem__,
            xcom_pull=lambda task_ids, key, map_indexes: self.xcom.get(key),
        )
        return {"ti": ti, "task_state_store": self.store, "dag_run": SimpleNamespace(start_date=self.born)}
