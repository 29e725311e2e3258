"""Starts a prepared run from a trigger: once, though another triggerer may take the trigger over at any moment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kubeflow_provider.compat import XCom
from kubeflow_provider.services import JsonValue, PipelineService, Run
from kubeflow_provider.triggers.blocking_work import BlockingWork, ask_airflow

#: XCom of the task in which its trigger notes which run it is about to start (``asked_for``), and when it has started
#: what the service calls it (``run_id``). Airflow empties it with every new try.
XCOM_START = "run_start"


class RunStart:
    """The start of one run.

    :param run_id: which run is asked for.
    :param document: of the :class:`~kubeflow_provider.services.PreparedRun`.
    :param is_repeat: whether an earlier try of the task may have asked for it.
    :param log: of the trigger.
    """

    def __init__(
        self, *, run_id: str, document: Mapping[str, JsonValue], is_repeat: bool, log: logging.Logger | Any
    ) -> None:
        self._asked_for = run_id
        self._document = document
        self._is_repeat = is_repeat
        self._log = log
        self._work = BlockingWork()
        #: What the service calls the run, as soon as it has started.
        self.run_id: str | None = None

    async def make(self, service: PipelineService, task: Any, *, is_late: bool = False) -> Run | None:
        """Start the run, unless a trigger before this one has.

        :param task: ids of the task; ``None`` where Airflow keeps nothing of it, as in ``airflow dags test``.
        :param is_late: whether the run's time is over already, because no triggerer had room for so long. What nobody
            has asked for before is not started then: it would be cancelled at once.
        :return: ``None`` when it had been started before, or is not.
        """
        note = await self._note(task)
        if note.get("run_id"):
            self.run_id = note["run_id"]
            return None
        is_repeat = self._is_repeat or bool(note)
        if is_late and not is_repeat:
            return None

        def start() -> Run:
            run = service.start_run(self._document, is_repeat=is_repeat)
            self.run_id = run.run_id  # here: whoever is cancelled meanwhile does not see the end of it
            return run

        run: Run = await self._work.do(start)
        await self._write_note(task, run.run_id)
        return run

    async def settle(self) -> None:
        """Return when the run is started or will never be."""
        if error := await self._work.settle():
            self._log.info("The run could not be started: %s", error)

    async def _note(self, task: Any) -> Mapping[str, Any]:
        """Return what is noted of this run, and note that it is asked for; empty when nobody has asked before."""
        if task is None:
            return {}
        try:
            note = await ask_airflow(XCom.get_one, key=XCOM_START, **xcom_ids(task))
            if note and note["asked_for"] == self._asked_for:
                return dict(note)
            await ask_airflow(XCom.set, XCOM_START, {"asked_for": self._asked_for}, **xcom_ids(task))
        except Exception as error:
            self._log.warning("Airflow does not say whether the run was asked for, so it is looked for: %s", error)
            return {"asked_for": self._asked_for}
        return {}

    async def _write_note(self, task: Any, run_id: str) -> None:
        if task is None:
            return
        try:
            note = {"asked_for": self._asked_for, "run_id": run_id}
            await ask_airflow(XCom.set, XCOM_START, note, **xcom_ids(task))
        except Exception as error:  # another triggerer would look for the run, and find it
            self._log.warning("It could not be noted that the run has started: %s", error)


def xcom_ids(task: Any) -> dict[str, Any]:
    """Return what names the XComs of a trigger's task."""
    return {
        "dag_id": task.dag_id,
        "task_id": task.task_id,
        "run_id": task.run_id,
        "map_index": -1 if task.map_index is None else task.map_index,
    }
