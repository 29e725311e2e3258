"""Trials that train nothing: as threads, or as real processes, with an objective whose best value is known."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from include.classifier.search.journal import Journal
from include.classifier.search.processes import run
from include.classifier.search.proposals import Proposals
from include.classifier.search.searching import Search
from include.classifier.search.trials import HopelessError, Objective, Teller
from include.classifier.training.epochs import Epoch
from include.contracts.search.document import Settings
from include.contracts.search.settings import SearchConfig, Values

SPACE = {"learning_rate": Values(low=1e-5, high=1e-1, log=True), "batch_size": Values(choices=[8, 16])}
PRESENT: Settings = {"learning_rate": 1e-5, "batch_size": 16}
TRUTH = np.array([0, 1] * 50)


def skill(settings: Settings) -> float:
    """Return what a trial is worth in the end: 1e-3 is the best learning rate, and batches of 8 are a little better."""
    distance = abs(np.log10(settings["learning_rate"]) + 3)
    return float(0.95 - 0.2 * distance + (0.01 if settings["batch_size"] == 8 else 0))


def epoch(number: int, value: float) -> Epoch:
    """Return an epoch with so much macro F1."""
    predicted = np.where(np.arange(len(TRUTH)) < value * len(TRUTH), TRUTH, 1 - TRUTH)
    return Epoch(number, value, 1 - value, value, predicted)


@dataclass(frozen=True)
class Stub:
    """An objective that needs no data.

    :param epochs: of each trial.
    :param diverges_above: learning rate from which on the loss is no number.
    :param breaks: trials that fail for a reason of their own.
    :param kills: trials whose process is killed from outside.
    :param marks: folder that gets a file for each trial that began, and one with its process.
    :param pause_seconds: of each epoch of trials from ``slow_from`` on.
    """

    epochs: int = 3
    diverges_above: float = 1.0
    breaks: tuple[int, ...] = ()
    kills: tuple[int, ...] = ()
    marks: Path | None = None
    slow_from: int = 1_000_000
    pause_seconds: float = 0.0

    def __call__(self, number: int, settings: Settings, teller: Teller) -> None:
        """Tell of some epochs, each a little better than the one before."""
        teller.begun(f"run-{number}")
        if self.marks:
            (self.marks / f"pid-{number}-{os.getpid()}").touch()
            (self.marks / f"begun-{number}-{time.monotonic_ns()}").touch()
        if number in self.breaks:
            raise OSError("the disk is full")
        if settings["learning_rate"] > self.diverges_above:
            raise HopelessError("The loss became nan")
        for each in range(1, self.epochs + 1):
            if number in self.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            if number >= self.slow_from:
                time.sleep(self.pause_seconds)
            teller.epoch(epoch(each, skill(settings) * (0.7 + 0.3 * each / self.epochs)))


@dataclass
class TrialThread:
    """A trial as a thread of this process."""

    number: int
    connection: Connection
    thread: threading.Thread
    began: float = field(default_factory=time.monotonic)

    def close(self) -> int:
        """Wait for its end."""
        self.connection.close()
        self.thread.join()
        return 0


def start_thread(objective: Objective, number: int, settings: Settings) -> TrialThread:
    """Start a trial as a thread."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=run, args=(theirs, objective, number, settings), daemon=True)
    thread.start()
    return TrialThread(number, ours, thread)


def search(
    folder: Path,
    *,
    objective: Stub = Stub(),
    start=start_thread,
    present=PRESENT,
    question="q",
    judge="macro_f1",
    **settings,
):  # type: ignore[no-untyped-def]
    """Return a search of the stub.

    :param settings: of section ``search``, and arguments of :class:`Search`.
    """
    ours = {name: settings.pop(name) for name in ("clock", "abandoned") if name in settings}
    config = SearchConfig(space=SPACE, objective=judge, **{"trials": 12, **settings})
    return Search(
        config=config,
        objective=objective,
        start=start,
        proposals=Proposals(config, SPACE, present),
        journal=Journal(folder.as_uri(), question),
        present=present,
        keeps_best=lambda settings: True,
        **ours,
    )
