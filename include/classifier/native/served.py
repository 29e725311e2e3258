"""The model that is served: what computes it, who still needs it, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.classifier.native.batches.batcher import Batcher
from include.classifier.native.batches.forward import ThreadForward
from include.classifier.native.batches.pace import Pace
from include.classifier.native.batches.workers import WorkerForward
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import ServedModel

if TYPE_CHECKING:
    from include.capture.server import ServerCapture


#: That a batch may take where texts are padded, in which a batch gains by being large; and so many tokens it may have
#: at any rate: with more a CPU gains nothing.
_PADDED_SECONDS, _PADDED_TOKENS = 0.1, 256
#: The same where each text goes through the model by itself: as long as passing it on takes next to nothing of that.
_APART_SECONDS = 0.02


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

    :param batch_tokens: that go through it at once at most, padding included.
    :param queue_tokens: that may wait for it.
    """

    def __init__(self, model: ServedModel, metrics: Metrics, *, batch_tokens: int, queue_tokens: int) -> None:
        self.model = model
        self.forward: ThreadForward | WorkerForward
        if model.workers > 1:
            lanes = model.workers
            self.forward = WorkerForward(model.compute_in_worker, metrics, workers=lanes)
        else:
            # One batch more than threads: who has ended one begins with the next, and waits for nobody to hand it over.
            lanes = model.lanes + (model.lanes > 1)
            self.forward = ThreadForward(model.predictor, metrics, lanes=model.lanes)
        seconds, least = (_PADDED_SECONDS, _PADDED_TOKENS) if model.pads else (_APART_SECONDS, 1)
        self.batcher = Batcher(
            self.forward,
            batch_tokens,
            queue_tokens,
            lanes=lanes,
            on_batch=metrics.add_batch,
            pads=model.pads,
            pace=Pace(seconds=seconds, least=least, most=batch_tokens),
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
