"""The mark in a run's description, by which it is found again when nobody remembers its id."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID, uuid4, uuid5

from airflow.sdk import Variable

log = logging.getLogger(__name__)

#: Airflow Variable that tells this Airflow from others which use the same Kubeflow: DAGs and their runs may have the
#: same names there. An Airflow that was made from a copy of this one's database needs another value.
AIRFLOW_ID = "kubeflow_provider_airflow_id"


def airflow_id() -> str | None:
    """Return what tells this Airflow from others; made when it is first asked for, ``None`` when it cannot be had."""
    try:
        known = Variable.get(AIRFLOW_ID, default=None)
        if known is None:
            Variable.set(AIRFLOW_ID, str(uuid4()), description="Marks the Kubeflow runs of this Airflow as its own.")
            known = Variable.get(AIRFLOW_ID)  # somebody else may have set it at the same moment
        return str(UUID(known))
    except Exception as error:  # whatever keeps Variables: a run without a mark is better than none
        log.warning("Runs get no mark, because the Variable %s cannot be used: %s", AIRFLOW_ID, error)
        return None


def airflow_text(airflow: str) -> str:
    """Return what the descriptions of all runs of an Airflow hold."""
    return f"[airflow {airflow}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMark:
    """Which task a run belongs to.

    :param airflow: see :func:`airflow_id`.
    :param dag_run_id: Airflow's run id. :param map_index: -1 for a task that is not mapped.
    :param life: changes with a "clear", and when a DAG run is deleted and made again; not with a retry.
    :param asked_for: the Kubeflow run's id, as its task asked for it.
    :param is_waited_for: whether the task waits until the run is over.
    """

    airflow: str
    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    life: str
    asked_for: str
    is_waited_for: bool = True

    @classmethod
    def of(cls, context: Mapping[str, Any], *, asked_for: str, is_waited_for: bool = True) -> RunMark | None:
        """Return the mark of a task's run, ``None`` when this Airflow cannot be told from others."""
        airflow = airflow_id()
        if airflow is None:
            return None
        ti = context["ti"]
        return cls(
            airflow=airflow,
            dag_id=ti.dag_id,
            dag_run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            life=cls.life_in(context),
            asked_for=asked_for,
            is_waited_for=is_waited_for,
        )

    @staticmethod
    def life_in(context: Mapping[str, Any]) -> str:
        """Return the life that a task is in."""
        return f"{context['ti'].max_tries} {context['dag_run'].start_date}"

    @classmethod
    def read(cls, description: str) -> RunMark | None:
        """Return the mark that a run's description holds."""
        names = {field.name for field in fields(cls)}
        for line in description.splitlines():
            try:
                mark = json.loads(line)
            except ValueError:
                continue
            if isinstance(mark, dict) and names == mark.keys():
                return cls(**mark)
        return None

    @property
    def task_text(self) -> str:
        """What the descriptions of all runs of this task hold, and no others."""
        return task_text(self.airflow, self.dag_id, self.dag_run_id, self.task_id) + f"{self.map_index}]"

    @property
    def description(self) -> str:
        """What stands in the run's description: for people, to find it by, and to read."""
        index = f" [{self.map_index}]" if self.map_index >= 0 else ""
        where = f"Started by Airflow: task {self.task_id}{index} of DAG {self.dag_id}, run {self.dag_run_id}."
        return "\n".join((where, f"{airflow_text(self.airflow)} {self.task_text}", json.dumps(asdict(self))))


def task_text(airflow: str, dag_id: str, dag_run_id: str, task_id: str) -> str:
    """Return what the descriptions of a task's runs hold, whatever their map index is.

    Not the ids themselves: a server's filter takes ``_`` and ``%`` for any characters.
    """
    return f"[task {uuid5(UUID(airflow), json.dumps([dag_id, dag_run_id, task_id]))} "
