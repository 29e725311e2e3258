"""A search finds what is better, ends what is hopeless, and goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from include.classifier.data.problems import DataError
from include.classifier.search.findings import findings
from include.classifier.search.journal import FILE
from include.classifier.search.searching import SearchError, best_of
from tests.classifier.search.stub import PRESENT, SPACE, TRUTH, Stub, search, skill

pytestmark = pytest.mark.computes  # Optuna's evaluation of importance imports scikit-learn


def found(run) -> dict:  # type: ignore[no-untyped-def]
    return findings(
        run.journal.trials,
        config=run.config,
        space=SPACE,
        truth=TRUTH,
        n_classes=2,
        confidence=0.95,
        importance=run.proposals.importance(),
        resamples=1000,
    )


def test_present_settings_that_are_bad_are_found_out_and_better_ones_shown(tmp_path: Path) -> None:
    run = search(tmp_path, trials=20, early_stop="none")

    assert run.run() == "trials"
    trials = run.journal.trials
    assert [trial.number for trial in trials] == list(range(20))
    assert trials[0].settings == PRESENT
    assert trials[0].value == pytest.approx(skill(PRESENT))
    best = best_of(trials, run.config)
    assert best is not None and best.value is not None and best.value > 0.85
    outcome = found(run)
    assert outcome["best"] == best.number
    assert outcome["is_better"] and outcome["is_shown"]
    change = outcome["trials"][best.number]["difference"]
    assert 0 < change["low"] < change["difference"] < change["high"]
    assert outcome["importance"]["learning_rate"] > 0.5


def test_present_settings_that_are_good_stay(tmp_path: Path) -> None:
    good = {"learning_rate": 1e-3, "batch_size": 8}
    run = search(tmp_path, present=good, early_stop="none")
    run.run()

    outcome = found(run)
    assert (outcome["best"], outcome["is_better"], outcome["is_shown"]) == (0, False, False)


def test_present_settings_may_lie_outside_of_what_is_searched(tmp_path: Path) -> None:
    run = search(tmp_path, present={"learning_rate": 1e-7, "batch_size": 24}, trials=10, early_stop="none")
    run.run()

    assert run.journal.trials[0].settings == {"learning_rate": 1e-7, "batch_size": 24}
    assert all(trial.settings["batch_size"] in (8, 16) for trial in run.journal.trials[1:])
    assert found(run)["importance"]


@pytest.mark.parametrize("early_stop", ["median", "halving"])
def test_hopeless_trials_end_early_and_the_present_settings_never_do(tmp_path: Path, early_stop: str) -> None:
    run = search(tmp_path, objective=Stub(epochs=9), trials=20, early_stop=early_stop)
    run.run()

    pruned = [trial for trial in run.journal.trials if trial.state == "pruned"]
    assert len(pruned) >= 3
    assert all(trial.epochs < 9 and "worse than others" in trial.reason for trial in pruned)
    best = best_of(run.journal.trials, run.config)
    assert best is not None and max(skill(trial.settings) for trial in pruned) < skill(best.settings)
    assert run.journal.trials[0].state == "finished"


def test_what_was_cut_off_goes_on_as_it_would_have_gone_on(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "in-parts").mkdir()
    whole = search(tmp_path / "whole", trials=12)
    whole.run()
    for trials in (3, 8, 12):
        part = search(tmp_path / "in-parts", trials=trials, early_stop="median")
        # What is drawn at random at first depends on the number of trials: as if it had been killed.
        part.proposals._config = whole.config
        part.run()

    assert [(each.settings, each.value) for each in part.journal.trials] == [
        (each.settings, each.value) for each in whole.journal.trials
    ]


def test_a_finished_trial_is_never_trained_again(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    search(tmp_path, objective=Stub(marks=marks), trials=5).run()
    search(tmp_path, objective=Stub(marks=marks), trials=9).run()

    begun = sorted(int(mark.name.split("-")[1]) for mark in marks.glob("begun-*"))
    assert begun == list(range(9))


def test_a_search_for_something_else_is_refused(tmp_path: Path) -> None:
    search(tmp_path, trials=2).run()

    with pytest.raises(DataError, match="was begun with other data, settings, bounds or seed"):
        search(tmp_path, question="another")


def test_trials_that_cannot_be_read_are_no_reason_to_train_them_again(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")

    with pytest.raises(DataError, match="cannot be read as the trials of a search"):
        search(tmp_path)


def test_settings_that_diverge_teach_the_search_and_end_nothing(tmp_path: Path) -> None:
    run = search(tmp_path, objective=Stub(diverges_above=3e-3), trials=20, early_stop="none")
    run.run()

    failed = [trial for trial in run.journal.trials if trial.state == "failed"]
    assert failed and all(trial.reason == "The loss became nan" and trial.value is None for trial in failed)
    first, last = run.journal.trials[:10], run.journal.trials[10:]
    assert sum(trial.state == "failed" for trial in last) <= sum(trial.state == "failed" for trial in first)


def test_present_settings_that_diverge_are_compared_with_nothing(tmp_path: Path) -> None:
    run = search(tmp_path, objective=Stub(diverges_above=5e-2), present={"learning_rate": 0.1, "batch_size": 8})
    run.run()

    outcome = found(run)
    assert outcome["trials"][0]["state"] == "failed"
    assert outcome["is_better"] and not outcome["is_shown"]
    assert all(trial["difference"] is None for trial in outcome["trials"])


def test_one_trial_that_fails_by_itself_is_left_out_and_tried_by_the_next_run(tmp_path: Path) -> None:
    run = search(tmp_path, objective=Stub(breaks=(2,)), trials=5)
    run.run()
    assert [trial.state == "failed" for trial in run.journal.trials] == [False, False, True, False, False]
    assert run.journal.trials[2].reason == "OSError: the disk is full"

    again = search(tmp_path, trials=5)
    again.run()
    assert sorted(trial.number for trial in again.journal.trials) == list(range(5))
    assert all(trial.state != "failed" for trial in again.journal.trials)


@pytest.mark.parametrize(("breaks", "number"), [((0,), 0), ((2, 3, 4), 4)])
def test_what_fails_again_and_again_is_no_matter_of_settings(
    tmp_path: Path, breaks: tuple[int, ...], number: int
) -> None:
    with pytest.raises(SearchError, match=f"Trial {number} failed, and not because of its settings: OSError: the disk"):
        search(tmp_path, objective=Stub(breaks=breaks)).run()


class Clock:
    """A minute goes by with each look at it."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_when_the_time_is_up_no_trial_begins_and_the_present_settings_are_trained_all_the_same(tmp_path: Path) -> None:
    run = search(tmp_path, minutes=1, clock=Clock(100))

    assert run.run() == "minutes"
    assert [(trial.number, trial.state) for trial in run.journal.trials] == [(0, "finished")]
    assert run.journal.seconds >= 60


def test_a_trial_under_way_ends_with_its_epoch_when_the_time_is_up(tmp_path: Path) -> None:
    late = search(tmp_path, minutes=60, objective=Stub(epochs=50), early_stop="none", clock=Clock(10))

    assert late.run() == "minutes"
    last = late.journal.trials[-1]
    assert (last.state, last.reason) == ("pruned", "the time of the search was up")
    assert 0 < last.epochs < 50


def test_a_small_space_is_used_up_without_training_anything_twice(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from include.contracts.search.settings import Values
    from tests.classifier.search import stub

    few = {"learning_rate": Values(choices=[1e-4, 1e-3]), "batch_size": Values(choices=[8, 16])}
    monkeypatch.setattr(stub, "SPACE", few)
    marks = tmp_path / "marks"
    marks.mkdir()
    present = {"learning_rate": 1e-4, "batch_size": 8}
    run = search(tmp_path, objective=Stub(marks=marks), present=present, trials=100, early_stop="none")

    assert run.run() == "space"
    assert len(list(marks.glob("begun-*"))) <= 4
    assert {trial.same_as is None for trial in run.journal.trials} == {True, False}


def test_several_trials_at_a_time_each_have_a_number_of_their_own(tmp_path: Path) -> None:
    run = search(tmp_path, trials=9, parallel=3, early_stop="none")
    run.run()

    assert sorted(trial.number for trial in run.journal.trials) == list(range(9))
    assert run.journal.trials[0].number == 0  # what the others are compared with is there first
    assert all(len(trial.course) == 3 for trial in run.journal.trials)


def test_the_journal_keeps_answers_as_they_were(tmp_path: Path) -> None:
    run = search(tmp_path, trials=3, early_stop="none")
    run.run()

    again = search(tmp_path, trials=3).journal.trials
    for before, after in zip(run.journal.trials, again, strict=True):
        assert np.array_equal(before.predicted, after.predicted)
        assert (before.settings, before.course, before.value) == (after.settings, list(after.course), after.value)
    assert json.loads((tmp_path / FILE).read_text())["seconds"] >= 0


def test_without_one_finished_trial_nothing_is_found(tmp_path: Path) -> None:
    run = search(tmp_path, objective=Stub(diverges_above=0.0), trials=3)
    run.run()

    with pytest.raises(SearchError, match="No trial was finished \\(trial 0: The loss became nan"):
        found(run)


def test_less_loss_is_better(tmp_path: Path) -> None:
    loss = search(tmp_path, trials=12, early_stop="none", judge="log_loss")
    loss.run()

    best = best_of(loss.journal.trials, loss.config)
    assert best is not None and best.value == min(trial.value for trial in loss.journal.trials)
    assert found(loss)["is_shown"]
