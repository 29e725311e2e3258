"""Trials as processes of their own: what kills one of them, or fills its memory, ends neither search nor neighbours.

They are forks of a process that has made PyTorch's imports once, and that never computes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from include.classifier.progress import PROGRESS_FILE, first_line
from include.classifier.search.trials import (
    GO_ON,
    Begun,
    Done,
    Epoch,
    Failed,
    HopelessError,
    Objective,
    TrialEndedError,
)
from include.contracts.search.document import Settings

#: Imported once for all trials.
HEAVY_IMPORTS = ("include.classifier.training.trainer", "include.classifier.tracking")

#: How long a trial that was told to end may take over it.
_GRACE_SECONDS = 10.0


@dataclass
class TrialProcess:
    """A trial that is under way.

    :param connection: what it says comes through here; the end of it means that the process is gone.
    """

    number: int
    connection: Connection
    process: BaseProcess
    began: float = field(default_factory=time.monotonic)

    def close(self) -> int | None:
        """Make sure that it is over, and return its exit code; below 0 the signal that killed it."""
        self.connection.close()
        self.process.join(_GRACE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


def start(objective: Objective, number: int, settings: Settings) -> TrialProcess:
    """Start a trial.

    :param objective: goes to the process by pickle.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(HEAVY_IMPORTS))
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_be_a_process, args=(theirs, objective, number, settings), name=f"trial-{number}", daemon=True
    )
    process.start()
    theirs.close()
    return TrialProcess(number, ours, process)


class PipeTeller:
    """Tells a search of a trial, and hears whether it wants more."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begun(self, tracking_run_id: str | None) -> None:
        """Say that it trains."""
        self._connection.send(Begun(tracking_run_id))

    def epoch(self, epoch: Epoch) -> None:
        """Say what an epoch has reached, and wait for the answer."""
        self._connection.send(epoch)
        if self._connection.recv() != GO_ON:
            raise TrialEndedError


def run(connection: Connection, objective: Objective, number: int, settings: Settings) -> None:
    """Train, and tell all of it to the search."""
    try:
        try:
            objective(number, settings, PipeTeller(connection))
            connection.send(Done())
        except TrialEndedError:
            pass
        except HopelessError as error:
            connection.send(Failed(str(error), is_hopeless=True))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # whatever it is, it is what became of the trial
            connection.send(Failed(first_line(error), is_hopeless=False))
    except (EOFError, OSError):
        pass  # nobody listens any more
    finally:
        connection.close()


def _be_a_process(connection: Connection, objective: Objective, number: int, settings: Settings) -> None:
    threading.Thread(target=_end_with_the_search, name="end-with-the-search", daemon=True).start()
    # What a training prints is a line every other second; the search has a line for each epoch of all of them.
    os.environ.pop(PROGRESS_FILE, None)
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  until the process ends
    run(connection, objective, number, settings)


def _end_with_the_search() -> None:
    """Wait for the end of the search, whatever ends it, and go: nobody would hear of another epoch."""
    search = multiprocessing.parent_process()
    if search is not None:
        wait([search.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
