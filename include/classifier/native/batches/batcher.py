"""Joins the texts of requests that are there at the same time into batches for the model.

Nobody is waited for: a batch is made when the model has nothing to do, of what came while it had. One client alone
loses no time by that, many get larger batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from include.classifier.native.batches.pace import Pace
from include.classifier.native.batches.pending import Pending, Row

#: Takes rows of token ids and returns the probabilities of each, shape (rows, classes).
Forward = Callable[[list[Sequence[int]]], Awaitable[Sequence[Sequence[float]]]]


class QueueFullError(Exception):
    """Too much waits already; nothing was begun."""


class OutOfTimeError(Exception):
    """The time of a request is over.

    :param was_alone: whether it had the model to itself all the time, so that it is the request that is too large.
    """

    def __init__(self, was_alone: bool) -> None:
        super().__init__(was_alone)
        self.was_alone = was_alone


class ModelFailedError(Exception):
    """The model failed on the texts of one request; the cause is what it raised."""


@dataclass(eq=False, slots=True)
class _Job:
    """The texts of one request."""

    rows: list[Row]
    found: list[Sequence[float] | None]
    done: asyncio.Future[None]
    missing: int
    was_alone: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """What went through the model at once, for whoever counts it."""

    texts: int
    tokens: int
    padded_tokens: int
    requests: int


@dataclass(slots=True)
class Batcher:
    """One queue before one model.

    :param forward: computes a batch.
    :param budget_tokens: of a batch, padding included.
    :param max_tokens: that may wait; a single request may have more when nothing else waits.
    :param lanes: how many batches are computed at a time.
    :param on_batch: is told of each batch, before it is computed.
    :param pads: whether texts are padded to the longest beside them; else a batch costs what its texts cost.
    :param pace: says how much of the budget a batch should have; default: all of it.
    """

    forward: Forward
    budget_tokens: int
    max_tokens: int
    lanes: int = 1
    on_batch: Callable[[Batch], None] = lambda batch: None
    pads: bool = True
    pace: Pace | None = None
    _pending: Pending = field(init=False)
    _running: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _is_filling: bool = field(init=False, default=False)
    _jobs: set[_Job] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._pending = Pending(self.budget_tokens, pads=self.pads)

    @property
    def waiting_texts(self) -> int:
        """How many texts wait for the model."""
        return len(self._pending)

    @property
    def waiting_tokens(self) -> int:
        """How many tokens they have, without padding."""
        return self._pending.tokens

    async def submit(self, rows: Sequence[Sequence[int]], *, seconds: float | None = None) -> list[Sequence[float]]:
        """Return the probabilities of each row of token ids; who is cancelled while waiting leaves nothing behind.

        :param seconds: after which it is given up; default: never.
        :raises QueueFullError: at once, when too much waits.
        :raises OutOfTimeError: when the time is over.
        :raises ModelFailedError: when the model fails on these rows.
        """
        size = sum(map(len, rows))
        if self._pending.tokens and self._pending.tokens + size > self.max_tokens:
            raise QueueFullError
        job = _Job([], [None] * len(rows), asyncio.get_running_loop().create_future(), len(rows))
        job.rows = [Row(job, index, tokens) for index, tokens in enumerate(rows)]
        if not rows:
            return []
        job.was_alone = not self._jobs
        if len(self._jobs) == 1:  # Where there are more, none of them is alone any more.
            next(iter(self._jobs)).was_alone = False
        self._jobs.add(job)
        self._pending.add(job.rows)
        self._fill_soon()
        try:
            async with asyncio.timeout(seconds):
                await job.done
        except TimeoutError:
            raise OutOfTimeError(job.was_alone) from None
        finally:
            self._jobs.discard(job)
            self._pending.remove(job.rows)
        return [values for values in job.found if values is not None]

    def _fill_soon(self) -> None:
        """Make batches once all who are there at this moment have had their say."""
        if not self._is_filling:
            self._is_filling = True
            asyncio.get_running_loop().call_soon(self._fill)

    def _fill(self) -> None:
        self._is_filling = False
        while (batch := self._take()) is not None:
            self.on_batch(batch[0])
            task = asyncio.get_running_loop().create_task(self._compute(*batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _take(self) -> tuple[Batch, list[Row]] | None:
        """Return the next batch; nothing when none waits, or all lanes are busy."""
        idle = self.lanes - len(self._running)
        if not idle or not len(self._pending):
            return None
        # Nothing is left idle that could share the work.
        most = -(-len(self._pending) // idle)
        rows = self._pending.take(budget_tokens=self.pace.budget if self.pace else None, most=most)
        tokens = sum(len(row.tokens) for row in rows)
        return Batch(
            texts=len(rows),
            tokens=tokens,
            padded_tokens=len(rows) * len(rows[-1].tokens) if self.pads else tokens,
            requests=len({id(row.owner) for row in rows}),
        ), rows

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill()

    async def _compute(self, batch: Batch, rows: list[Row]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if await self._compute_rows(rows) and self.pace:
            self.pace.tell(batch.padded_tokens, loop.time() - began)

    async def _compute_rows(self, rows: list[Row]) -> bool:
        """Compute rows and hand out what is found; return whether the model failed on none."""
        try:
            found = await self.forward([row.tokens for row in rows])
        except Exception as error:
            await self._compute_apart(rows, error)
            return False
        for row, values in zip(rows, found, strict=True):
            _deliver(row, values)
        return True

    async def _compute_apart(self, rows: list[Row], error: Exception) -> None:
        """Compute each request of a batch that failed on its own: one that fails takes no other along."""
        owners = {id(row.owner): row.owner for row in rows}
        if len(owners) == 1:
            _fail(next(iter(owners.values())), error)
            return
        for owner in owners.values():
            await self._compute_rows([row for row in rows if row.owner is owner])


def _deliver(row: Row, values: Sequence[float]) -> None:
    job = row.owner
    assert isinstance(job, _Job)
    job.found[row.index] = values
    job.missing -= 1
    if not job.missing and not job.done.done():
        job.done.set_result(None)


def _fail(job: object, error: Exception) -> None:
    assert isinstance(job, _Job)
    if not job.done.done():
        failed = ModelFailedError()
        failed.__cause__ = error
        job.done.set_exception(failed)
