"""What a trigger does that blocks: in threads, each piece to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from asgiref.sync import sync_to_async

#: Threads of their own: a service that hangs, or that looks for a run for minutes, must not keep the triggerer's other
#: triggers waiting.
_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="trigger-work")


class BlockingWork:
    """The blocking work of one trigger, one piece after the other."""

    def __init__(self) -> None:
        self._doing: Future[Any] | None = None

    async def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do a piece without blocking the event loop.

        A thread cannot be cancelled: whoever cancels this waits for it with :meth:`settle` before taking anything back.
        """
        self._doing = _threads.submit(copy_context().run, work, *arguments)
        return await asyncio.shield(asyncio.wrap_future(self._doing))

    async def settle(self) -> Exception | None:
        """Return when the piece that is under way is done, or will never be; return with what it failed."""
        if self._doing is not None and not self._doing.cancel():
            try:
                await asyncio.wrap_future(self._doing)
            except Exception as error:
                return error
        return None


async def ask_airflow(ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Ask or tell Airflow something without blocking the event loop, in the thread that it has for that.

    Whoever is cancelled meanwhile leaves the question to its end. To cancel it would lose why the trigger was
    cancelled: asgiref raises a new ``CancelledError``, without the words by which Airflow's triggerer knows that a user
    has ended the task.
    """
    question = asyncio.ensure_future(sync_to_async(ask)(*arguments, **options))
    question.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # nobody else may look at it
    return await asyncio.shield(question)
