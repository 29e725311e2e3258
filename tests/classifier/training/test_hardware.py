"""Training computes in what the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch  # noqa: TID253  this file is about PyTorch
from transformers import TrainingArguments  # noqa: TID253

from include.classifier.training import hardware
from include.classifier.training.hardware import keep_to_one_gpu, limit_threads, mixed_precision
from include.classifier.training.problems import HardwareError
from include.classifier.training.processes import launch

LARGE, SMALL = 66_000_000, 400_000


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16"])
def test_a_cpu_that_has_bf16_computes_large_models_in_it(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, instructions: True})
    assert mixed_precision(LARGE) == {"bf16": True, "use_cpu": True}
    assert mixed_precision(SMALL) == {}


def test_any_other_cpu_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True, "avx512_bf16": False})
    assert mixed_precision(LARGE) == {}


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, {"bf16": True}), (False, {"fp16": True})])
def test_a_gpu_computes_in_half_precision(
    has_bf16: bool, expected: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert mixed_precision(SMALL) == expected


def test_a_small_model_computes_on_one_thread_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    limit_threads(SMALL)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    limit_threads(LARGE)
    assert chosen == [1]


def test_what_was_asked_for_is_computed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert mixed_precision(LARGE, "no") == {}
    assert mixed_precision(SMALL, "bf16") == {"bf16": True, "use_cpu": True}


def test_what_cannot_be_computed_in_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HardwareError, match=r"fp16 needs a GPU.* Take bf16"):
        mixed_precision(LARGE, "fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert mixed_precision(SMALL, "fp16") == {"fp16": True}
    with pytest.raises(HardwareError, match=r"does not compute in bf16\. Take fp16"):
        mixed_precision(LARGE, "bf16")


def test_processes_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(hardware, "available_cpus", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    limit_threads(LARGE, 4)
    limit_threads(LARGE, 16)
    assert chosen == [2, 1]


@pytest.mark.parametrize(("gpus", "kept"), [(0, 0), (1, 1), (4, 1)])
def test_a_process_takes_one_gpu_however_many_it_sees(gpus: int, kept: int, tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=16, report_to="none")
    arguments._n_gpu = gpus
    assert keep_to_one_gpu(arguments).n_gpu == kept
    assert arguments.train_batch_size == 16


def test_more_processes_than_gpus_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "available_cpus", lambda: 2)
    launch.check_hardware(4)
    assert "4 processes share 2 processors" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    launch.check_hardware(2)
    with pytest.raises(HardwareError, match="4 processes need as many GPUs, and 2 of them can be seen"):
        launch.check_hardware(4)
