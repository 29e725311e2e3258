"""What happens to one request for a prediction, from its body to its answer."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from include.classifier.native import refusals
from include.classifier.native.batches.batcher import ModelFailedError, OutOfTimeError, QueueFullError
from include.classifier.native.bodies import ClientGoneError, Receive, Room, check_headers, read_body, until_gone
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import Reading, ServedModel
from include.classifier.native.reader import Read, Reader
from include.classifier.native.served import Served

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Takes a request of the archive's code and the body of its answer, when it has one.
_Note: TypeAlias = Callable[[Any, bytes], None]

#: From here on an answer is written beside the event loop, which others wait for.
_MANY_ROWS = 64


class Predictions:
    """Answers requests for predictions.

    :param served: the model that computes them. What was begun with one is ended with it when there is another.
    :param max_requests: whose bodies are there and that are not answered yet.
    :param max_bytes: that their bodies may have together.
    """

    def __init__(self, served: Served, metrics: Metrics, *, max_requests: int, max_bytes: int) -> None:
        self.served = served
        self.under_way = 0
        self._room = Room(max_bytes)
        self._metrics = metrics
        self._max_requests = max_requests
        self._reader = Reader()

    async def answer(
        self, headers: Mapping[str, str], receive: Receive, *, version: str | None = None, note: _Note | None = None
    ) -> bytes:
        """Return the body of an answer.

        :param headers: of the request, by names in lower case.
        :param version: that is asked for; default: whichever is served.
        :param note: is told of the request and its answer.
        :raises Refusal: with another status than 200.
        :raises ClientGoneError: when nobody waits for the answer any more.
        """
        check_headers(headers)
        self._check_room()
        with self._room.taken() as take:
            # A place is taken when the body is there: clients that never send theirs must not take them all.
            body = await read_body(receive, take, seconds=self.served.model.response_seconds)
            content_type = headers.get("content-type", "")

            def read(model: ServedModel) -> Reading:
                model.check(model.name, version)
                return model.read(body, content_type)

            with self._counted():
                try:
                    return await _unless_gone(self._predict(read, len(body), note=note), receive)
                except ClientGoneError:
                    self._metrics.dropped += 1
                    raise

    async def infer(
        self, message: bytes, read: Read, write: Callable[[bytes], bytes], note: _Note | None = None
    ) -> bytes:
        """Return the answer to a message of which nothing is known but its size.

        :param read: makes of it what a model computes.
        :param write: makes the answer of what the archive's code has written.
        :param note: is told of the request and of that.
        :raises Refusal: instead of an answer.
        """
        with self._room.taken() as take:
            take(len(message))
            with self._counted():
                return await self._predict(read, len(message), write, note)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count one request more for as long as the block lasts.

        :raises Refusal: 503, when there are too many.
        """
        self._check_room()
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    def _check_room(self) -> None:
        if self.under_way >= self._max_requests:
            raise refusals.busy()

    async def _predict(
        self, read: Read, size: int, write: Callable[[bytes], bytes] = bytes, note: _Note | None = None
    ) -> bytes:
        served = self.served
        with served.used():
            reading = await self._reader.read(read, served.model, size=size)
            return await self._answer(served, reading, write, note)

    async def _answer(
        self, served: Served, reading: Reading, write: Callable[[bytes], bytes], note: _Note | None
    ) -> bytes:
        model = served.model
        try:
            rows = await served.batcher.submit(reading.rows, seconds=model.response_seconds)
        except QueueFullError:
            raise refusals.busy() from None
        except OutOfTimeError as error:
            raise model.out_of_time(reading, was_alone=error.was_alone) from None
        except ModelFailedError as error:
            log_place("The model failed on a request", error.__cause__ or error)
            raise model.failed() from None

        def written() -> bytes:
            body = model.write(reading, rows)
            if note:
                note(reading.request, body)
            return write(body)

        return written() if len(rows) < _MANY_ROWS else await asyncio.to_thread(written)


async def _unless_gone(work: Coroutine[Any, Any, _T], receive: Receive) -> _T:
    """Return what comes of some work, which is given up when its client hangs up.

    :raises ClientGoneError: in that case.
    """
    working, watching = asyncio.current_task(), asyncio.ensure_future(until_gone(receive))
    is_gone = False

    def give_up(_: object) -> None:
        nonlocal is_gone
        is_gone = True
        if working:
            working.cancel()

    watching.add_done_callback(give_up)
    try:
        return await work
    except asyncio.CancelledError:
        if not is_gone:
            raise
        if working:
            working.uncancel()
        raise ClientGoneError from None
    finally:
        watching.remove_done_callback(give_up)
        watching.cancel()


def log_place(what: str, error: BaseException) -> None:
    """Log where an error comes from, without its message, which may repeat a text."""
    _log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
