"""A training that was broken off goes on at the exact step, and ends with the weights that it would have had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from include.classifier.tracking import Tracker
from include.classifier.training.checkpoints import resuming
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.fine_tuning import Training, train_on
from include.classifier.training.rows import RowsInMemory
from include.contracts.settings import TrainingConfig
from tests.classifier.training.small_trainings import CLASSES, LABELS, TEXTS, settings

pytestmark = pytest.mark.computes

IDENTITY = {"settings": "those", "data": "these"}


class BrokenOff(BaseException):
    """The process ends here."""


def run(folder: Path, how: TrainingConfig, store: Path | None = None, *, identity: dict[str, str] = IDENTITY) -> dict:
    checkpoints = Checkpoints(str(store), identity, every_seconds=how.checkpoint_minutes * 60) if store else None
    training = Training(
        rows=RowsInMemory(TEXTS, CLASSES),
        labels=LABELS,
        settings=how,
        model_dir=folder,
        tracker=Tracker(),
        checkpoints=checkpoints,
    )
    return train_on(training)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The steps that are trained from here on."""
    return Steps(monkeypatch)


class Steps:
    """Counts the steps of the optimiser, and breaks a training off after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[int] = []
        self.last = 0
        ends = resuming.KeepState.on_step_end

        def count(keep: resuming.KeepState, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.done.append(state.global_step)
            ends(keep, args, state, control, **kwargs)
            if state.global_step == self.last:
                raise BrokenOff

        monkeypatch.setattr(resuming.KeepState, "on_step_end", count)

    def break_off_after(self, step: int) -> None:
        self.last = step


@pytest.mark.parametrize(
    ("step", "accumulation"),
    [
        pytest.param(3, 1, marks=pytest.mark.long, id="first-epoch"),
        pytest.param(6, 1, marks=pytest.mark.long, id="last-of-an-epoch"),
        pytest.param(8, 1, marks=pytest.mark.long, id="second-epoch"),
        pytest.param(8, 4, id="several-passes"),
    ],
)
def test_it_ends_with_the_weights_of_one_that_was_not_broken_off(
    tmp_path: Path, steps: Steps, step: int, accumulation: int
) -> None:
    how = settings("scratch", gradient_accumulation=accumulation, epochs=2)  # It has dropout.
    run(tmp_path / "whole", how)
    whole, steps.done = steps.done, []

    steps.break_off_after(step)
    with pytest.raises(BrokenOff):
        run(tmp_path / "broken-off", how, tmp_path / "store")
    steps.break_off_after(0)
    facts = run(tmp_path / "model", how, tmp_path / "store")

    weights = "model.safetensors"
    assert (tmp_path / "model" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    # The state of an epoch's last step is written when the epoch has been judged, which it had not been.
    again = 1 if step == 6 else 0
    assert steps.done == [*whole[:step], *whole[step - again :]]
    assert facts["began_at_steps"] == [0, step - again]


def test_what_is_trained_is_not_trained_again(tmp_path: Path, steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    facts = run(tmp_path / "model", settings("scratch", epochs=1), tmp_path / "store")
    steps.done = []

    assert run(tmp_path / "again", settings("scratch", epochs=1), tmp_path / "store") == facts
    assert steps.done == []
    assert "is trained already" in capsys.readouterr().out
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "model" / "model.safetensors"
    ).read_bytes()
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(
        path.name for path in (tmp_path / "model").iterdir()
    )


def test_two_states_are_kept_and_none_of_them_once_the_model_is(tmp_path: Path, steps: Steps) -> None:
    steps.break_off_after(4)
    with pytest.raises(BrokenOff):
        run(tmp_path / "model", settings("scratch", epochs=1), tmp_path / "store")
    names = sorted(path.name.rpartition("-")[0] or path.name for path in (tmp_path / "store").iterdir())
    assert names == ["checkpoint.json", "step-3", "step-4"]

    steps.break_off_after(0)
    run(tmp_path / "model", settings("scratch", epochs=1), tmp_path / "store")
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "store").iterdir()) == [
        "finished",
        "finished.json",
    ]


def test_a_training_of_seconds_leaves_nothing(tmp_path: Path) -> None:
    facts = run(tmp_path / "model", settings("scratch", checkpoint_minutes=10, epochs=0.2), tmp_path / "store")

    assert not (tmp_path / "store").exists()
    assert "began_at_steps" not in facts


def test_a_training_with_other_settings_begins_anew_and_says_why(
    tmp_path: Path, steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.break_off_after(2)
    with pytest.raises(BrokenOff):
        run(tmp_path / "model", settings("scratch"), tmp_path / "store")
    steps.last, steps.done = 0, []

    run(tmp_path / "model", settings("scratch", epochs=1), tmp_path / "store", identity={**IDENTITY, "data": "others"})

    assert steps.done[0] == 1
    assert "is of a training with other data, so this one begins anew" in capsys.readouterr().out


def test_a_state_that_was_damaged_is_left_for_the_one_before_it(
    tmp_path: Path, steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.break_off_after(4)
    with pytest.raises(BrokenOff):
        run(tmp_path / "model", settings("scratch"), tmp_path / "store")
    (newest,) = (tmp_path / "store").glob("step-4-*")
    newest.write_bytes(newest.read_bytes()[:-1])
    steps.last, steps.done = 5, []

    with pytest.raises(BrokenOff):
        run(tmp_path / "model", settings("scratch"), tmp_path / "store")

    assert steps.done[0] == 4
    assert f"{newest.name} in" in capsys.readouterr().out


class Trap:
    """Runs code where it is loaded as whatever it is."""

    def __reduce__(self) -> Any:
        return eval, ("1/0",)


def test_a_state_is_loaded_as_tensors_and_nothing_else(
    tmp_path: Path, steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    steps.break_off_after(2)
    with pytest.raises(BrokenOff):
        run(tmp_path / "model", settings("scratch"), tmp_path / "store")
    for file in (tmp_path / "store").glob("step-*"):
        assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == []
    torch.save({"weights": Trap()}, tmp_path / "trap")
    spoiled = Checkpoints(str(tmp_path / "store"), IDENTITY, every_seconds=0)
    spoiled.take_over(tmp_path)
    spoiled.save(tmp_path / "trap", step=3, epoch=0.5, seconds=1)
    steps.done = []

    with pytest.raises(BrokenOff):
        run(tmp_path / "model", settings("scratch"), tmp_path / "store")
    assert steps.done == [1, 2]
    assert "is no state (UnpicklingError" in capsys.readouterr().out


def test_a_store_that_cannot_be_written_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: Any, **kwargs: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "_put", full)
    run(tmp_path / "model", settings("scratch", epochs=0.4), tmp_path / "store")

    assert (tmp_path / "model" / "model.safetensors").exists()
    assert "the state of step 1 could not be kept (OSError" in capsys.readouterr().out
