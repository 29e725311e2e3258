"""What is known of the trials of a search, and how a trial and its search speak to each other."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from include.classifier.metrics import Classes
from include.classifier.training.epochs import Epoch, kept
from include.contracts.search.document import Settings

State = Literal["finished", "pruned", "failed"]

#: What the search answers to an epoch.
GO_ON, END = "go on", "end"


class TrialEndedError(Exception):
    """The search wants no more of this trial."""


class HopelessError(Exception):
    """These settings cannot be trained with: the loss became no number, or memory ran out. The message says which."""


class Begun(NamedTuple):
    """A trial says that it trains.

    :param tracking_run_id: its MLflow run; ``None`` where none is tracked.
    """

    tracking_run_id: str | None


class Failed(NamedTuple):
    """A trial says why it ends before its time.

    :param is_hopeless: whether that is because of its settings.
    """

    reason: str
    is_hopeless: bool


class Done(NamedTuple):
    """A trial says that its training is over."""


class Teller(Protocol):
    """What a training tells its search by."""

    def begun(self, tracking_run_id: str | None) -> None:
        """Say that it trains, and where that can be seen."""

    def epoch(self, epoch: Epoch) -> None:
        """Say what an epoch has reached.

        :raises TrialEndedError: when the search wants no more of it.
        """


#: Trains with some settings, in a process of its own: number of the trial, settings, whom to tell.
Objective = Callable[[int, Settings, Teller], None]


@dataclass(frozen=True)
class EndedTrial:
    """A trial that is over.

    :param predicted: class indices of the held-out rows at the epoch that counts; ``None`` unless it was finished.
    :param course: value of the objective after each epoch.
    :param memory: what the pruner wants to know of it later.
    """

    number: int
    state: State
    settings: Settings
    value: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""
    same_as: int | None = None
    tracking_run_id: str | None = None
    is_hopeless: bool = False
    course: Sequence[float] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)
    predicted: Classes | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        found = {**vars(self), "course": list(self.course), "memory": dict(self.memory)}
        if self.predicted is not None:
            content = zlib.compress(self.predicted.astype("<i4").tobytes())
            found["predicted"] = base64.b64encode(content).decode("ascii")
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> EndedTrial:
        """Return what :meth:`as_json` has written."""
        values = dict(found)
        if values.get("predicted") is not None:
            content = zlib.decompress(base64.b64decode(values["predicted"]))
            values["predicted"] = np.frombuffer(content, dtype="<i4").astype(np.int64)
        return cls(**values)


@dataclass
class Course:
    """How far a trial has come.

    :param keeps_best: whether the held-out rows choose the epoch.
    :param objective: name of the figure that counts.
    """

    keeps_best: bool
    objective: Literal["macro_f1", "log_loss"]
    epochs: list[Epoch] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, epoch: Epoch) -> float:
        """Add an epoch, and return what the trial would be worth if this was the last."""
        self.epochs.append(epoch)
        self.values.append(float(getattr(self.kept, self.objective)))
        return self.values[-1]

    @property
    def kept(self) -> Epoch:
        """The epoch whose weights would be kept."""
        return kept(self.epochs, keeps_best=self.keeps_best)

    @property
    def value(self) -> float | None:
        """What the trial is worth so far; ``None`` before the first epoch."""
        return self.values[-1] if self.values else None
