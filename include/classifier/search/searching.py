"""The search itself: begins trials, listens to them, ends the hopeless ones, and writes down what is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from include.classifier.progress import duration, report
from include.classifier.search.budget import Budget
from include.classifier.search.journal import Journal
from include.classifier.search.proposals import Proposals
from include.classifier.search.trials import (
    END,
    GO_ON,
    Begun,
    Course,
    Done,
    EndedTrial,
    Failed,
    Objective,
    State,
)
from include.classifier.training.epochs import Epoch
from include.contracts.search.document import PRESENT, Settings
from include.contracts.search.settings import SearchConfig

#: So many trials in a row that failed for another reason than their settings end the search.
MOST_FAILURES = 3

_LONGEST_REASON = 500
_TIME_IS_UP = "the time of the search was up"


class SearchError(RuntimeError):
    """The search cannot go on, or has found nothing; the message says why."""


class RunningTrial(Protocol):
    """A trial that is under way."""

    number: int
    connection: Connection
    began: float

    def close(self) -> int | None:
        """Make sure that it is over, and return its exit code."""


Start = Callable[[Objective, int, Settings], RunningTrial]


@dataclass
class _Listened:
    """A trial that is under way, and what it has told."""

    running: RunningTrial
    settings: Settings
    course: Course
    tracking_run_id: str | None = None
    state: State = "finished"
    reason: str = ""
    is_hopeless: bool = False
    is_over: bool = False


@dataclass
class Search:
    """A search.

    :param objective: trains; see :data:`.trials.Objective`.
    :param start: starts a trial, for example :func:`.processes.start`.
    :param present: the present settings, those that are searched.
    :param keeps_best: settings -> whether a training with them is chosen an epoch of by the held-out rows.
    :param abandoned: is told of the MLflow run of a trial that could not close it itself.
    """

    config: SearchConfig
    objective: Objective
    start: Start
    proposals: Proposals
    journal: Journal
    present: Settings
    keeps_best: Callable[[Settings], bool]
    abandoned: Callable[[str], None] = lambda run_id: None
    clock: Callable[[], float] = time.monotonic
    _running: dict[int, _Listened] = field(default_factory=dict)
    _failures: int = 0

    def run(self) -> str:
        """Search until the budget is used up, and return what ended it: ``trials``, ``minutes`` or ``space``.

        :raises SearchError: when trials fail for other reasons than their settings.
        """
        # What failed for another reason than its settings is tried again.
        self.journal.trials = [each for each in self.journal.trials if each.state != "failed" or each.is_hopeless]
        for trial in self.journal.trials:
            self.proposals.add(trial)
        if self.journal.trials:
            report(f"search: goes on after {len(self.journal.trials)} trials that are over")
        config = self.config
        self._budget = Budget(config.trials, config.minutes * 60, self.journal.seconds, self.clock)
        try:
            while True:
                while len(self._running) < self._allowed() and self._begin():
                    pass
                if not self._running:
                    return self._budget.ended_by(self._begun)
                by_connection = {each.running.connection: each for each in self._running.values()}
                for connection in wait(list(by_connection)):
                    self._listen(by_connection[connection])  # type: ignore[index]
        finally:
            for each in self._running.values():
                each.running.close()

    @property
    def _begun(self) -> int:
        return len(self._running) + len(self.journal.trials)

    def _allowed(self) -> int:
        """Return how many trials may be under way: the present settings go first, and nothing before them is of use."""
        is_known = any(trial.number == PRESENT for trial in self.journal.trials)
        return self.config.parallel if is_known else 1

    def _begin(self) -> bool:
        """Begin the next trial, if there may be one."""
        taken = {trial.number for trial in self.journal.trials} | set(self._running)
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        if number != PRESENT and self._budget.ended_by(self._begun):
            return False
        settings = self.proposals.propose(number)
        if (same := self._tried_before(number, settings)) is not None:
            self._budget.repeated += 1
            self._end_untrained(number, settings, same)
            return True
        self._budget.repeated = 0
        self._running[number] = _Listened(
            self.start(self.objective, number, settings),
            settings,
            Course(self.keeps_best(settings), self.config.objective),
        )
        report(f"search: trial {number}, {_in_words(settings)}{self._left()}")
        return True

    def _tried_before(self, number: int, settings: Settings) -> EndedTrial | None:
        if number == PRESENT:
            return None
        return next(
            (trial for trial in self.journal.trials if trial.settings == settings and trial.state == "finished"), None
        )

    def _end_untrained(self, number: int, settings: Settings, same: EndedTrial) -> None:
        """A training is the same for the same settings: another one would tell nothing."""
        self._write_down(EndedTrial(number, "finished", settings, value=same.value, same_as=same.number))

    def _listen(self, trial: _Listened) -> None:
        try:
            said = trial.running.connection.recv()
        except (EOFError, OSError):
            self._end(trial)
            return
        if isinstance(said, Begun):
            trial.tracking_run_id = said.tracking_run_id
        elif isinstance(said, Epoch):
            self._take_epoch(trial, said)
        elif isinstance(said, Failed):
            trial.state, trial.reason, trial.is_hopeless = "failed", said.reason, said.is_hopeless
            trial.is_over = True
        elif isinstance(said, Done):
            trial.is_over = True

    def _take_epoch(self, trial: _Listened, epoch: Epoch) -> None:
        number = trial.running.number
        value = trial.course.add(epoch)
        report(f"search: trial {number}, epoch {epoch.number}: {self._title} {value:.4f}{self._so_far()}{self._left()}")
        if self.proposals.is_hopeless(number, len(trial.course.epochs), value):
            trial.state, trial.reason = "pruned", f"worse than others after epoch {epoch.number}"
        elif number != PRESENT and self._budget.is_late:
            trial.state, trial.reason = "pruned", _TIME_IS_UP
        trial.is_over = trial.state == "pruned"
        _answer(trial.running.connection, END if trial.is_over else GO_ON)

    def _end(self, trial: _Listened) -> None:
        """Write down what became of a trial whose process is gone."""
        number = trial.running.number
        exit_code = trial.running.close()
        if not trial.is_over:
            trial.state, trial.is_hopeless = "failed", exit_code == -9
            trial.reason = (
                "it was killed from outside, most likely because memory ran out"
                if trial.is_hopeless
                else f"its process ended without a word, with exit code {exit_code}"
            )
            if trial.tracking_run_id:
                self.abandoned(trial.tracking_run_id)
        elif trial.state == "finished" and not trial.course.epochs:
            trial.state, trial.reason = "failed", "it told of no epoch"
        del self._running[number]
        is_finished = trial.state == "finished"
        self._write_down(
            EndedTrial(
                number,
                trial.state,
                trial.settings,
                value=trial.course.value,
                epochs=trial.course.epochs[-1].number if trial.course.epochs else 0,
                seconds=round(time.monotonic() - trial.running.began, 3),
                reason=trial.reason[:_LONGEST_REASON],
                tracking_run_id=trial.tracking_run_id,
                is_hopeless=trial.is_hopeless,
                course=trial.course.values,
                predicted=trial.course.kept.predicted if is_finished else None,
            )
        )

    def _write_down(self, ended: EndedTrial) -> None:
        """Tell Optuna and the journal.

        :raises SearchError: when nothing can be learnt from trials any more.
        """
        memory = self.proposals.end(ended)
        self.journal.add(replace(ended, memory=memory), seconds=self._budget.used)
        value = "" if ended.value is None else f", {self._title} {ended.value:.4f}"
        why = f" ({ended.reason})" if ended.reason else ""
        again = f", as trial {ended.same_as}" if ended.same_as is not None else ""
        report(f"search: trial {ended.number} {ended.state}{again}{value}{why}{self._so_far()}{self._left()}")
        is_trouble = ended.state == "failed" and not ended.is_hopeless
        self._failures = self._failures + 1 if is_trouble else 0
        if is_trouble and (ended.number == PRESENT or self._failures >= MOST_FAILURES):
            raise SearchError(
                f"Trial {ended.number} failed, and not because of its settings: {ended.reason}. What is over is kept: "
                "go on with the same search when that is mended."
            )

    @property
    def _title(self) -> str:
        return "macro F1" if self.config.objective == "macro_f1" else "log loss"

    def _so_far(self) -> str:
        best = best_of(self.journal.trials, self.config)
        return f"; best so far {best.value:.4f} (trial {best.number})" if best is not None else ""

    def _left(self) -> str:
        took = [trial.seconds for trial in self.journal.trials if trial.same_as is None]
        left = self._budget.left(self._begun, took, parallel=self.config.parallel)
        over = f"; {len(self.journal.trials)} of {self.config.trials} over"
        return over + (f", about {duration(left)} left" if left is not None else "")


def best_of(trials: Sequence[EndedTrial], config: SearchConfig) -> EndedTrial | None:
    """Return the best finished trial, the first of equals; ``None`` where none is finished."""
    best: EndedTrial | None = None
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state != "finished" or trial.value is None or trial.same_as is not None:
            continue
        if best is None or best.value is None or config.is_better(trial.value, best.value):
            best = trial
    return best


def _answer(connection: Connection, word: Any) -> None:
    with suppress(OSError):  # it is gone, which the next look at it shows
        connection.send(word)


def _in_words(settings: Settings) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in settings.items())
