"""The search as a Katib Experiment: begins it or finds it, follows it, writes down its Trials, and ends it.

What is over stands in the same journal as with Optuna, so a search that is gone on with may take either.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from include.classifier.cluster.api import ClusterError, UnreachableError
from include.classifier.cluster.waiting import ends_with_the_run, patiently
from include.classifier.progress import duration, report
from include.classifier.search.budget import Budget
from include.classifier.search.katib.cluster import Katib
from include.classifier.search.katib.experiment import QUESTION, experiment, name_of
from include.classifier.search.katib.job import has_task
from include.classifier.search.katib.outcomes import TRIAL, ended_experiment, ended_trial, told_by
from include.classifier.search.searching import MOST_FAILURES, Search, SearchError, best_of
from include.classifier.search.trials import EndedTrial
from include.contracts.search.document import PRESENT
from include.contracts.search.settings import Space


@dataclass
class KatibSearch:
    """Runs a search with Katib.

    :param folder: URI of the search.
    :param question: digest of what is searched.
    :param poll: seconds between two looks.
    """

    katib: Katib
    name: str
    folder: str
    question: str
    space: Space
    poll: float = 10.0

    def run(self, search: Search) -> str:
        """Search until the budget is used up, and return what ended it: ``trials``, ``minutes`` or ``space``.

        The present settings are trained here, before there is an Experiment: what all trials would fail of, the data,
        the store or the image, is found out by one, and their answers are what the others are compared with.

        :raises SearchError: when trials fail for other reasons than their settings, or Katib gives up.
        """
        config = search.config
        replace(search, config=config.model_copy(update={"trials": 1, "parallel": 1})).run()
        budget = Budget(config.trials, config.minutes * 60, search.journal.seconds, search.clock)
        with ends_with_the_run(self._end):
            ended_by = budget.ended_by(len(search.journal.trials))
            if not ended_by:
                self._begin(search, budget)
                ended_by = self._follow(search, budget)
        self._delete()
        return ended_by

    def _begin(self, search: Search, budget: Budget) -> None:
        """Make the Experiment, or find the one of an earlier try; never a second."""
        while True:
            found = self._patiently(lambda: self.katib.find(self.name))
            if found is None:
                left = budget.trials - len(search.journal.trials)
                pod, seconds = self._patiently(self.katib.own_pod), max(0.0, budget.seconds - budget.used)
                body = self._body(search, pod, trials=left, seconds=seconds)
                if self._patiently(lambda body=body: self.katib.create(body)):
                    side_by_side = body["spec"]["parallelTrialCount"]
                    report(f"search: Experiment {self.name} of Katib, {left} trials, {side_by_side} at a time")
                    return
                continue  # somebody was faster, or the answer to an earlier request was lost
            metadata = found["metadata"]
            if not metadata.get("deletionTimestamp"):
                if (metadata.get("annotations") or {}).get(QUESTION) != self.question:
                    raise SearchError(
                        f"Experiment {self.name} in namespace {self.katib.namespace} searches something else. Delete "
                        "it, or start another search."
                    )
                report(f"search: goes on with Experiment {self.name} of Katib")
                return
            self._wait()  # the one of an earlier try is being deleted

    def why_not(self, search: Search) -> str:
        """Return why Katib cannot run this search, in words; empty when it can. Nothing is made.

        :raises SearchError: when the server is away, and Katib may be at this search already.
        """
        try:
            self._look(search)
        except UnreachableError as error:
            if not has_task(self.folder):
                return str(error)
            self._patiently(self.katib.is_served)
            return self.why_not(search)
        except ClusterError as error:
            return str(error)
        return ""

    def _look(self, search: Search) -> None:
        if not self.katib.is_served():
            raise ClusterError("the cluster has no Katib")
        self.katib.find(self.name)
        self.katib.trials(self.name)
        body = self._body(search, self.katib.own_pod(), trials=search.config.trials, seconds=0.0)
        self.katib.create(body, is_real=False)

    def _body(self, search: Search, pod: Mapping[str, Any], *, trials: int, seconds: float) -> dict[str, Any]:
        return experiment(
            self.name,
            config=search.config,
            space=self.space,
            folder=self.folder,
            question=self.question,
            pod=pod,
            trials=trials,
            # Half of them may be hopeless; three in a row that fail for other reasons end it before.
            failures=max(MOST_FAILURES, (trials + 1) // 2),
            seconds=seconds,
        )

    def _follow(self, search: Search, budget: Budget) -> str:
        seen = ""
        while True:
            found = self._patiently(lambda: self.katib.find(self.name))
            if found is None:
                raise SearchError(
                    f"Experiment {self.name} was deleted from outside. What is over is kept: go on with the same "
                    "search."
                )
            ended_by, words = ended_experiment(found)
            is_late = not ended_by and budget.is_late
            trials = self._patiently(lambda: self.katib.trials(self.name))
            self._write_down(search, budget, trials, is_late=is_late)
            if ended_by == "failed":
                self._delete()
                raise SearchError(f"Katib's Experiment {self.name} failed ({words}).{_reasons(search)}")
            if ended_by:
                report(f"search: Experiment {self.name} is over ({words})")
                return ended_by
            if is_late:
                return "minutes"
            if (now := self._in_words(found, search, budget)) != seen:
                report(f"search: {now}")
                seen = now
            self._wait()

    def _write_down(
        self, search: Search, budget: Budget, trials: list[dict[str, Any]], *, is_late: bool = False
    ) -> None:
        """Take the Trials that are over and stand not in the journal yet."""
        journal = search.journal
        for trial in trials:
            known = {each.memory.get(TRIAL) for each in journal.trials}
            name, taken = str(trial["metadata"]["name"]), {each.number for each in journal.trials}
            if name in known:
                continue
            number = next(number for number in range(len(taken) + 1) if number not in taken)
            metric = search.config.objective
            ended = ended_trial(trial, number, metric=metric, space=self.space, told=None, is_late=is_late)
            if ended is None:
                continue
            told = told_by(self.folder, name)
            ended = ended_trial(trial, number, metric=metric, space=self.space, told=told, is_late=is_late) or ended
            if ended.settings:
                search.proposals.add(ended)
            journal.add(ended, seconds=budget.used)
            value = "" if ended.value is None else f", {metric} {ended.value:.4f}"
            why = f" ({ended.reason})" if ended.reason else ""
            report(f"search: trial {ended.number} {ended.state}{value}{why}")
            self._check_failures(journal.trials)

    def _check_failures(self, trials: list[EndedTrial]) -> None:
        last = trials[-MOST_FAILURES:]
        if len(last) == MOST_FAILURES and all(each.state == "failed" and not each.is_hopeless for each in last):
            self._delete()
            raise SearchError(
                f"Trial {last[-1].number} failed, and not because of its settings: {last[-1].reason}. What is over is "
                "kept: go on with the same search when that is mended."
            )

    def _in_words(self, found: Mapping[str, Any], search: Search, budget: Budget) -> str:
        status, over = found.get("status") or {}, search.journal.trials
        took = [trial.seconds for trial in over if trial.seconds]
        left = budget.left(len(over), took, parallel=search.config.parallel)
        best = best_of(over, search.config)
        words = [
            f"{len(over)} of {budget.trials} trials over",
            f"{int(status.get('trialsRunning') or 0)} running, {int(status.get('trialsPending') or 0)} waiting",
        ]
        if best is not None and best.value is not None:
            words.append(f"best so far {best.value:.4f} (trial {best.number})")
        # In whole minutes, so that the line does not change with each look.
        if left is not None:
            words.append(f"about {duration(60 * round(left / 60))} left")
        return "; ".join(words)

    def _patiently(self, call: Any) -> Any:
        """Return what a call returns, once the server answers.

        :raises SearchError: when it refuses, or is away for half an hour. The Experiment is left: a retry follows it.
        """
        try:
            return patiently(call, wait=self._wait)
        except UnreachableError as error:
            raise SearchError(f"Experiment {self.name}: {error}. A retry goes on with it.") from None
        except ClusterError as error:
            raise SearchError(f"Experiment {self.name}: {error}.") from None

    def _wait(self) -> None:
        threading.Event().wait(self.poll)

    def _delete(self) -> None:
        """Delete the Experiment. Where the server does not answer, it goes with its owner."""
        with suppress(ClusterError):
            self.katib.delete(self.name)

    def _end(self) -> None:
        report(f"search: told to end; deletes Experiment {self.name}")
        self._delete()


def _reasons(search: Search) -> str:
    failed = [trial for trial in search.journal.trials if trial.state == "failed" and trial.number != PRESENT]
    return "".join(f" Trial {trial.number}: {trial.reason}." for trial in failed[:3])


def engine(
    search: Search, *, search_id: str, folder: str, question: str, space: Space, katib: Katib | None = None
) -> KatibSearch | None:
    """Return Katib's way to run a search; ``None`` where Optuna runs it, which a line then says.

    :raises SearchError: where only Katib was asked for, and cannot be had.
    """
    asked = search.config.engine
    if asked == "optuna":
        return None
    katib = katib or Katib()
    ours = KatibSearch(katib, name_of(search_id, folder), folder, question, space)
    if search.config.early_stop == "halving":
        why = "Katib knows no early stop by halving"
    elif not katib.is_in_a_pod:
        why = "this is no pod of a cluster"
    else:
        why = ours.why_not(search)
    if not why:
        return ours
    if asked == "katib":
        raise SearchError(f"search.engine is katib, but {why}. Mend that, or let the search take auto or optuna.")
    report(f"search: Optuna, in this process: {why}")
    return None
