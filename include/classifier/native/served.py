"""The model that is served: what computes it, who still needs it, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.classifier.native.batcher import Batcher
from include.classifier.native.forward import ThreadForward
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import ServedModel
from include.classifier.native.workers import WorkerForward

if TYPE_CHECKING:
    from include.capture.server import ServerCapture


@dataclass(slots=True)
class State:
    """What is served, and whether to send it anything.

    :param model: that is asked; another version of it when it was swapped.
    :param is_draining: it was told to stop: nobody should send it anything new, but whoever does is answered.
    :param capture: what captures requests, where they are captured.
    """

    model: ServedModel
    is_draining: bool = False
    capture: ServerCapture | None = None


class Served:
    """A model that computes.

    :param batch_tokens: that go through it at once, padding included.
    :param queue_tokens: that may wait for it.
    """

    def __init__(self, model: ServedModel, metrics: Metrics, *, batch_tokens: int, queue_tokens: int) -> None:
        self.model = model
        self.forward: ThreadForward | WorkerForward
        if model.workers > 1:
            self.forward = WorkerForward(model.compute_in_worker, metrics, workers=model.workers)
        else:
            self.forward = ThreadForward(model.predictor, metrics)
        self.batcher = Batcher(
            self.forward, batch_tokens, queue_tokens, lanes=model.workers, on_batch=metrics.add_batch
        )
        self._users = 0
        self._unused = asyncio.Event()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Be one who needs it for as long as the block lasts."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def until_unused(self) -> None:
        """Return when nobody needs it any more; nobody new does."""
        while self._users:
            self._unused.clear()
            await self._unused.wait()

    def close(self) -> None:
        """End what computes and forget the archive's code."""
        self.forward.stop()
        self.model.forget_code()
