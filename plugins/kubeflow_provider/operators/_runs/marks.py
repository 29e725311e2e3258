"""The mark in a run's description, by which it is found again when nobody remembers its id."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

log = logging.getLogger(__name__)

#: Kubeflow's database keeps descriptions of at most 255 characters, and fails to store a run with a longer one.
LONGEST_DESCRIPTION = 255

#: What a person has written stands before the mark, and must not be taken for it.
_LIKE_A_MARK = re.compile(r"\[(?=airflow |task |life |alone\])|(?<=^Airflow: )\[", re.MULTILINE)
_LEAST_WORTH_READING = 10

_NAMES = re.compile(r"^Airflow: (?P<names>\[.*\])$", re.MULTILINE)
_MARK = re.compile(
    r"^\[airflow (?P<airflow>\w+)\]\[task \w+ -?\d+\]\[life (?P<life>\w+) (?P<run>\w+)\](?P<alone>\[alone\])?$",
    re.MULTILINE,
)


def airflow_text(airflow: str) -> str:
    """Return what the descriptions of all runs of an Airflow hold.

    :param airflow: see :func:`kubeflow_provider.airflow_id.airflow_id`.
    """
    return f"[airflow {UUID(airflow).hex[:12]}]"


def task_text(airflow: str, dag_id: str, dag_run_id: str, task_id: str) -> str:
    """Return what the descriptions of a task's runs hold, whatever their map index is.

    Not the names themselves: a server's filter takes ``_`` and ``%`` for any characters.
    """
    return f"[task {uuid5(UUID(airflow), json.dumps([dag_id, dag_run_id, task_id])).hex[:16]} "


def life_of(context: Mapping[str, Any]) -> str:
    """Return the life that a task is in: another one after a "clear", or when its DAG run is made again."""
    return uuid5(UUID(int=0), f"{context['ti'].max_tries} {context['dag_run'].start_date}").hex[:8]


def derived_run_id(airflow: str, context: Mapping[str, Any], number: int) -> str:
    """Return the id by which a task asks for a run of this life where nothing would remember one that is drawn.

    :param number: how many runs of this life there were before.
    """
    ti = context["ti"]
    task = [ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index]
    return str(uuid5(UUID(airflow), json.dumps([*task, life_of(context), number])))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMark:
    """Which task a run belongs to.

    :param dag_run_id: Airflow's run id. :param map_index: -1 for a task that is not mapped.
    :param life: see :func:`life_of`.
    :param asked_for: how the id begins by which the task has asked for the run.
    :param is_waited_for: whether the task waits until the run is over, and the run is to end with it.
    """

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    life: str
    asked_for: str
    is_waited_for: bool = True

    @classmethod
    def of(cls, context: Mapping[str, Any], *, asked_for: str, is_waited_for: bool = True) -> RunMark:
        """Return the mark of a task's run."""
        ti = context["ti"]
        return cls(
            dag_id=ti.dag_id,
            dag_run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            life=life_of(context),
            asked_for=asked_for[:8],
            is_waited_for=is_waited_for,
        )

    @classmethod
    def read(cls, description: str) -> RunMark | None:
        """Return the mark that a run's description holds; ``None`` also where the names were too long for one."""
        mark, names = _MARK.search(description), _NAMES.search(description)
        try:
            dag_id, dag_run_id, task_id, map_index = json.loads(names["names"] if names else "[]")
        except ValueError:
            return None
        if mark is None:
            return None
        return cls(
            dag_id=dag_id,
            dag_run_id=dag_run_id,
            task_id=task_id,
            map_index=map_index,
            life=mark["life"],
            asked_for=mark["run"],
            is_waited_for=mark["alone"] is None,
        )

    def text(self, airflow: str) -> str:
        """Return what the descriptions of all runs of this task hold, and no others."""
        return f"{task_text(airflow, self.dag_id, self.dag_run_id, self.task_id)}{self.map_index}]"

    def description(self, airflow: str, text: str = "") -> str:
        """Return what stands in the run's description: to find it by, and for people where there is room.

        :param text: what the task's author wants to be read there; comes first, and is shortened to the room that the
            mark leaves: 255 characters, less about 75 for the mark and those of the task's names.
        """
        names = f"Airflow: {json.dumps([self.dag_id, self.dag_run_id, self.task_id, self.map_index])}\n"
        alone = "" if self.is_waited_for else "[alone]"
        mark = f"{airflow_text(airflow)}{self.text(airflow)}[life {self.life} {self.asked_for}]{alone}"
        ours = names + mark if len(names + mark) <= LONGEST_DESCRIPTION else mark
        said = shortened(_LIKE_A_MARK.sub("(", text), LONGEST_DESCRIPTION - len(ours) - 1)
        return f"{said}\n{ours}" if said else ours


def shortened(text: str, room: int = LONGEST_DESCRIPTION) -> str:
    """Return what has room of a text, empty where that would be next to nothing.

    :param room: in characters.
    """
    lines = (" ".join("".join(filter(str.isprintable, line.expandtabs(1))).split()) for line in text.splitlines())
    text = "\n".join(lines).strip()
    if len(text) <= room:
        return text
    kept = f"{text[: max(0, room - 1)].rstrip()}…" if room >= _LEAST_WORTH_READING else ""
    log.warning(
        "The description of the run is shortened to %s of its %s characters: Kubeflow keeps %s, those by which the run "
        "is found again among them.",
        len(kept),
        len(text),
        LONGEST_DESCRIPTION,
    )
    return kept


def is_of_life(description: str, life: str) -> bool:
    """Say whether a task's run belongs to this life of it."""
    mark = _MARK.search(description)
    return mark is not None and mark["life"] == life
