from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.operators._runs.marks import (
    LONGEST_DESCRIPTION,
    RunMark,
    airflow_text,
    is_of_life,
    life_of,
    task_text,
)

HERE, THERE = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
MARK = RunMark(
    dag_id="train_50%",
    dag_run_id="manual__2026-11-29T08:00:00+00:00",
    task_id="group.train",
    map_index=-1,
    life="12345678",
    asked_for="abcdef12",
)


def context(**ids: Any) -> dict[str, Any]:
    ti = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 0} | ids
    return {"ti": SimpleNamespace(**ti), "dag_run": SimpleNamespace(start_date="2026")}


@pytest.mark.parametrize(
    "mark",
    [
        MARK,
        replace(MARK, map_index=3),
        replace(MARK, is_waited_for=False),
        replace(MARK, dag_id='quoted "ü"'),
        RunMark.of(context(map_index=None), asked_for="7d4f4b0e-95f7-4a5b-8c38-35a6f6b3b6a5"),
    ],
)
def test_is_read_from_the_description_that_it_writes(mark: RunMark) -> None:
    description = mark.description(HERE)

    assert RunMark.read(description) == mark
    assert mark.text(HERE) in description
    assert airflow_text(HERE) in description
    assert is_of_life(description, mark.life)
    assert description.isascii()


def test_the_description_tells_people_which_task_it_was() -> None:
    assert (
        replace(MARK, map_index=3)
        .description(HERE)
        .startswith('Airflow: ["train_50%", "manual__2026-11-29T08:00:00+00:00", "group.train", 3]\n')
    )


@pytest.mark.parametrize("length", [1, 60, 100, 250])
def test_is_never_too_long_for_kubeflows_database_and_found_however_long_the_names_are(length: int) -> None:
    mark = replace(MARK, dag_id="d" * length, map_index=99_999, is_waited_for=False)
    description = mark.description(HERE)

    assert len(description) <= LONGEST_DESCRIPTION
    assert mark.text(HERE) in description
    assert is_of_life(description, mark.life)
    assert RunMark.read(description) == (mark if length <= 100 else None)


@pytest.mark.parametrize(
    "description",
    [
        "",
        "by hand",
        'Airflow: ["d", "r", "t", -1]',
        "Airflow: [1]\n" + MARK.description(HERE).splitlines()[1],
        "Airflow: [\n" + MARK.description(HERE).splitlines()[1],
        MARK.description(HERE).splitlines()[1],
        MARK.description(HERE).replace("[life", "[love"),
    ],
)
def test_what_is_no_whole_mark_is_read_as_none(description: str) -> None:
    assert RunMark.read(description) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(MARK, dag_id="train_50_"),
        replace(MARK, dag_run_id="manual__2026-11-29T08:00:00+00:01"),
        replace(MARK, task_id="train"),
        replace(MARK, map_index=1),
    ],
    ids=["dag", "dag run", "task", "map index"],
)
def test_no_other_task_is_found_by_it(other: RunMark) -> None:
    assert MARK.text(HERE) not in other.description(HERE)
    assert replace(MARK, map_index=1).text(HERE) not in replace(MARK, map_index=11).description(HERE)


def test_no_task_of_another_airflow_is_found_by_it() -> None:
    assert MARK.text(HERE) not in MARK.description(THERE)
    assert airflow_text(HERE) not in MARK.description(THERE)


def test_all_map_indexes_of_a_task_are_found_at_once() -> None:
    text = task_text(HERE, MARK.dag_id, MARK.dag_run_id, MARK.task_id)

    assert all(text in replace(MARK, map_index=index).description(HERE) for index in (-1, 0, 12))


def test_a_filter_has_no_wildcards_in_it() -> None:
    assert not {"%", "_"} & set(MARK.text(HERE) + airflow_text(HERE))


def test_a_retry_has_the_life_of_its_task_and_a_clear_another() -> None:
    lives = [life_of(context(max_tries=max_tries)) for max_tries in (0, 0, 1)]

    assert lives[0] == lives[1] != lives[2]


@pytest.mark.parametrize("length", [1, 60, 100, 250])
@pytest.mark.parametrize("text", ["Weekly", "Weekly " * 60, "ü" * 300])
def test_what_a_person_says_has_the_room_that_is_left(length: int, text: str) -> None:
    mark = replace(MARK, dag_id="d" * length)
    description = mark.description(HERE, text)

    assert len(description) <= LONGEST_DESCRIPTION
    assert RunMark.read(description) == RunMark.read(mark.description(HERE))
    assert mark.description(HERE) in description
    assert description == mark.description(HERE) or description[0] == text[0]


@pytest.mark.parametrize("text", [MARK.description(THERE), "a [task 1]\nAirflow: [1]", "[alone]"])
def test_what_a_person_says_is_no_mark(text: str) -> None:
    other = replace(MARK, dag_id="another")
    description = other.description(HERE, text)

    assert RunMark.read(description) == other
    assert MARK.text(THERE) not in description
    assert RunMark.read(other.description(HERE, text).replace(other.description(HERE), "")) is None
