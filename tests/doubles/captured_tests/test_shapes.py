from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.captured import captured_run
from tests.capturing.shapes import differences, is_excused, shape

RUN = captured_run("2.17.0", "a run whose first step failed")


def rows(run: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run["run_details"]["task_details"]
    return found


def rename(run: dict[str, Any]) -> None:
    next(row for row in rows(run) if row["display_name"] == "record(0)")["display_name"] = "record"


def without_row(run: dict[str, Any]) -> None:
    run["run_details"]["task_details"] = [row for row in rows(run) if row["display_name"] != "finish-driver"]


def begun(run: dict[str, Any]) -> None:
    next(row for row in rows(run) if row["display_name"] == "finish")["state"] = "PENDING"


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda run: run.pop("service_account"), ["missing: .service_account: text"]),
        (lambda run: run.update(error={"code": 13}), ["new: .error.code = 13"]),
        (lambda run: run.update(state="CANCELED"), ["missing: .state = FAILED", "new: .state = CANCELED"]),
        (lambda run: run.update(created_at=1), ["missing: .created_at: time", "new: .created_at: number"]),
        (lambda run: run.update(runtime_config=None), [".runtime_config: null"]),
        (lambda run: run.update(runtime_config={}), [".runtime_config: empty object"]),
        (rename, ["missing: .run_details.task_details[record(0)].display_name: text"]),
        (without_row, ["missing: .run_details.task_details[finish-driver].display_name: text"]),
        (begun, ["new: .run_details.task_details[finish].state = PENDING"]),
        (lambda run: rows(run)[0].update(child_tasks=[]), [".child_tasks: empty list"]),
    ],
)
def test_a_change_of_a_document_is_a_difference(change: Callable[[Any], None], lines: list[str]) -> None:
    changed = copy.deepcopy(RUN)
    change(changed)

    found = differences(RUN, changed)

    assert all(any(line in seen for seen in found) for line in lines), found


def test_ids_times_and_the_names_of_workflows_are_no_part_of_the_shape() -> None:
    other = copy.deepcopy(RUN) | {"run_id": "another", "created_at": "2030-01-01T00:00:00Z"}
    for row in rows(other):
        row["display_name"] = row["display_name"].replace("sd6wv", "abcde")
    rows(other).reverse()

    assert differences(RUN, other) == []


def test_an_excuse_is_for_the_lines_that_it_names() -> None:
    (line,) = differences({"a": {"b": 1}}, {"a": {}}, "what")[:1]

    assert line == "missing: what.a.b: number"
    assert is_excused(line, ["*.b: number"])
    assert not is_excused(line, ["*.b: text", "a.b", ".a.b: number"])
    assert shape([]) == {": empty list"}
