"""What a trial's Job prints for Katib's collector, and writes down for the search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from include.classifier.search.katib.job import has_task, run, write_task
from include.classifier.search.katib.outcomes import told_by
from include.classifier.search.objective import TrainingObjective
from include.classifier.search.trials import TrialEndedError
from include.contracts.search.settings import SearchConfig
from include.contracts.settings import TrainingConfig
from tests.classifier.search.stub import SPACE, Stub, epoch

#: What Katib's collector reads lines with (``DefaultFilter`` of pkg/metricscollector/v1beta1/common).
COLLECTED = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")
ASSIGNED = {"learning_rate": "0.001", "batch_size": "8"}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    objective = TrainingObjective(
        dataset_uri="file:///nowhere/dataset.json",
        model="reviews",
        search="20261130090000",
        training=TrainingConfig(),
        validation_share=0.2,
        seed=0,
    )
    assert not has_task(tmp_path.as_uri())
    write_task(tmp_path.as_uri(), objective, SearchConfig(space=SPACE), rows=100)
    assert has_task(tmp_path.as_uri())
    return tmp_path.as_uri()


def test_each_epoch_is_a_line_that_katib_reads_and_a_file(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "t-1", ASSIGNED, objective=lambda name, *told: Stub(epochs=3)(1, *told)) == 0

    lines = capsys.readouterr().out.splitlines()
    read = [COLLECTED.findall(line) for line in lines]
    told = told_by(folder, "t-1")
    assert told is not None
    assert [[(name, float(value)) for name, value, *_ in each] for each in read] == [
        [("macro_f1", value)] for value in told.course
    ]
    assert lines == sorted(lines)  # the time comes first
    assert (told.epochs, told.value, told.settings) == (3, told.course[-1], {"learning_rate": 0.001, "batch_size": 8})
    assert told.predicted is not None
    assert told.tracking_run_id == "run-1"


def test_settings_that_cannot_be_trained_with_are_said_to_be_the_reason(folder: str) -> None:
    assert run(folder, "t-2", ASSIGNED, objective=lambda name, *told: Stub(diverges_above=1e-4)(1, *told)) == 1

    told = told_by(folder, "t-2")
    assert told is not None
    assert (told.state, told.is_hopeless, told.reason) == ("failed", True, "The loss became nan")


def test_another_failure_is_raised_and_written_down(folder: str) -> None:
    def breaks(*_: Any) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run(folder, "t-3", ASSIGNED, objective=breaks)

    told = told_by(folder, "t-3")
    assert told is not None
    assert (told.is_hopeless, told.reason) == (False, "OSError: the disk is full")


def test_a_trial_that_katib_ends_early_is_no_success_and_keeps_what_it_told(folder: str) -> None:
    def ended(name: str, settings: Any, teller: Any) -> None:
        teller.epoch(epoch(1, 0.5))
        raise TrialEndedError

    assert run(folder, "t-4", ASSIGNED, objective=ended) == 143

    told = told_by(folder, "t-4")
    assert told is not None
    assert (told.epochs, told.reason) == (1, "")


def test_what_cannot_be_read_is_as_if_it_had_told_nothing(folder: str, tmp_path: Path) -> None:
    assert told_by(folder, "never") is None
    (tmp_path / "katib" / "broken.json").write_text("{")
    assert told_by(folder, "broken") is None
