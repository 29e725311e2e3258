"""What happens to one request for a prediction, from its body to its answer."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from include.classifier.native import refusals
from include.classifier.native.batcher import Batcher, ModelFailedError, OutOfTimeError, QueueFullError
from include.classifier.native.bodies import ClientGoneError, Receive, Room, check_headers, read_body, until_gone
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import ServedModel

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: From here on an answer is written beside the event loop, which others wait for.
_MANY_ROWS = 64


class Predictions:
    """Answers requests for predictions.

    :param max_requests: whose bodies are there and that are not answered yet.
    :param max_bytes: that their bodies may have together.
    """

    def __init__(
        self, model: ServedModel, batcher: Batcher, metrics: Metrics, *, max_requests: int, max_bytes: int
    ) -> None:
        self.under_way = 0
        self._room = Room(max_bytes)
        self._model = model
        self._batcher = batcher
        self._metrics = metrics
        self._max_requests = max_requests
        # One thread: a tokenizer belongs to one at a time.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")

    async def answer(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Return the body of an answer.

        :param headers: of the request, by names in lower case.
        :raises Refusal: with another status than 200.
        :raises ClientGoneError: when nobody waits for the answer any more.
        """
        check_headers(headers)
        self._check_room()
        with self._room.taken() as take:
            # A place is taken when the body is there: clients that never send theirs must not take them all.
            body = await read_body(receive, take, seconds=self._model.response_seconds)
            self._check_room()
            self.under_way += 1
            try:
                return await _unless_gone(self._predict(body, headers.get("content-type", "")), receive)
            except ClientGoneError:
                self._metrics.dropped += 1
                raise
            finally:
                self.under_way -= 1

    def _check_room(self) -> None:
        if self.under_way >= self._max_requests:
            raise refusals.busy()

    async def _predict(self, body: bytes, content_type: str) -> bytes:
        loop = asyncio.get_running_loop()
        reading = await loop.run_in_executor(self._reader, self._model.read, body, content_type)
        del body
        try:
            rows = await self._batcher.submit(reading.rows, seconds=self._model.response_seconds)
        except QueueFullError:
            raise refusals.busy() from None
        except OutOfTimeError as error:
            raise self._model.out_of_time(reading, was_alone=error.was_alone) from None
        except ModelFailedError as error:
            log_place("The model failed on a request", error.__cause__ or error)
            raise self._model.failed() from None
        if len(rows) < _MANY_ROWS:
            return self._model.write(reading, rows)
        return await loop.run_in_executor(None, self._model.write, reading, rows)


async def _unless_gone(work: Coroutine[Any, Any, _T], receive: Receive) -> _T:
    """Return what comes of some work, which is given up when its client hangs up.

    :raises ClientGoneError: in that case.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        for task in (working, watching):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def log_place(what: str, error: BaseException) -> None:
    """Log where an error comes from, without its message, which may repeat a text."""
    _log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


class ThreadForward:
    """Computes batches in one thread of this process.

    :param predictor: the archive code's own.
    """

    def __init__(self, predictor: Any, metrics: Metrics) -> None:
        self.computes: Callable[[Sequence[Sequence[int]]], Sequence[Sequence[float]]] = predictor.probabilities
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forward")
        # The first pass allocates and compiles; better now than in somebody's request.
        self._thread.submit(predictor.predict, ["ready"]).result()

    async def start(self, when_one_dies: Callable[[], None]) -> None:
        """Do nothing: a thread dies with its process."""

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, rows: list[Sequence[int]]) -> Sequence[Sequence[float]]:
        """Return the probabilities of each row of token ids."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        found: Sequence[Sequence[float]] = await loop.run_in_executor(self._thread, self.computes, rows)
        self._metrics.batch_seconds.add(loop.time() - began)
        return found
