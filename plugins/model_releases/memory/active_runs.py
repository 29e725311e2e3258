"""What other DAG runs of this Airflow are doing, asked from inside a task.

Releases and roll backs keep out of each other's way by it. Each is seen before it looks, as a queued or running DAG
run or task, so that of two that start at the same moment at least one sees the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeflow_provider.states import TASK_OVER
from model_releases import ids

_ACTIVE_STATES = ["queued", "running"]

#: The release's tasks that change what is served, in their order, and the one that undoes it.
_DEPLOYMENT = (*ids.DEPLOYMENT, ids.ROLL_BACK)

_NOT_BEGUN = frozenset({None, "skipped", "upstream_failed", "removed"})


def active_runs(context: Mapping[str, Any], dag_id: str, *, task_id: str = ids.CHECK) -> list[Any]:
    """Return the queued and running runs of a DAG, with ``run_id``, ``conf`` and ``run_after``.

    :param task_id: any task of the DAG.
    """
    ti = context["ti"]
    wanted = ti.get_dr_count(dag_id=dag_id, states=_ACTIVE_STATES)
    if not wanted:
        return []
    # Airflow tells a task how many they are, but not which: the newest are asked first until all are found.
    run_ids = ti.get_task_states(dag_id=dag_id, task_ids=[task_id])
    found: list[Any] = []
    for run_id in sorted(run_ids, key=lambda run_id: run_id.rpartition("__")[2], reverse=True):
        run = _dag_run(dag_id, run_id)
        if run.state in _ACTIVE_STATES:
            found.append(run)
        if len(found) >= wanted:
            break
    return found


def is_over(context: Mapping[str, Any], dag_id: str | None, run_id: str | None) -> bool:
    """Say whether a run has ended. One that this Airflow does not know is another's, and may be under way there."""
    if not dag_id or not run_id or run_id not in context["ti"].get_task_states(dag_id=dag_id, run_ids=[run_id]):
        return False
    return _dag_run(dag_id, run_id).state not in _ACTIVE_STATES


def roll_back_under_way(context: Mapping[str, Any], model: str) -> str | None:
    """Return DAG and run of a queued or running roll back of a model by hand, ``None`` when there is none."""
    dag_id = ids.roll_back_dag(model)
    return next((f"{dag_id}, {run.run_id}" for run in active_runs(context, dag_id)), None)


def deployment_under_way(context: Mapping[str, Any], *dag_ids: str) -> str | None:
    """Return DAG and run of a release that is changing what is served right now, ``None`` when there is none.

    A release that still trains or waits for an approval is none: it has touched nothing yet.

    :param dag_ids: the DAGs that deploy versions of the model.
    """
    for dag_id, run in [(each, run) for each in dag_ids for run in active_runs(context, each)]:
        states = (
            context["ti"]
            .get_task_states(dag_id=dag_id, task_ids=list(_DEPLOYMENT), run_ids=[run.run_id])
            .get(run.run_id, {})
        )
        first, *others = (states.get(task_id) for task_id in _DEPLOYMENT)
        if first not in _NOT_BEGUN and not (first in TASK_OVER and TASK_OVER.issuperset(others)):
            return f"{dag_id}, {run.run_id}"
    return None


def live_at_start(dag_id: str, run_id: str, *, task_id: str = ids.CHECK) -> str:
    """Return the version that a release found to be live when it began, empty when none was, or none is known yet."""
    from airflow.sdk.execution_time.xcom import XCom

    found = XCom.get_all(key="return_value", dag_id=dag_id, run_id=run_id, task_id=task_id)
    return str((found[0] or {}).get("live_version", "")) if found else ""


def _dag_run(dag_id: str, run_id: str) -> Any:
    from airflow.sdk.execution_time.comms import GetDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    return SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))
