"""Training computes in what the machine has."""

from __future__ import annotations

import pytest
import torch  # noqa: TID253  this file is about PyTorch

from include.classifier.training.hardware import limit_threads, mixed_precision

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
