"""A training on a GPU is that of a processor, but for rounding; what is kept of it, and its processes, work there.

The tolerances, for a model without dropout after eighteen steps: in 32-bit floats no weight differs by more than
``WEIGHTS``, and no answer by more than ``ANSWERS``. Passes in 16 bits make another model of the same kind: it answers
``LEARNED`` of the rows that it was taught right, as one does that a processor has trained in 32 bits.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253  this file is about PyTorch

from benchmarks import gpu
from benchmarks.load import ROOT
from include.classifier.serving.predictor import Predictor
from include.classifier.tracking import Tracker
from include.classifier.training.checkpoints import resuming
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.fine_tuning import Training, train_on
from include.classifier.training.problems import HardwareError
from include.classifier.training.processes.launch import train_in_processes
from include.classifier.training.rows import RowsInMemory
from include.contracts.settings import TrainingConfig
from tests.classifier.training.small_trainings import CLASSES, LABELS, TEXTS, largest_difference, settings

pytestmark = pytest.mark.gpu

#: What a run on one machine does with each of its steps (include/pipelines/forked_steps.py).
FORK = """
import os, sys
from importlib import import_module
from include.classifier import steps
for name in (*steps.HEAVY_IMPORTS_OF_TRAINING, *steps.HEAVY_IMPORTS_AFTER_TRAINING):
    import_module(name)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
import torch
print(float(torch.ones(3, device=sys.argv[1]).sum()))
"""

WEIGHTS, ANSWERS, LEARNED = 1e-3, 5e-3, 0.95
#: The last epoch's weights are kept: rounding must not choose another epoch.
LAST = {"early_stopping_patience": 0}


def run(how: TrainingConfig, folder: Path, *, store: Path | None = None) -> dict[str, Any]:
    checkpoints = Checkpoints(str(store), {"of": "these tests"}, every_seconds=1e-9) if store else None
    training = Training(
        rows=RowsInMemory(TEXTS, CLASSES),
        labels=LABELS,
        settings=how,
        model_dir=folder,
        tracker=Tracker(),
        checkpoints=checkpoints,
    )
    return train_on(training)


def answers(model: Path) -> torch.Tensor:
    """Return what a model answers to the rows, on a processor: shape (rows, classes)."""
    predictor = Predictor.load(model, device="cpu")
    return torch.tensor(predictor.probabilities(predictor.tokenise(TEXTS).input_ids))


def computed_on(printed: str) -> tuple[str, str]:
    """Return device and precision of a training, as it says them."""
    found = re.search(r"train: computing on (\S+) in (\w+)", printed)
    assert found, printed
    return found[1], found[2]


def train_without_gpu(how: TrainingConfig, folder: Path) -> str:
    """Train where no GPU can be seen, in a process of its own, and return what it printed.

    :param folder: gets ``model`` and ``facts.json``; a state in ``store`` is gone on with.
    """
    arguments = [how.model_dump_json(), *(str(folder / name) for name in ("model", "store", "facts.json"))]
    done = subprocess.run(
        [sys.executable, "-m", "tests.classifier.training.processes.leader", *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def on_a_processor(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the same training on a processor."""
    folder = tmp_path_factory.mktemp("processor")
    printed = train_without_gpu(settings(base, mixed_precision="no", **LAST), folder)
    assert computed_on(printed) == ("cpu", "fp32")
    return folder / "model"


def test_in_32_bits_it_ends_with_the_weights_of_a_processor(
    base: str, on_a_processor: Path, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings(base, mixed_precision="no", **LAST), tmp_path / "model")

    assert computed_on(capsys.readouterr().out) == (device, "fp32")
    assert largest_difference(tmp_path / "model", on_a_processor) < WEIGHTS
    assert float((answers(tmp_path / "model") - answers(on_a_processor)).abs().max()) < ANSWERS


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_in_16_bits_it_learns_what_is_learned_in_32(
    device: str, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if precision == "fp16" and gpu.is_trial():
        pytest.skip("a processor does not compute in fp16")
    facts = run(settings("scratch", epochs=20, mixed_precision=precision, **LAST), tmp_path / "model")

    assert computed_on(capsys.readouterr().out) == (device, "fp32" if precision == "no" else precision)
    assert facts["parameters"]["mixed_precision"] == precision
    right = answers(tmp_path / "model").argmax(dim=1) == torch.tensor(CLASSES)
    assert float(right.float().mean()) > LEARNED


def test_it_computes_in_16_bits_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(settings("scratch", epochs=1), tmp_path / "model")

    assert computed_on(capsys.readouterr().out)[1] in (("fp32",) if gpu.is_trial() else ("bf16", "fp16"))


class BrokenOff(BaseException):
    """The process ends here."""


@contextmanager
def broken_off_after(step: int) -> Iterator[list[int]]:
    """Break the first training of the block off after a step; yields the steps of all of them."""
    ends, done = resuming.KeepState.on_step_end, list[int]()

    def break_off(keep: resuming.KeepState, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        done.append(state.global_step)
        ends(keep, args, state, control, **kwargs)
        if len(done) == step:
            raise BrokenOff

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resuming.KeepState, "on_step_end", break_off)
        yield done


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_one_that_was_broken_off_goes_on_at_its_step(
    base: str, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its random numbers on the GPU and the scaler of its loss are part of the state."""
    if precision == "fp16" and gpu.is_trial():
        pytest.skip("a processor does not compute in fp16")
    how = settings(base, mixed_precision=precision, **LAST)
    run(how, tmp_path / "whole")
    with broken_off_after(8) as done:
        with pytest.raises(BrokenOff):
            run(how, tmp_path / "model", store=tmp_path / "store")
        facts = run(how, tmp_path / "model", store=tmp_path / "store")

    assert done == list(range(1, 19))
    assert facts["began_at_steps"] == [0, 8]
    assert "goes on after step 8" in capsys.readouterr().out
    # Not to the bit: kernels of a GPU add in an order of their own.
    assert float((answers(tmp_path / "model") - answers(tmp_path / "whole")).abs().max()) < ANSWERS


def test_what_a_gpu_has_kept_is_gone_on_with_where_there_is_none(
    base: str, on_a_processor: Path, tmp_path: Path
) -> None:
    how = settings(base, mixed_precision="no", **LAST)
    with broken_off_after(8), pytest.raises(BrokenOff):
        run(how, tmp_path / "model", store=tmp_path / "store")
    train_without_gpu(how, tmp_path)

    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert facts["began_at_steps"] == [0, 8]
    assert float((answers(tmp_path / "model") - answers(on_a_processor)).abs().max()) < ANSWERS


def test_a_process_of_the_launcher_speaks_the_backend_of_its_device(
    base: str, device: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """NCCL lets no two processes have one GPU; with one GPU there is one process, which meets itself."""
    facts = in_processes(base, 1, tmp_path / "model")

    assert facts["epochs_run"] == 3
    assert computed_on(capfd.readouterr().out)[0] == device


def test_each_of_several_processes_has_a_gpu(base: str, on_a_processor: Path, tmp_path: Path) -> None:
    """With fewer GPUs than processes they are refused."""
    gpus = 2 if gpu.is_trial() else torch.cuda.device_count()
    if gpus < 2:
        with pytest.raises(HardwareError, match=f"{gpus + 1} processes need as many GPUs, and {gpus} of them"):
            in_processes(base, gpus + 1, tmp_path / "model")
        return
    in_processes(base, 2, tmp_path / "model")

    assert largest_difference(tmp_path / "model", on_a_processor) < WEIGHTS


def test_one_process_takes_one_gpu_of_several(
    base: str, on_a_processor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Trainer would share each batch out to all that it sees, and make it larger."""
    facts = run(settings(base, mixed_precision="no", **LAST), tmp_path / "model")

    assert "6 steps in an epoch" in capsys.readouterr().out
    assert facts["epochs_run"] == 3
    if not gpu.is_trial():
        others = range(1, torch.cuda.device_count())
        assert [torch.cuda.max_memory_allocated(each) for each in others] == [0 for _ in others]


def test_a_step_that_is_forked_computes_on_the_gpu(device: str) -> None:
    """What is imported before asks no driver for its GPUs: a fork of a process that has done so has none."""
    command = [sys.executable, "-c", FORK, device]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, "3.0"), done.stderr


def in_processes(base: str, processes: int, folder: Path) -> dict[str, Any]:
    training = Training(
        rows=RowsInMemory(TEXTS, CLASSES),
        labels=LABELS,
        settings=settings(base, processes=processes, mixed_precision="no", **LAST),
        model_dir=folder,
        tracker=Tracker(),
    )
    return train_in_processes(training)
