"""What a task remembers of its run from one try to the next, and how it finds the run without."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from kubeflow_provider.access import recall
from kubeflow_provider.airflow_id import airflow_id
from kubeflow_provider.compat import memory_of, outlives_tries
from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError
from kubeflow_provider.links import XCOM_RUN_ID
from kubeflow_provider.operators._runs.marks import RunMark, derived_run_id, is_of_life
from kubeflow_provider.services import PipelineService, Run
from kubeflow_provider.states import RunState

log = logging.getLogger(__name__)

#: Key in the task state store under which a task keeps its run: ``run_id``, ``max_tries``, ``deadline`` and
#: ``started_at``. Renaming it, or a field, makes every task that is under way at that moment start its run a
#: second time.
PIPELINE_RUN_KEY = "kubeflow_pipeline_run"

#: Key in the task state store for the id of the run that this task has stopped itself. Kubeflow reports such a run
#: as FAILED, and a try after a worker's shutdown must not take it for a failure. A key of its own, because it is
#: written from a process that is ending, perhaps after the next try has stored a run.
PIPELINE_CANCELLED_KEY = "kubeflow_pipeline_run_cancelled"


class RunRecord:
    """The run of one task.

    Where Airflow keeps nothing of a task from one try to the next (before 3.3), the record is of one try alone; the
    next try finds the run by its id, which follows from the task there, and by its mark.

    :param context: of the task.
    :param retries: of the task as its DAG file has them now.
    """

    def __init__(self, context: Mapping[str, Any], *, retries: int) -> None:
        self._context = context
        self._store = memory_of(context)
        self._retries = retries

    def read(self) -> dict[str, Any] | None:
        """Return what is stored."""
        record: Any = self._store.get(PIPELINE_RUN_KEY)
        return dict(record) if record else None

    def write(self, record: Mapping[str, Any]) -> None:
        """Store it, before anybody may ask for the run: so the next try finds it whenever this one dies."""
        self._store.set(PIPELINE_RUN_KEY, dict(record))

    def settle(self) -> None:
        """Forget the run: if the task has a retry left and its policy allows one, that is to be a new run."""
        self._store.delete(PIPELINE_RUN_KEY)

    def note_cancelled(self, run_id: str) -> None:
        """Remember that this task has stopped its run itself."""
        self._store.set(PIPELINE_CANCELLED_KEY, run_id)

    def was_cancelled(self, run_id: str) -> bool:
        """Say whether this task has stopped its run itself."""
        return bool(self._store.get(PIPELINE_CANCELLED_KEY) == run_id)

    def run_id(self) -> str | None:
        """Return the run that this try waits for; Airflow may have emptied the store, but not this try's XCom."""
        if record := self.read():
            return str(record["run_id"])
        ti = self._context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=XCOM_RUN_ID, map_indexes=ti.map_index)

    def pick_up(
        self, service: PipelineService, *, limit: timedelta, keeps: bool = False
    ) -> tuple[dict[str, Any], Run | None, bool]:
        """Return this task's run, or the record of a new one, and stop what an earlier life of the task has left.

        :param limit: how long a run may take.
        :param keeps: let what an earlier life has left go on.
        :return: the record, to be written before the run is asked for; the run, where the service knows it; and whether
            somebody may have asked for it before.
        """
        record = self.read()
        if record and self._is_of_this_life(record):
            recall(service)  # it has let an earlier try in
            run = service.get_run(record["run_id"])
            if not self.was_cancelled(record["run_id"]) and not (run and _is_cancelled(run)):
                log.info("An earlier try has left pipeline run %s; picking it up.", record["run_id"])
                return record, run, True
            log.info("An earlier try has left pipeline run %s, which was cancelled.", record["run_id"])
        airflow, mark = airflow_id(), RunMark.of(self._context, asked_for="")
        left = _find(service, mark.text(airflow)) if airflow else []
        # The store was emptied, or there is none, or this is a server that outlived Airflow's database.
        own = [] if record else [run for run in left if is_of_life(run.description, mark.life)]
        if airflow and not outlives_tries(self._context):
            run_id, run = self._follow(service, airflow)
            is_repeat = self._is_retry
            own += [run] if run else []
        else:
            # Drawn, not derived from the DAG run: one that was deleted and made again must not find its old result.
            run_id, is_repeat = str(uuid4()), False
        if own:
            log.info("An earlier try has left pipeline run %s; picking it up.", own[0].run_id)
            new = self._new(own[0].run_id, own[0].created_at or datetime.now(tz=UTC), limit)
            self.write(new)
            _stop(service, [run.run_id for run in left if run.run_id != own[0].run_id and not keeps])
            return new, own[0], True
        if not keeps:
            # After a "clear" the old trigger stops its run as well, but nobody promises when, or whether.
            _stop(service, dict.fromkeys(([record["run_id"]] if record else []) + [run.run_id for run in left]))
        return self._new(run_id, datetime.now(tz=UTC), limit), None, is_repeat

    def _follow(self, service: PipelineService, airflow: str) -> tuple[str, Run | None]:
        """Return the newest run of this life that was not cancelled; or the id of the next one, and no run."""
        for number in count():
            run_id = derived_run_id(airflow, self._context, number)
            run = service.get_run(run_id)
            if run is None or not _is_cancelled(run):
                return run_id, run
        raise AssertionError("some id is a new one")

    @property
    def _is_retry(self) -> bool:
        """Whether this life has had a try before this one, which may have asked for the run."""
        ti = self._context["ti"]
        return bool(ti.try_number > ti.max_tries - self._retries + 1)

    def _is_of_this_life(self, record: Mapping[str, Any]) -> bool:
        """Tell a retry from a user's "clear": only that changes ``max_tries``, whatever the DAG file says meanwhile."""
        max_tries: int = self._context["ti"].max_tries
        if "max_tries" not in record:  # written by version 0.1.0
            return bool(record["generation"] == max_tries - self._retries)
        return bool(record["max_tries"] == max_tries)

    def _new(self, run_id: str, started_at: datetime, limit: timedelta) -> dict[str, Any]:
        return {
            "run_id": run_id,
            "max_tries": self._context["ti"].max_tries,
            "started_at": started_at.isoformat(),
            "deadline": (started_at + limit).isoformat(),
        }


def _find(service: PipelineService, text: str) -> list[Run]:
    try:
        return list(service.find_runs(text))
    except (InvalidRequestError, PermissionDeniedError) as error:
        log.warning("Runs of earlier tries are not looked for, because the service lets nobody list them: %s", error)
        return []


def _is_cancelled(run: Run) -> bool:
    return run.state in (RunState.CANCELING, RunState.CANCELED)


def _stop(service: PipelineService, run_ids: Any) -> None:
    for run_id in run_ids:
        log.info("Pipeline run %s belongs to an earlier life of this task and is cancelled.", run_id)
        service.terminate_run(run_id)
