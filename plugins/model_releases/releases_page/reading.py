"""Asks services for a page: never for longer than a person waits, and not again for every click."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubeflow_provider.exceptions import KubeflowProviderError

log = logging.getLogger(__name__)

Ask = Callable[[], Any]


@dataclass(slots=True)
class Reading:
    """What a service said, last.

    :param value: ``None`` where it has said nothing yet, or nothing is its answer.
    :param problem: why the last attempt gave no answer; empty when it did.
    :param read_at: when ``value`` was read; ``None`` while there is none.
    :param is_pending: whether an answer is still waited for.
    """

    value: Any = None
    problem: str = ""
    read_at: datetime | None = None
    is_pending: bool = False

    @property
    def is_known(self) -> bool:
        """True when there is a value, be it an old one."""
        return self.read_at is not None


class _Entry:
    """One question: its last answer, and the attempt that is under way."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.tried_at = float("-inf")
        self.is_done = threading.Event()
        self.is_done.set()


class Reader:
    """Keeps each answer for a few seconds, asks a question once at a time, and gives up waiting in time.

    A question whose service hangs goes on in its thread: whoever asks next is told so, and sees what was known before.

    :param wait_seconds: longest wait of one page for all that it asks.
    :param keep_seconds: age from which on an answer is asked for again.
    :param max_entries: questions that are remembered; the one that was asked least recently goes first.
    """

    def __init__(self, *, wait_seconds: float = 5.0, keep_seconds: float = 5.0, max_entries: int = 2000) -> None:
        self._wait_seconds = wait_seconds
        self._keep_seconds = keep_seconds
        self._max_entries = max_entries
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    def read(self, key: Hashable, ask: Ask) -> Reading:
        """Return the answer to one question."""
        return self.read_all({key: ask})[key]

    def read_all(self, questions: Mapping[Hashable, Ask]) -> dict[Hashable, Reading]:
        """Return the answer to every question, asked side by side, as far as they come in time.

        :param questions: what names the question -> a function that asks it.
        """
        entries = {key: self._begin(key, ask) for key, ask in questions.items()}
        deadline = time.monotonic() + self._wait_seconds
        found = {}
        for key, entry in entries.items():
            is_done = entry.is_done.wait(max(0.0, deadline - time.monotonic()))
            found[key] = entry.reading if is_done else self._still_waiting(entry.reading)
        return found

    def forget(self) -> None:
        """Ask for everything again: something was just changed."""
        with self._lock:
            for entry in self._entries.values():
                entry.tried_at = float("-inf")

    def _begin(self, key: Hashable, ask: Ask) -> _Entry:
        with self._lock:
            entry = self._entries.pop(key, None) or _Entry()
            self._entries[key] = entry  # now the most recent
            if len(self._entries) > self._max_entries:
                self._entries.pop(next(iter(self._entries)))
            if entry.is_done.is_set() and time.monotonic() - entry.tried_at >= self._keep_seconds:
                entry.is_done.clear()
                # A daemon, so that a service that hangs does not keep the API server from ending.
                threading.Thread(target=_answer, args=(entry, ask), name="releases-page", daemon=True).start()
            return entry

    def _still_waiting(self, known: Reading) -> Reading:
        problem = f"no answer within {self._wait_seconds:g} s"
        return Reading(value=known.value, problem=problem, read_at=known.read_at, is_pending=True)


def _answer(entry: _Entry, ask: Ask) -> None:
    try:
        value = ask()
        entry.reading = Reading(value=value, read_at=datetime.now(UTC))
    except KubeflowProviderError as error:
        entry.reading = Reading(value=entry.reading.value, problem=str(error), read_at=entry.reading.read_at)
    except Exception as error:  # a page that breaks for want of one part tells nothing at all
        log.warning("The Releases page could not read a part.", exc_info=True)
        # The message of any other error stays in the log: a library may quote an address with its password.
        problem = f"{type(error).__name__}; the API server's log says more"
        entry.reading = Reading(value=entry.reading.value, problem=problem, read_at=entry.reading.read_at)
    finally:
        entry.tried_at = time.monotonic()
        entry.is_done.set()
