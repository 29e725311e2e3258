"""Captures the requests of one model: all that it does in the way of a request is to draw, and to put it into a queue.

What is kept of a request is decided, and written, by a process of its own (:mod:`include.capture.writing`).
"""

from __future__ import annotations

import random
from pathlib import Path
from uuid import uuid4

from include.capture.exchanges import Exchange
from include.capture.feed import Counts, Feed
from include.capture.switch import Switch
from include.contracts.monitoring.capture import ServedCapture
from include.contracts.monitoring.layout import is_id


class Recorder:
    """Captures the requests of one model.

    :param settings: what is captured, and where its files go.
    :param model: name of the model.
    :param producer: what captures, a word for the files' names.
    :param feed: through which they are written; default: one of its own.
    :raises ValueError: when the store is not on this machine.
    """

    def __init__(self, settings: ServedCapture, *, model: str, producer: str, feed: Feed | None = None) -> None:
        if settings.folder is None:
            raise ValueError(f"capture: the store of {model} is not on this machine, and nothing is captured here")
        store = Path(settings.folder)
        self.feed = feed or Feed()
        self._owns_feed = feed is None
        self._share = settings.share
        self._random = random.Random()  # noqa: S311 - a sample
        self._switch = Switch(store)
        limits = self.feed.limits
        told = {
            "store": str(store),
            "model": model,
            "producer": producer,
            "texts": settings.texts,
            "max_megabytes": settings.max_megabytes,
            "file_bytes": limits.file_bytes,
            "file_seconds": limits.file_seconds,
        }
        self._channel = self.feed.open(told, self._switch)

    @property
    def counts(self) -> Counts:
        """What became of requests that were drawn."""
        return self._channel.counts

    def wants(self) -> bool:
        """Draw whether a request is captured: before anything is gathered for it."""
        is_off = self._switch.is_off if self.feed.is_running else self._switch.look()
        return not is_off and self._random.random() < self._share

    def offer(self, exchange: Exchange) -> None:
        """Take a request to be written, unless there is no room; never waits, never raises."""
        self.feed.offer(self._channel, exchange)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits and finish the file: within a time where the feed is its own, else soon; never raises."""
        if self._owns_feed:
            self.feed.close(timeout_seconds)
        else:
            self.feed.end(self._channel)


def request_id(given: str | None) -> str:
    """Return the id of a request: its client's where that may stand in files and logs, else one that is drawn."""
    return given if given and is_id(given) else str(uuid4())


def is_wanted(header: str | None) -> bool:
    """Tell whether a request lets itself be captured.

    :param header: its :data:`~include.contracts.monitoring.capture.OPT_OUT_HEADER`.
    """
    return not header or header.strip().lower() == "on"
