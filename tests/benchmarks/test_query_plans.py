"""A query that reads a table of the history from end to end is seen, in the words of both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine

from benchmarks.query_plans import plan_of, read_postgresql, read_sqlite, recorded


def node(
    kind: str, table: str = "", *parts: dict[str, Any], rows: int = 1, loops: int = 1, **more: Any
) -> dict[str, Any]:
    relation = {"Relation Name": table} if table else {}
    return {"Node Type": kind, **relation, "Actual Rows": rows, "Actual Loops": loops, "Plans": list(parts), **more}


def test_rows_that_are_left_out_are_looked_at_as_well() -> None:
    found = {"Index Cond": "(dag_id = 'a')", "Index Name": "idx", "Rows Removed by Filter": 40}
    plan = read_postgresql(node("Limit", "", node("Index Scan", "dag_run", rows=2, loops=3, **found)))
    assert (plan.whole, plan.visited) == ((), 126)
    assert plan.lines == ("Index Scan dag_run idx (dag_id = 'a')",)


@pytest.mark.parametrize("kind", ["Seq Scan", "Index Scan", "Index Only Scan"])
def test_what_has_no_condition_for_an_index_reads_all(kind: str) -> None:
    assert read_postgresql(node("Sort", "", node(kind, "xcom"))).whole == ("xcom",)


def test_a_bitmap_is_judged_by_the_index_that_it_was_made_from() -> None:
    with_condition = node("Bitmap Index Scan", **{"Index Cond": "(dag_id = 'a')"})
    good = node("Bitmap Heap Scan", "task_instance", node("BitmapAnd", "", with_condition), rows=5)
    assert (read_postgresql(good).whole, read_postgresql(good).visited) == ((), 5)
    bad = node("Bitmap Heap Scan", "task_instance", node("Bitmap Index Scan"))
    assert read_postgresql(bad).whole == ("task_instance",)


def test_tables_that_do_not_grow_may_be_read_whole() -> None:
    assert read_postgresql(node("Seq Scan", "slot_pool", rows=100)).visited == 0
    assert read_sqlite(["SCAN slot_pool", "SEARCH dag_run USING INDEX idx (dag_id=?)"]).whole == ()
    assert read_sqlite(["SCAN dag_run_1 USING INDEX idx", "SCAN xcom"]).whole == ("dag_run", "xcom")


def test_queries_are_recorded_and_asked_about() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE xcom (id INTEGER PRIMARY KEY, name TEXT)")
        with recorded() as queries:
            connection.exec_driver_sql("INSERT INTO xcom VALUES (1, 'a')")
            connection.exec_driver_sql("SELECT * FROM xcom WHERE name = ?", ("a",))
            connection.exec_driver_sql("SELECT * FROM xcom WHERE id = ?", (1,))
        connection.exec_driver_sql("SELECT 1")
    assert [plan_of(query).whole for query in queries] == [("xcom",), ()]
