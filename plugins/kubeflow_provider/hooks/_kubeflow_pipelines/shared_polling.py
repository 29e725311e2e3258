"""Asks for many runs with one request, whoever waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any

Documents = dict[str, dict[str, Any]]

#: After a round that took a second there are nine seconds of rest: questions take a tenth of the time at most, and a
#: server that is slow because it is busy is asked less.
_REST_PER_SECOND = 9.0
_LONGEST_REST_SECONDS = 10.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Question:
    run_id: str
    latest: float
    answer: asyncio.Future[dict[str, Any] | None]


class SharedPolling:
    """Gathers questions for runs and has them answered by lists, for the triggers of one event loop.

    A question says how long it may wait for company. When the one that can wait least goes out, all that are there go
    with it, however long they could have waited: after a few rounds a thousand runs are asked for at the same moments.
    One round is under way at a time. There is nothing to subscribe to: between two questions of its owner a run is
    unknown here, and without questions nothing happens.

    :param list_documents: yields pages of the documents of the runs with these ids, by id, as far as they are listed.
    """

    def __init__(self, list_documents: Callable[[Sequence[str]], AsyncIterator[Documents]]) -> None:
        self._list_documents = list_documents
        self._questions: list[_Question] = []
        self._timer: asyncio.TimerHandle | None = None
        self._round: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    async def ask(self, run_id: str, *, slack_seconds: float) -> dict[str, Any] | None:
        """Return the run's document, ``None`` when it has to be asked for by itself: alone, or not in the list.

        :param slack_seconds: so long the question may wait for others.
        :raises KubeflowProviderError: what the list ended with, for everybody whose run was not in it before that.
        """
        loop = asyncio.get_running_loop()
        question = _Question(run_id=run_id, latest=loop.time() + slack_seconds, answer=loop.create_future())
        self._questions.append(question)
        if self._round is None:
            self._go_at(question.latest)
        return await question.answer

    def _go_at(self, latest: float) -> None:
        """Begin the next round then at the latest."""
        if self._timer is not None:
            if self._timer.when() <= latest:
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(latest, self._rest_until), self._go)

    def _go(self) -> None:
        self._timer = None
        # A trigger that was cancelled asks no more.
        questions = [question for question in self._questions if not question.answer.done()]
        self._questions = []
        if len(questions) == 1:
            questions[0].answer.set_result(None)
        elif questions:
            # In a context of its own: what is logged on the way is not the log of the trigger that happened to ask.
            self._round = asyncio.get_running_loop().create_task(self._ask(questions), context=Context())

    async def _ask(self, questions: list[_Question]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async for documents in self._list_documents([question.run_id for question in questions]):
                for question in questions:
                    if question.run_id in documents and not question.answer.done():
                        question.answer.set_result(documents[question.run_id])
                # An answer holds its document: a thousand of them would live until the end of the round, and what
                # lives for long makes Python look through everything that Airflow has loaded, which takes 0.2 s.
                questions = [question for question in questions if not question.answer.done()]
            _answer(questions, lambda answer: answer.set_result(None))
        except Exception as error:  # raised again wherever somebody waits for an answer
            reason = error
            _answer(questions, lambda answer: answer.set_exception(reason))
        finally:
            _answer(questions, lambda answer: answer.cancel())
            self._round = None
            self._rest_until = loop.time() + min(_REST_PER_SECOND * (loop.time() - began), _LONGEST_REST_SECONDS)
            if self._questions:
                self._go_at(min(question.latest for question in self._questions))


def _answer(questions: list[_Question], settle: Callable[[asyncio.Future[dict[str, Any] | None]], Any]) -> None:
    """Settle whatever is still open."""
    for question in questions:
        if not question.answer.done():
            settle(question.answer)
