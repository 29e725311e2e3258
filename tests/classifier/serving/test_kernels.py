"""What a model is computed with on a processor that has, or lacks, what its package needs."""

from __future__ import annotations

import json
import logging
from itertools import combinations
from pathlib import Path

import pytest

from include.classifier.native.v2_grpc.messages import message_class
from include.classifier.native.v2_grpc.tensors import write_message
from include.classifier.packaging.bfloat16 import write_bfloat16
from include.classifier.serving import kernels
from include.classifier.serving.kernels import (
    BFLOAT16_FEATURES,
    TORCH_BFLOAT16,
    TORCH_FLOAT32,
    cpu_features,
    kernel_here,
)
from include.classifier.serving.predictor import Prediction, Predictor
from include.classifier.serving.protocol import Request, write_answer

TEXTS = ["good food", "the place was very slow", "bad", "never again", "quick and good food and quick place"] * 3

FEATURES = ("avx2", *BFLOAT16_FEATURES)
SUBSETS = [subset for size in range(len(FEATURES) + 1) for subset in combinations(FEATURES, size)]

X86 = "processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\nbugs\t\t: spectre_v1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd4f\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [(X86, {"fpu", "avx2", "amx_bf16"}), (ARM, {"fp", "asimd", "bf16"}), ("", set()), ("flags\n\xff: :", set())],
)
def test_features_are_those_that_linux_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, expected: set[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo, encoding="latin-1")
    monkeypatch.setattr(kernels, "_CPUINFO", tmp_path / "cpuinfo")

    assert cpu_features() == expected


def test_a_system_that_tells_nothing_has_no_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_CPUINFO", tmp_path / "none")

    assert cpu_features() == frozenset()


@pytest.mark.parametrize("needs", SUBSETS)
@pytest.mark.parametrize("found", SUBSETS)
def test_it_falls_back_if_and_only_if_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, needs: tuple[str, ...], found: tuple[str, ...]
) -> None:
    monkeypatch.setattr(kernels, "cpu_features", lambda: frozenset(found))

    kernel, told = kernel_here({"kernel": {"name": TORCH_BFLOAT16, "needs": list(needs)}})

    assert (kernel == TORCH_BFLOAT16) == (set(needs) <= set(found))
    assert told == (None if kernel == TORCH_BFLOAT16 else TORCH_FLOAT32)


def test_a_package_that_needs_nothing_is_as_it_was() -> None:
    assert kernel_here({"labels": ["a", "b"]}) == (None, None)


@pytest.fixture
def packed(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model in bfloat16, for a processor with a feature that no other has."""
    return write_bfloat16(tiny_model, tmp_path / "bfloat16", needs=["made_up"])


@pytest.mark.computes
def test_bfloat16_rounds_and_no_answer_depends_on_its_neighbours(
    packed: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "cpu_features", lambda: frozenset(["made_up"]))
    predictor = Predictor.load(packed, device="cpu")

    found = predictor.predict(TEXTS)

    assert found == [predictor.predict([text])[0] for text in TEXTS]
    as_trained = Predictor.load(tiny_model, device="cpu").predict(TEXTS)
    differences = [
        abs(one.score - other.probabilities[one.label]) for one, other in zip(found, as_trained, strict=True)
    ]
    assert 1e-5 < max(differences) < 0.05
    assert {each.computed_in for each in found} == {None}


@pytest.mark.computes
def test_without_the_feature_it_is_the_model_as_it_was_trained_and_says_so(
    packed: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        predictor = Predictor.load(packed, device="cpu")

    found, as_trained = predictor.predict(TEXTS), Predictor.load(tiny_model, device="cpu").predict(TEXTS)
    assert [each.probabilities for each in found] == [each.probabilities for each in as_trained]
    assert {each.computed_in for each in found} == {TORCH_FLOAT32}
    assert "packed for torch-bfloat16, which needs made_up. This processor has no made_up" in caplog.text
    assert "computed in torch-float32" in caplog.text


def test_weights_are_packed_once(packed: Path, tiny_model: Path) -> None:
    names = {path.name for path in tiny_model.iterdir()}
    assert {path.name for path in packed.iterdir()} == names
    assert (packed / "model.safetensors").read_bytes() == (tiny_model / "model.safetensors").read_bytes()
    facts = json.loads((packed / "classifier.json").read_text())
    assert facts.pop("kernel") == {"name": "torch-bfloat16", "needs": ["made_up"]}
    assert facts == json.loads((tiny_model / "classifier.json").read_text())


def answer(computed_in: str | None, *, is_v2: bool) -> bytes:
    prediction = Prediction("good", 0.75, {"bad": 0.25, "good": 0.75}, truncated=False, computed_in=computed_in)
    request = Request(["a text"], is_v2=is_v2)
    return write_answer(request, [prediction], model="reviews", version="20260101000000").encode()


def test_an_answer_says_what_was_fallen_back_to_and_else_nothing() -> None:
    [told] = json.loads(answer(TORCH_FLOAT32, is_v2=False))["predictions"]
    [silent] = json.loads(answer(None, is_v2=False))["predictions"]
    assert told == silent | {"computed_in": "torch-float32"}
    assert json.loads(answer(TORCH_FLOAT32, is_v2=True)) == json.loads(answer(None, is_v2=True)) | {
        "parameters": {"computed_in": "torch-float32"}
    }


@pytest.mark.parametrize(("computed_in", "expected"), [(None, {}), (TORCH_FLOAT32, {"computed_in": "torch-float32"})])
def test_over_grpc_it_is_a_parameter(computed_in: str | None, expected: dict[str, str]) -> None:
    message = message_class("ModelInferResponse").FromString(write_message(answer(computed_in, is_v2=True)))

    assert {name: value.string_param for name, value in message.parameters.items()} == expected
