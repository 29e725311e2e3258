"""A query's rows come into the version's folder; what leads to the database stays with the task."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import Connection

from include.contracts.queries import QueryConfig
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.operators import query as module
from model_releases.operators.query import QueryOperator

PASSWORD, TEXT = "open sesame", "said by a guest"
COLUMNS = ["subject", "body", "team"]


class SqliteHook(DbApiHook):
    """What Airflow's provider for SQLite has: the connection's host is the file."""

    conn_name_attr = "sqlite_conn_id"

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(str(self.get_connection(self.get_conn_id()).host))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Return ``run(sql, ...)``, which returns the rows that were written."""
    database = tmp_path / "tickets.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TABLE tickets (Subject TEXT, body TEXT, team INTEGER, opened TIMESTAMP, secret TEXT)"
        )
        rows = [(TEXT, f"body {number}", number % 2, f"2026-11-{number + 1:02}", PASSWORD) for number in range(25)]
        connection.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?, ?)", rows)
    known = {"conn_type": "sqlite", "host": str(database), "login": "ali", "password": PASSWORD}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(known))
    monkeypatch.setenv("AIRFLOW_CONN_SHELL", json.dumps({"conn_type": "ssh", "host": "x"}))
    hooks = {"sqlite": lambda: SqliteHook(sqlite_conn_id="warehouse"), "ssh": SimpleNamespace}
    monkeypatch.setattr(Connection, "get_hook", lambda connection: hooks[connection.conn_type]())
    monkeypatch.setattr(module, "_BATCH_ROWS", 10)

    def run(sql: str, *, names: str = "tickets", connection: str = "warehouse", max_rows: int = 25) -> Any:
        query = QueryConfig(connection=connection, query=sql, max_rows=max_rows)
        operator = QueryOperator(
            task_id="query",
            model="tickets",
            version="20261121030000",
            queries={"tickets": query},
            columns=COLUMNS,
            date_column="opened",
            names=names,
            folder_uri=(tmp_path / "queries").as_uri(),
        )
        assert operator.execute({}) is None  # type: ignore[func-returns-value, typeddict-item]
        facts = json.loads((tmp_path / "queries" / "tickets.json").read_text())
        rows = [json.loads(line) for line in (tmp_path / "queries" / "tickets.jsonl").read_text().splitlines()]
        assert facts == {"query_sha256": hashlib.sha256(sql.encode()).hexdigest(), "rows": len(rows)}
        return rows

    return run


def test_the_columns_that_are_read_are_written_row_by_row_and_no_others(run: Any, caplog: Any) -> None:
    rows = run("SELECT * FROM tickets ORDER BY opened")
    assert len(rows) == 25
    assert rows[3] == {"subject": TEXT, "body": "body 3", "team": 1, "opened": "2026-11-04"}
    assert run("SELECT subject, body, team FROM tickets WHERE team = 0")[0].keys() == set(COLUMNS)
    assert PASSWORD not in caplog.text
    assert TEXT not in caplog.text


@pytest.mark.parametrize(
    ("sql", "options", "kind", "says"),
    [
        ("SELECT Subject, team FROM tickets", {}, InvalidRequestError, "no column 'body'; there are: 'Subject', "),
        ("SELECT *, 1 AS TEAM, 2 AS Team FROM tickets", {}, None, ""),
        ("SELECT subject, body, 1 AS TEAM, 2 AS Team FROM tickets", {}, InvalidRequestError, "gives no column 'team'"),
        ("SELECT * FROM tickets WHERE team = 7", {}, InvalidRequestError, "gives no rows"),
        ("SELECT * FROM tickets", {"max_rows": 24}, InvalidRequestError, "more than 24 rows.*max_rows"),
        (f"SELECT '{TEXT}' FROM nowhere", {}, ServiceUnavailableError, "'warehouse' failed with OperationalError"),
        (f"SELECT '{TEXT}'; SELECT 2", {}, InvalidRequestError, "failed with ProgrammingError"),
        ("CREATE TABLE other (x)", {}, InvalidRequestError, "there are: none"),
        ("SELECT 1", {"connection": "shell"}, InvalidRequestError, "is of type 'ssh', which runs no SQL"),
        ("SELECT 1", {"connection": "nowhere"}, InvalidRequestError, "'nowhere' leads to no database"),
        ("SELECT 1", {"names": "tickets; DROP"}, InvalidRequestError, "data.queries has no 'tickets; DROP'"),
    ],
)  # fmt: skip
def test_what_fails_says_why_without_a_text_and_leaves_nothing_that_vouches_for_rows(
    run: Any, tmp_path: Path, sql: str, options: dict[str, Any], kind: Any, says: str
) -> None:
    run("SELECT * FROM tickets")
    if kind is None:
        run(sql, **options)
        return
    with pytest.raises(kind, match=says) as failure:
        run(sql, **options)
    text = "".join(map(str, (failure.value, failure.value.__cause__)))
    assert PASSWORD not in text
    assert TEXT not in text
    assert failure.value.__suppress_context__ or failure.value.__context__ is None
    assert (tmp_path / "queries" / "tickets.json").exists() is ("names" in options)


def test_where_no_source_names_a_query_none_is_run(tmp_path: Path) -> None:
    operator = QueryOperator(
        task_id="query", model="x", version="y", queries={}, columns=[], names="", folder_uri=(tmp_path / "q").as_uri()
    )
    operator.execute({})  # type: ignore[typeddict-item]
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ("é", "é"),
        (True, True),
        (7, 7),
        (Decimal("1E+2"), "100"),
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, 4, 5), "2026-03-01T04:05:00"),
        (memoryview(b"\xc3\xa9"), "é"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values_are_written_as_json_has_them(value: Any, plain: Any) -> None:
    assert json.loads(json.dumps(module._plain(value))) == plain
