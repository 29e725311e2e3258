"""Stops remote work from a trigger that a user has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from airflow.sdk.exceptions import AirflowException

from kubeflow_provider.exceptions import InvalidRequestError, WrongPasswordError

#: So long a service that does not answer is asked to stop something: longer than it takes to restart it.
PATIENCE_SECONDS = 900.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0

#: An event loop holds its tasks weakly.
_under_way: set[asyncio.Task[None]] = set()


async def outlive_the_trigger(work: Coroutine[Any, Any, None]) -> None:
    """Do some work to its end, also when whoever waits for it is cancelled meanwhile.

    Airflow gives ``on_kill`` half a minute, and then cancels it with every look at its triggers, a second later: a
    service that wants a login first would never hear of the wish.
    """
    task = asyncio.create_task(work)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.shield(task)


async def cancel_patiently(what: str, cancel: Callable[[], Awaitable[None]], log: logging.Logger | Any) -> None:
    """Ask for something to be stopped until somebody has heard it.

    :param what: names it in the log.
    :param cancel: asks once. An error that says that the request, or the password, is wrong ends the asking.
    :param log: of the trigger.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            await cancel()
            return
        except (InvalidRequestError, WrongPasswordError) as error:
            log.error("%s cannot be cancelled: %s", what, error)
            return
        except AirflowException as error:
            if time.monotonic() + pause > until:
                log.error("%s goes on: nobody could be asked to stop it, do it by hand. %s", what, error)
                return
            log.warning("%s is not cancelled yet, asking again in %.0f s: %s", what, pause, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
