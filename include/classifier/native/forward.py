"""Computes batches in the process in front; :mod:`.workers` does it in processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from include.classifier.native.metrics import Metrics


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
