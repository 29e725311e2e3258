"""Several processes train the model that one trains, whatever dies meanwhile.

The tolerance: weights differ by less than ``TOLERANCE`` after three epochs without dropout. What is left is rounding,
because the sum of a step's gradients is taken in another order, and AdamW divides by their size. On the machine that
this was written on it was 1.2e-7.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest

from include.classifier.serving.predictor import Predictor
from include.classifier.tracking import Tracker
from include.classifier.training.fine_tuning import train
from include.contracts.settings import TrainingConfig
from tests.classifier.training.small_trainings import (
    CLASSES,
    LABELS,
    TEXTS,
    largest_difference,
    settings,
    without_dropout,
)

# Each of them imports PyTorch and Transformers in two to four processes, some of them twice.
pytestmark = [pytest.mark.long, pytest.mark.processes]

ROOT = Path(__file__).parents[4]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base model without dropout."""
    return without_dropout(tmp_path_factory.mktemp("base") / "model")


#: The last epoch's weights are kept, or the best one's.
KEEPS = {"last": {"early_stopping_patience": 0}, "best": {"early_stopping_patience": 2}}


@pytest.fixture(scope="module")
def alone(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models that one process has trained, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("alone")
    for name, how in KEEPS.items():
        run(settings(base, **how), folder / name)
    return folder


def run(how: TrainingConfig, folder: Path) -> dict[str, Any]:
    return train(TEXTS, CLASSES, labels=LABELS, settings=how, model_dir=folder, tracker=Tracker())


Leader = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def leader(tmp_path: Path) -> Leader:
    """Starts a step that trains, and returns how it ended and what it said."""

    def start(how: TrainingConfig, *, dies: str = "nobody:0:0") -> subprocess.CompletedProcess[str]:
        arguments = [how.model_dump_json(), tmp_path / "model", tmp_path / "store", tmp_path / "facts.json"]
        command = [sys.executable, "-m", "tests.classifier.training.processes.leader", *map(str, arguments)]
        variables = {
            "PYTHONPATH": str(ROOT),
            "TRAINING_WORKER": "tests.classifier.training.processes.dying_worker",
            "LEDGER": str(tmp_path / "ledger"),
            "DIES": dies,
        }
        return subprocess.run(
            command, check=False, cwd=ROOT, env=os.environ | variables, text=True, stdout=PIPE, stderr=STDOUT
        )

    return start


def steps_of(folder: Path, rank: int) -> list[int]:
    lines = (folder / "ledger").read_text(encoding="utf-8").splitlines()
    return [int(line.split()[1]) for line in lines if line.split()[0] == str(rank)]


@pytest.mark.parametrize(
    ("processes", "accumulation", "keeps"), [(2, 1, "last"), (2, 1, "best"), (4, 1, "last"), (2, 2, "last")]
)
def test_they_train_what_one_process_trains(
    base: str, alone: Path, tmp_path: Path, processes: int, accumulation: int, keeps: str
) -> None:
    how = settings(base, processes=processes, gradient_accumulation=accumulation, **KEEPS[keeps])
    facts = run(how, tmp_path / "model")

    assert facts["epochs_run"] == 3
    assert facts["parameters"]["processes"] == processes
    assert largest_difference(tmp_path / "model", alone / keeps) < TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_with_dropout_they_learn_what_one_process_learns(tmp_path: Path) -> None:
    run(settings("scratch", processes=2, epochs=20, early_stopping_patience=0), tmp_path / "model")

    right = [
        prediction.label == LABELS[label]
        for prediction, label in zip(Predictor.load(tmp_path / "model").predict(TEXTS), CLASSES, strict=True)
    ]
    assert sum(right) / len(right) > 0.95


@pytest.mark.parametrize(("step", "again"), [(9, 0), (12, 1)], ids=["within-an-epoch", "at-the-end-of-one"])
def test_a_killed_process_costs_the_steps_since_the_last_state(
    base: str, alone: Path, tmp_path: Path, leader: Leader, step: int, again: int
) -> None:
    how = settings(base, processes=2, **KEEPS["last"])
    found = leader(how, dies=f"worker:1:{step}")

    assert found.returncode == 0, found.stdout
    # The state of an epoch's last step is written when the next one begins, which it had not.
    assert steps_of(tmp_path, 0) == [*range(1, step + 1), *range(step + 1 - again, 19)]
    assert json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))["began_at_steps"] == [0, step - again]
    assert largest_difference(tmp_path / "model", alone / "last") < TOLERANCE


def test_a_killed_leader_takes_its_processes_along_and_a_second_start_goes_on(
    base: str, alone: Path, tmp_path: Path, leader: Leader
) -> None:
    how = settings(base, processes=2, **KEEPS["last"])
    assert leader(how, dies="leader:0:9").returncode == -signal.SIGKILL
    assert steps_of(tmp_path, 0) == list(range(1, 10))

    found = leader(how)
    assert found.returncode == 0, found.stdout
    assert steps_of(tmp_path, 0) == list(range(1, 19))
    assert json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))["began_at_steps"] == [0, 9]
    assert largest_difference(tmp_path / "model", alone / "last") < TOLERANCE

    assert leader(how).returncode == 0
    assert steps_of(tmp_path, 0) == list(range(1, 19)), "what is trained was trained again"


def test_a_loss_that_is_no_number_in_one_of_them_ends_all_and_is_tried_once(
    base: str, tmp_path: Path, leader: Leader
) -> None:
    found = leader(settings(base, processes=2), dies="weights:1:9")

    assert found.returncode == 1
    assert "TrainingDivergedError: The loss became nan in step 10 of 18" in found.stdout
    assert found.stdout.count("rows to learn from") == 1
    assert not (tmp_path / "model" / "model.safetensors").exists()
