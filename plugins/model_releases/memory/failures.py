"""What went wrong in a DAG run, so that tasks which run after the failure can say so.

A task that cleans up or reports sees only the states of the tasks before it. ``remember_failure`` as their
``on_failure_callback`` leaves the reason where :func:`first_failure` finds it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow.sdk import TaskInstanceState
from airflow.sdk.exceptions import AirflowException

from model_releases.exceptions import CheckFailedError
from model_releases.memory import xcoms

log = logging.getLogger(__name__)

#: A pipeline's last log lines belong to a message; a whole traceback would burst an alert.
MAX_MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task failed.

    :param task_id: the task.
    :param error: name of the error's type; empty when the task died without a word.
    :param message: what was wrong, where, and what to do about it.
    :param check: the smoke-test check that failed, empty for any other error.
    :param expected: what a good model would have answered; empty without a check.
    :param got: what came back; empty without a check.
    """

    task_id: str
    error: str
    message: str
    check: str = ""
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        """Return one sentence for a log, a registry or an alert."""
        return f"Task {self.task_id} failed: {self.message}"


def describe(task_id: str, exception: BaseException) -> Failure:
    """Make a failure from what a task raised."""
    facts = exception.facts() if isinstance(exception, CheckFailedError) else {}
    return Failure(task_id=task_id, error=type(exception).__name__, message=_message(exception), **facts)


def remember_failure(context: Mapping[str, Any]) -> None:
    """Leave a task's failure for the tasks after it. Give it to every task as ``on_failure_callback``.

    The worker runs it before it reports the task as failed, so that the reason is there when the next task
    starts. For a task that died with its worker the dag-processor runs it, without an exception and without
    the right to write XComs: then there is nothing to leave, and :func:`first_failure` says so.
    """
    exception = context.get("exception")
    if not isinstance(exception, BaseException):
        log.warning("The task ended without an exception (%s); its log is all there is.", context.get("reason"))
        return
    ti = context["ti"]
    ti.xcom_push(key=xcoms.FAILURE, value=asdict(describe(ti.task_id, exception)))


def first_failure(context: Mapping[str, Any], task_ids: Sequence[str] | None = None) -> Failure | None:
    """Return the failure that came first in this DAG run, ``None`` when no task has failed.

    Works in a task, and in a callback that the dag-processor runs.

    :param task_ids: the tasks to look at, in the order in which they run; default: all of the DAG.
    """
    dag, run_id = context["dag"], context["run_id"]
    states = task_states(context)
    for task_id in task_ids if task_ids is not None else [task.task_id for task in dag.topological_sort()]:
        if states.get(task_id) == TaskInstanceState.FAILED:
            return _recall(dag.dag_id, run_id, task_id)
    return None


def task_states(context: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the state of every task of this DAG run that has been scheduled."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    return RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})


def _recall(dag_id: str, run_id: str, task_id: str) -> Failure:
    from airflow.sdk.execution_time.xcom import XCom

    remembered = XCom.get_one(key=xcoms.FAILURE, dag_id=dag_id, run_id=run_id, task_id=task_id)
    if remembered is None:
        message = "it ended without a message: killed, out of memory, or marked as failed by hand. See its log."
        return Failure(task_id=task_id, error="", message=message)
    return Failure(**remembered)


def _message(exception: BaseException) -> str:
    from airflow.sdk.log import redact

    text = f"{type(exception).__name__}. Its message is in the task's log."
    if isinstance(exception, AirflowException) and str(exception):
        text = str(exception)
    elif isinstance(exception, OSError) and exception.strerror:
        text = exception.strerror
    # The message of any other error stays in the log: a library may quote the text it was working on, or an
    # address with its password, and this message goes to a registry and to a chat channel.
    text = str(redact(text))
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else f"{text[: MAX_MESSAGE_CHARACTERS - 2]} …"
