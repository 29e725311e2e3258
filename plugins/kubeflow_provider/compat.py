"""What differs between the versions of Airflow, each thing found by looking for it and not by the version's number.

The private modules of Airflow, and whatever came after Airflow 3.1, are imported here and nowhere else: when one of
them moves, this is the module to mend. docs/airflow-versions.md tells users what follows from the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import airflow.sdk
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import BaseTrigger

# Since Airflow 3.2 settings and exceptions are of the Task SDK.
if TYPE_CHECKING or hasattr(airflow.sdk, "conf"):
    from airflow.sdk import conf
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferralTimeout,
        TaskDeferred,
    )
else:
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferralTimeout,
        TaskDeferred,
    )

__all__ = (
    "HAS_RETRY_POLICIES",
    "TRIGGERS_ARE_KILLED",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "FinalError",
    "Memory",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "XCom",
    "aget_connection",
    "conf",
    "determine_kwargs",
    "fail_at_once",
    "memory_of",
    "outlives_tries",
    "task_states",
)

#: Whether a trigger is told (``on_kill``) that a user has ended its task; else it hears in ``cleanup`` that it ends,
#: and asks why. Since Airflow 3.3.
TRIGGERS_ARE_KILLED = hasattr(BaseTrigger, "on_kill")

#: Whether tasks have a ``retry_policy``. Since Airflow 3.3.
HAS_RETRY_POLICIES = hasattr(airflow.sdk, "ExceptionRetryPolicy")

#: Base of the errors that no further try can mend. Where a retry policy says so it is no special one; elsewhere Airflow
#: knows one kind of error after which it does not try again.
if TYPE_CHECKING or HAS_RETRY_POLICIES:
    FinalError = AirflowException
else:
    FinalError = AirflowFailException


def fail_at_once(reasons: Mapping[type[Exception], str]) -> Any:
    """Return the retry policy after which these errors fail a task whatever its ``retries``.

    :param reasons: error -> why, as Airflow shows it.
    :return: ``None`` where Airflow has no such policies; the errors are :data:`FinalError` then.
    """
    if not HAS_RETRY_POLICIES:
        return None
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    return ExceptionRetryPolicy(
        rules=[RetryRule(exception=error, action=RetryAction.FAIL, reason=reason) for error, reason in reasons.items()]
    )


async def aget_connection(conn_id: str) -> Connection:
    """Return a connection without blocking the event loop.

    Before Airflow 3.2 a worker has no other way to ask for one than to wait: there the loop is that of one task, which
    has nothing else to do.

    :raises AirflowNotFoundException: when there is none.
    """
    try:
        return await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException:
        from airflow.sdk.execution_time import comms, task_runner

        if type(getattr(task_runner, "SUPERVISOR_COMMS", None)) is not comms.CommsDecoder:
            raise  # a triggerer, or no task at all
        return BaseHook.get_connection(conn_id)


def task_states(
    *, dag_id: str, run_ids: Sequence[str], task_ids: Sequence[str], map_index: int
) -> dict[str, dict[str, str | None]]:
    """Return DAG run id -> name of the task -> state, as Airflow answers."""
    # What runs tasks is nothing for the parsing of DAG files, which import this module.
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=list(task_ids), run_ids=list(run_ids), map_index=map_index
    )


def determine_kwargs(
    function: Callable[..., Any], arguments: Collection[Any], context: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what of a context a function takes by keyword; of the Task SDK since Airflow 3.2."""
    from airflow.sdk.bases import decorator

    if hasattr(decorator, "determine_kwargs"):
        return decorator.determine_kwargs(function, arguments, context)
    from airflow.utils.operator_helpers import determine_kwargs as determine

    return determine(function, arguments, context)


class Memory(Protocol):
    """What a task keeps: JSON values under names."""

    def get(self, key: str) -> Any:
        """Return a value, ``None`` where there is none."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""

    def delete(self, key: str) -> None:
        """Forget a value."""


class _MemoryOfOneTry:
    """Keeps values in the XCom of a task, which Airflow empties when the next try begins, and not before.

    :param ti: of the task.
    """

    def __init__(self, ti: Any) -> None:
        self._ti = ti

    def get(self, key: str) -> Any:
        return self._ti.xcom_pull(task_ids=self._ti.task_id, key=key, map_indexes=self._ti.map_index)

    def set(self, key: str, value: Any) -> None:
        self._ti.xcom_push(key, value)

    def delete(self, key: str) -> None:
        self._ti.xcom_push(key, None)


def outlives_tries(context: Mapping[str, Any]) -> bool:
    """Say whether a task's memory lasts from one try to the next. Since Airflow 3.3."""
    return "task_state_store" in context


def memory_of(context: Mapping[str, Any]) -> Memory:
    """Return what a task keeps of its own; see :func:`outlives_tries` for how long."""
    store: Memory = context["task_state_store"] if outlives_tries(context) else _MemoryOfOneTry(context["ti"])
    return store
