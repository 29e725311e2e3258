"""What every trigger that polls a service has in common: its pace, its deadline and its patience with errors."""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from airflow.sdk import TaskInstanceState
from airflow.triggers.base import BaseTrigger, TriggerEvent

from kubeflow_provider.access import recall, was_accepted
from kubeflow_provider.compat import TRIGGERS_ARE_KILLED, task_states
from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    KubeflowProviderError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from kubeflow_provider.outages import Outage
from kubeflow_provider.states import TASK_GIVEN_UP
from kubeflow_provider.triggers._cancelling import cancel_patiently, outlive_the_trigger
from kubeflow_provider.triggers.blocking_work import ask_airflow


class WaitOutcome(StrEnum):
    """Why a trigger stopped waiting; stands under ``outcome`` in its event. Events outlive upgrades: never rename."""

    OVER = "over"
    TIMEOUT = "timeout"
    ERROR = "error"


_FIRST_POLL_WITHOUT_SCHEDULER_SECONDS = 0.5

_ERRORS: dict[str, type[KubeflowProviderError]] = {
    error.__name__: error
    for error in (
        DeploymentFailedError,
        InvalidRequestError,
        PermissionDeniedError,
        ServiceUnavailableError,
        WrongPasswordError,
    )
}


def raise_for_error(event: dict[str, Any]) -> None:
    """Raise in the worker what a trigger could not go on with, as the error that it was.

    :param event: payload of a :class:`PollingTrigger`'s event.
    """
    if event["outcome"] == WaitOutcome.ERROR:
        raise _ERRORS.get(event["error"], KubeflowProviderError)(event["message"])


def state_key(task_id: str, map_index: int) -> str:
    """Return the name by which Airflow's answer about the states of tasks calls one of them."""
    return task_id if map_index < 0 else f"{task_id}_{map_index}"


def ask_state(task: Any) -> str | None:
    """Ask Airflow for the state of a task: ``None`` for one that was cleared, ``removed`` for one that is gone.

    :param task: its ids, as a trigger's ``task_instance`` and an operator's ``ti`` have them.
    """
    map_index = -1 if task.map_index is None else task.map_index
    found = task_states(dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=map_index)
    states = found.get(task.run_id, {})
    return states.get(state_key(task.task_id, map_index), TaskInstanceState.REMOVED)


class PollingTrigger(BaseTrigger):
    """Asks a service again and again until something is over; never blocks the event loop, never raises for an outage.

    A subclass says whom it asks, its own arguments, and what one question to the service is. Its event's
    payload holds ``outcome`` (:class:`WaitOutcome`), everything in :meth:`facts`, and either what
    :meth:`poll` returned or, for ``error``, ``error`` and ``message``. ``dag.test`` loses what an operator passes to
    ``defer(kwargs=...)``, so an operator can rely on the event alone.

    :param conn_id: Airflow connection of the service.
    :param deadline: absolute, with a time zone; survives a move to another triggerer, and another try of the task.
    :param poll_interval_seconds: longest pause between two questions; the first ones follow faster.
    :param max_poll_errors: so many failed questions in a row end the waiting with an error. The pauses between them
        grow to the longest one. A service that is away is waited for instead, for as long as its connection says
        (``outage_seconds``).
    :param was_accepted: whether the service has let its connection in before; goes with the trigger to the next
        triggerer, for which a refusal would otherwise be the very first.
    """

    #: A trigger that fires before the scheduler has seen the worker's exit gets the resumed task marked as failed
    #: (https://github.com/apache/airflow/issues/71580), so no event goes out sooner after the start of a trigger: the
    #: scheduler was seen to take 7 s.
    first_event_seconds: ClassVar[float] = 10.0

    #: An answer that may not be told yet need not be asked for.
    first_poll_seconds: float = first_event_seconds

    #: A bad end waits so long before it is told. What a user has just ended ends badly, and Airflow takes a moment to
    #: cancel its trigger: on SQLite, which gives the ids of triggers away again, the event would end the next try.
    bad_end_seconds: ClassVar[float] = 4.0

    #: Part of each pause in which a question may wait for those of other triggers, to be asked together with them.
    slack_share: ClassVar[float] = 0.0

    def __init__(
        self,
        *,
        conn_id: str,
        deadline: datetime,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 10,
        was_accepted: bool = False,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.deadline = deadline
        self.poll_interval_seconds = poll_interval_seconds
        self.max_poll_errors = max_poll_errors
        self.was_accepted = was_accepted
        self._is_recalled = False
        self._has_spoken = False

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the subclass's own keyword arguments, as JSON types."""

    @abstractmethod
    async def connect(self) -> Any:
        """Return the service of :attr:`conn_id`, of the functions in :mod:`kubeflow_provider.hooks`."""

    @abstractmethod
    async def poll(self, service: Any, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Ask the service once.

        :param service: hook of :attr:`conn_id`.
        :param slack_seconds: so much later the question may go out, see :attr:`slack_share`.
        :return: facts for the event as JSON types when the waiting is over, else ``None``.
        :raises OutageError: is waited out, as long as its budget lasts.
        :raises ServiceUnavailableError: counts as one failed question. Any other error of this provider ends the
            waiting at once.
        """

    @property
    def acts(self) -> bool:
        """Whether the first poll brings something about, and asks for nothing: it need not wait."""
        return False

    def is_good_end(self, payload: Mapping[str, Any]) -> bool:
        """Say whether an event brings what the task hoped for."""
        return payload["outcome"] == WaitOutcome.OVER

    def facts(self) -> dict[str, Any]:
        """Return what every event says of the thing; the subclass's own arguments unless it knows better."""
        return self.arguments()

    def age_seconds(self) -> float:
        """Return for how long the thing has been waited for already, by this trigger or another."""
        return 0.0

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path and the arguments that make this trigger again in another process."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "conn_id": self.conn_id,
                "deadline": self.deadline,
                "poll_interval_seconds": self.poll_interval_seconds,
                "max_poll_errors": self.max_poll_errors,
                "was_accepted": self.was_accepted,
                **self.arguments(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event of this trigger; one that acts does nothing for a task that does not wait for it."""
        if self.acts:
            await self.wait_until_waited_for()
        # Only a triggerer gives an id; `airflow dags test` runs triggers itself, and has no scheduler that may be late.
        if self.trigger_id is None:
            payload = await self.wait(first_poll_seconds=_FIRST_POLL_WITHOUT_SCHEDULER_SECONDS)
            self._has_spoken = True
            yield TriggerEvent(payload)
            return
        began = time.monotonic()
        payload = await self.wait(first_poll_seconds=0.0 if self.acts else self.first_poll_seconds)
        is_good = self.is_good_end(payload)
        least = 0.0 if is_good else self.bad_end_seconds
        await asyncio.sleep(max(least, began + self.first_event_seconds - time.monotonic()))
        if not is_good:
            await self.wait_until_waited_for()
        self._has_spoken = True
        yield TriggerEvent(payload)

    async def on_kill(self) -> None:
        """Take back nothing; a subclass does, after a user has ended the task."""

    async def cleanup(self) -> None:
        """Do what :meth:`on_kill` does, where Airflow does not call that: before 3.3 all ends of a trigger look alike.

        So ``on_kill`` asks whether the task still waits: then it was a triggerer that ended, and no user. What a
        trigger has told is for its task, which no longer waits by then, to go on with.
        """
        if not TRIGGERS_ARE_KILLED and not self._has_spoken and self.task_instance is not None:
            await self.on_kill()

    async def wait(self, *, first_poll_seconds: float = 0.0) -> dict[str, Any]:
        """Poll until the thing is over, the deadline has passed or the service cannot be asked; return the payload.

        An operator that does not defer waits with this as well (``asyncio.run``), so both modes behave alike.
        """
        errors, outage, away = 0, Outage(), 0.0
        slack_share = 0.0  # the first pause is as long as it has to be
        for pause in _pauses(first_poll_seconds, self.poll_interval_seconds, waited=self.age_seconds()):
            # A service that is being restarted takes minutes: the errors allowed must not be used up within seconds.
            patience = min(2.0**errors, self.poll_interval_seconds) if errors else 0.0
            pause = max(0.0, min(max(pause, patience, away), self._seconds_left()))
            slack = pause * slack_share
            slack_share = self.slack_share
            await asyncio.sleep(pause - slack)
            facts = None
            try:
                facts = await self._ask(slack_seconds=slack)
            except OutageError as error:
                try:
                    away = outage.pause(error)
                except KubeflowProviderError as given_up:
                    return self._error(given_up)
            except ServiceUnavailableError as error:
                errors += 1
                self.log.warning("Poll failed, %s of at most %s in a row: %s", errors, self.max_poll_errors, error)
                if errors >= self.max_poll_errors:
                    return self._error(error)
            except KubeflowProviderError as error:
                return self._error(error)
            else:
                errors, away = 0, 0.0
                outage.over()
            if facts is not None:
                return self._payload(WaitOutcome.OVER, facts)
            if self._seconds_left() <= 0:
                return self._payload(WaitOutcome.TIMEOUT, {})
        raise AssertionError("the pauses never end")

    async def _ask(self, *, slack_seconds: float) -> dict[str, Any] | None:
        service = await self.connect()
        if self.was_accepted and not self._is_recalled:
            recall(service)
        self._is_recalled = True
        facts = await self.poll(service, slack_seconds=slack_seconds)
        self.was_accepted = was_accepted(service)
        return facts

    async def is_still_waited_for(self) -> bool:
        """Return whether the task is deferred, so that whoever ended this trigger was no user.

        A triggerer that stalls for half a minute loses its triggers to another one. When it goes on, Airflow ends them
        there in the same way as those of a task that a user has marked or cleared
        (https://github.com/apache/airflow/pull/73454).

        :return: ``False`` also for a trigger without a task. ``True`` when Airflow does not say: what was cancelled in
            vain is lost, what goes on in vain can still be cancelled.
        """
        if self.task_instance is None:
            return False
        try:
            return await ask_airflow(self.ask_whether_waited_for, self.task_instance)
        except Exception:
            self.log.warning("Airflow does not say whether the task still waits; nothing is cancelled.", exc_info=True)
            return True

    def ask_whether_waited_for(self, task: Any) -> bool:
        """Ask Airflow whether a task is deferred.

        :param task: its ids, as a trigger's ``task_instance`` has them.
        """
        return ask_state(task) == TaskInstanceState.DEFERRED

    async def wait_until_waited_for(self) -> None:
        """Return at once while the task is deferred; otherwise Airflow is about to cancel this trigger."""
        while True:
            if self.task_instance is None or await self.is_still_waited_for():
                return
            await asyncio.sleep(self.bad_end_seconds)

    async def undo_if_given_up(self, what: str, undo: Callable[[], Awaitable[None]]) -> None:
        """Take back what the task has brought about when a user has ended it for good; made for ``on_kill``.

        A task that was cleared needs it in its next try, and so does another triggerer that has taken this trigger
        over. Goes on trying when Airflow waits no longer.

        :param what: names it in the log.
        :param undo: takes it back; safe to repeat.
        """

        async def ask_and_undo() -> None:
            try:
                state = await ask_airflow(ask_state, self.task_instance)
            except Exception as error:
                raise ServiceUnavailableError(f"Airflow does not say whether the task is over: {error}") from error
            if state in TASK_GIVEN_UP:
                self.log.info("The task is %s: %s is taken back.", state, what)
                await undo()
            else:
                self.log.info("The task is %s: %s stays for whoever goes on with it.", state or "cleared", what)

        if self.task_instance is not None:
            await outlive_the_trigger(cancel_patiently(what, ask_and_undo, self.log))

    def _seconds_left(self) -> float:
        return (self.deadline - datetime.now(tz=UTC)).total_seconds()

    def _payload(self, outcome: WaitOutcome, facts: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": outcome.value, **self.facts(), **facts}

    def _error(self, error: KubeflowProviderError) -> dict[str, Any]:
        return self._payload(WaitOutcome.ERROR, {"error": type(error).__name__, "message": str(error)})


def _pauses(first: float, longest: float, *, waited: float = 0.0) -> Iterator[float]:
    """Yield seconds to sleep: the first pause as asked, then a twentieth of the time waited so far.

    About a second at least, at most the longest: what took a minute is noticed within three seconds, what took an hour
    within the longest pause. Up to a tenth less keeps many waiting tasks from asking at the same moment.

    :param waited: seconds waited before: a triggerer that takes over a thousand old runs must not begin with a
        question every second for each.
    """
    yield first
    waited += first
    while True:
        pause = min(max(1.0, waited / 20), longest)
        waited += pause
        yield pause * random.uniform(0.9, 1.0)  # noqa: S311
