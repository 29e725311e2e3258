"""Computes batches in the process in front; :mod:`.workers` does it in processes of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from include.classifier.native.metrics import Metrics


class ThreadForward:
    """Computes batches in threads of this process.

    :param predictor: the archive code's own.
    :param lanes: batches that are computed at a time, each a row after the other; one batch goes through the model as
        the archive's code has it.
    """

    def __init__(self, predictor: Any, metrics: Metrics, *, lanes: int = 1) -> None:
        self.computes: Callable[[Sequence[Sequence[int]]], Sequence[Sequence[float]]] = predictor.probabilities
        if lanes > 1:
            # Of several rows the archive's code would compute some at a time itself.
            self.computes = lambda rows: [predictor.probabilities([row])[0] for row in rows]
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="forward")
        # The first pass allocates and compiles; better now than in somebody's request.
        self._threads.submit(predictor.predict, ["ready"]).result()

    async def start(self, when_one_dies: Callable[[], None]) -> None:
        """Do nothing: a thread dies with its process."""

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, rows: list[Sequence[int]]) -> Sequence[Sequence[float]]:
        """Return the probabilities of each row of token ids."""
        loop = asyncio.get_running_loop()
        found, seconds = await loop.run_in_executor(self._threads, self._timed, rows)
        self._metrics.batch_seconds.add(seconds)
        return found

    def _timed(self, rows: list[Sequence[int]]) -> tuple[Sequence[Sequence[float]], float]:
        began = time.monotonic()
        return self.computes(rows), time.monotonic() - began
