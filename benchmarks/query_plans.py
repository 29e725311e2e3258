"""Which queries are sent to a database, and how it finds their rows: PostgreSQL with its figures, SQLite in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

#: Tables that grow with every run or release: Airflow's, and MLflow's registry.
HISTORY = frozenset(
    {
        "asset_event",
        "callback",
        "dag_run",
        "dagrun_asset_event",
        "deadline",
        "hitl_detail",
        "log",
        "model_version_tags",
        "model_versions",
        "rendered_task_instance_fields",
        "task_instance",
        "task_instance_history",
        "task_reschedule",
        "task_state_store",
        "trigger",
        "xcom",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query that was sent.

    :param engine: to whose database.
    :param statement: with the driver's own marks for parameters.
    """

    engine: Engine
    statement: str
    parameters: Any

    def __str__(self) -> str:
        return " ".join(self.statement.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a database finds the rows of a query.

    :param whole: tables of the history that it reads from end to end, as there is no index for what is wanted.
    :param visited: rows of the history that it looks at, also those that it then leaves out; PostgreSQL only.
    :param lines: what it reads and by which index.
    """

    whole: tuple[str, ...]
    visited: int
    lines: tuple[str, ...]


@contextmanager
def recorded() -> Iterator[list[Query]]:
    """Yield a list that has every query of this process, whichever database it goes to, for the length of a block."""
    found: list[Query] = []

    def note(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            found.append(Query(engine=connection.engine, statement=statement, parameters=parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan_of(query: Query) -> Plan:
    """Ask the database how it answers a query. PostgreSQL answers it once more, to count."""
    with query.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.statement}", query.parameters)
            return read_sqlite([row[-1] for row in rows])
        # Where the rows are few it would rather read them all; what counts is whether it could do otherwise.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        statement = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query.statement}"
        ((answer,),) = connection.exec_driver_sql(statement, query.parameters).all()
        return read_postgresql(answer[0]["Plan"])


def read_postgresql(plan: dict[str, Any]) -> Plan:
    """Read PostgreSQL's plan, as JSON with figures."""
    whole: list[str] = []
    lines: list[str] = []
    visited = 0
    for node, table in _nodes(plan, ""):
        if table not in HISTORY:
            continue
        kind = node["Node Type"]
        condition = node.get("Index Cond", "")
        lines.append(f"{kind} {table} {node.get('Index Name', '')} {condition}".strip())
        if kind != "Bitmap Index Scan":
            visited += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        if kind != "Bitmap Heap Scan" and not node.get("Index Cond"):
            whole.append(table)
    return Plan(whole=tuple(whole), visited=round(visited), lines=tuple(lines))


def _nodes(node: dict[str, Any], table: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the nodes that read a table, with its name: an index that is read for a bitmap does not say whose it is."""
    own = node.get("Relation Name", "")
    if own or node["Node Type"] == "Bitmap Index Scan":
        yield node, own or table
    for part in node.get("Plans", []):
        yield from _nodes(part, own or table)


def read_sqlite(details: list[str]) -> Plan:
    """Read the lines of SQLite's ``EXPLAIN QUERY PLAN``."""
    whole = []
    for line in details:
        found = re.match(r"SCAN (\w+?)(?:_\d+)?(?: USING .*)?$", line)
        if found and found[1] in HISTORY:
            whole.append(found[1])
    return Plan(whole=tuple(whole), visited=0, lines=tuple(details))
