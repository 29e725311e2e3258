"""What Airflow itself knows of releases: the runs of their DAGs.

Only for Airflow's API server, which has its database.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select

from model_releases import ids
from model_releases.memory import xcoms
from model_releases.memory.failures import Failure
from model_releases.versions import asked_version, version_time

_BUSY = (
    TaskInstanceState.RUNNING,
    TaskInstanceState.DEFERRED,
    TaskInstanceState.UP_FOR_RETRY,
    TaskInstanceState.AWAITING_INPUT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowRun:
    """A run of a DAG.

    :param version: of the release, when it is a run of a release DAG.
    :param run_type: ``manual``, ``scheduled``, ``asset_triggered`` ...
    :param user: who started it, where somebody did.
    :param conf: the fields of its form that were filled in.
    :param tasks: what it is doing now.
    :param waiting_task: the task that waits for a person's answer.
    :param reason: why it failed; empty unless it did.
    """

    dag_id: str
    run_id: str
    version: str
    state: str
    run_after: datetime
    run_type: str = ""
    user: str = ""
    conf: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    waiting_task: str | None = None
    reason: str = ""


class AirflowRuns:
    """Reads and starts runs."""

    def active(self, dag_ids: Collection[str]) -> list[AirflowRun]:
        """Return the runs that are queued or running, oldest first."""
        with create_session() as session:
            runs = session.scalars(
                select(DagRun)
                .where(DagRun.dag_id.in_(dag_ids), DagRun.state.in_([DagRunState.QUEUED, DagRunState.RUNNING]))
                .order_by(DagRun.run_after)
            ).all()
            tasks = session.execute(
                select(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state).where(
                    TaskInstance.dag_id.in_(dag_ids),
                    TaskInstance.run_id.in_([run.run_id for run in runs]),
                    TaskInstance.state.in_(_BUSY),
                )
            ).all()
            versions = self._versions(session, runs)
            return [
                _made_from(
                    run,
                    [(row.task_id, row.state) for row in tasks if row[:2] == (run.dag_id, run.run_id)],
                    version=versions.get((run.dag_id, run.run_id)),
                )
                for run in runs
            ]

    def known(self, dag_id: str, run_ids: Collection[str]) -> dict[str, AirflowRun]:
        """Return those of the runs that Airflow still has, by their id."""
        with create_session() as session:
            runs = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id.in_(run_ids)))
            return {run.run_id: _made_from(run) for run in runs}

    def failed(self, dag_id: str, *, after: str | None, before: str | None, limit: int = 50) -> list[AirflowRun]:
        """Return the failed runs between two versions, newest first: some failed before anything was registered.

        :param after: leave out this version and those before it.
        :param before: leave out this version and those after it.
        """
        wanted = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.state == DagRunState.FAILED)
        if after and (time := version_time(after)):
            wanted = wanted.where(DagRun.run_after > time)
        if before and (time := version_time(before)):
            wanted = wanted.where(DagRun.run_after < time)
        with create_session() as session:
            runs = session.scalars(wanted.order_by(DagRun.run_after.desc()).limit(limit)).all()
            reasons = self._reasons(session, runs)
            versions = self._versions(session, runs)
            return [
                _made_from(run, reason=reasons.get(run.run_id, ""), version=versions.get((dag_id, run.run_id)))
                for run in runs
            ]

    def is_paused(self, dag_id: str) -> bool | None:
        """Tell whether new runs of a DAG wait; ``None`` when Airflow does not know the DAG."""
        with create_session() as session:
            return session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag_id, ~DagModel.is_stale))

    def missing_pools(self, pools: Collection[str]) -> set[str]:
        """Return the pools that are not there: their tasks never start, and only the scheduler's log says so."""
        with create_session() as session:
            return {*pools} - {*session.scalars(select(Pool.pool).where(Pool.pool.in_(pools)))} if pools else set()

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any], user: Any) -> str:
        """Start a run in a user's name, as Airflow's own button does, and note it in the audit log.

        :param conf: fields of the DAG's form.
        :param user: as ``GetUserDep`` gives it.
        :return: the run's id.
        :raises ValueError: when the DAG does not take these fields.
        """
        from airflow.api.common.trigger_dag import trigger_dag

        run = trigger_dag(
            dag_id,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user.get_name(),
            conf=dict(conf),
        )
        if run is None:
            raise ValueError(f"Airflow did not start a run of {dag_id}.")
        # Without the reason: the audit log has other readers than the registry.
        extra = {name: conf[name] for name in ("model", "version") if name in conf} | {"from": "releases page"}
        with create_session() as session:
            session.add(
                Log(
                    event="trigger_dag_run",
                    owner=user.get_name(),
                    owner_display_name=user.get_name(),
                    dag_id=dag_id,
                    run_id=run.run_id,
                    extra=json.dumps(extra),
                )
            )
        return str(run.run_id)

    @staticmethod
    def _versions(session: Any, runs: Collection[DagRun]) -> dict[tuple[str, str], str]:
        """Return DAG and run id -> the version that the first task of a release has claimed."""
        rows = session.scalars(
            select(XComModel).where(
                XComModel.dag_run_id.in_([run.id for run in runs]),  # the table's own key begins with it
                XComModel.task_id == ids.CHECK,
                XComModel.key == "return_value",
            )
        )
        found = {(row.dag_id, row.run_id): XComModel.deserialize_value(row) for row in rows}
        return {key: str(value["version"]) for key, value in found.items() if value and "version" in value}

    @staticmethod
    def _reasons(session: Any, runs: Collection[DagRun]) -> dict[str, str]:
        """Return run id -> what its first task that failed left as its reason."""
        rows = session.scalars(
            select(XComModel)
            .where(XComModel.dag_run_id.in_([run.id for run in runs]), XComModel.key == xcoms.FAILURE)
            .order_by(XComModel.timestamp.desc())
        )
        # Newest first, so that the first failure is what stays.
        return {row.run_id: str(Failure(**XComModel.deserialize_value(row))) for row in rows}


def _made_from(
    run: DagRun, tasks: Iterable[tuple[str, Any]] = (), reason: str = "", version: str | None = None
) -> AirflowRun:
    tasks = list(tasks)
    waiting = [task_id for task_id, state in tasks if state == TaskInstanceState.AWAITING_INPUT]
    return AirflowRun(
        dag_id=run.dag_id,
        run_id=run.run_id,
        version=version or asked_version(run),
        state=str(run.state),
        run_after=run.run_after,
        run_type=str(run.run_type),
        user=run.triggering_user_name or "",
        conf=run.conf or {},
        tasks=tuple(task_id for task_id, _ in tasks),
        waiting_task=waiting[0] if waiting else None,
        reason=reason,
    )
