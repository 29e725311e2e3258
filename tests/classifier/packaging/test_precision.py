from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from include.classifier.packaging import onnx_export, precision
from include.classifier.packaging.onnx_export import ExportError
from include.classifier.packaging.precision import (
    ONNX_FLOAT32,
    ONNX_INT8,
    Measured,
    PrecisionError,
    choose,
    variant,
)
from include.classifier.serving import kernels
from include.classifier.serving.kernels import TORCH_BFLOAT16, TORCH_FLOAT32
from include.classifier.serving.predictor import Prediction, Predictor
from include.contracts.settings import ServingConfig

pytestmark = pytest.mark.computes


@pytest.fixture(autouse=True)
def features(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Give the processor features, whatever it has; at first AVX2 alone."""
    cpuinfo = tmp_path.parent / f"{tmp_path.name}-cpuinfo"

    def give(found: str) -> None:
        cpuinfo.write_text(f"flags : fpu {found}\n")

    monkeypatch.setattr(kernels, "_CPUINFO", cpuinfo)
    give("avx2")
    return give


TEXTS = [f"{'good ' * (row % 5)}food {'never again ' * (row % 3)}" for row in range(20)]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is too small to be measured."""
    monkeypatch.setattr(precision, "SMALL_MODEL_PARAMETERS", 0)


def test_a_small_model_stays_as_it_is(tiny_model: Path, tmp_path: Path) -> None:
    folder, facts = choose(tiny_model, tmp_path, texts=TEXTS)

    assert folder == tiny_model
    assert facts["chosen"] == TORCH_FLOAT32
    assert facts["reason"] == "fewer than 5,000,000 parameters"
    assert list(tmp_path.iterdir()) == []


def test_float32_is_not_measured(tiny_model: Path, tmp_path: Path) -> None:
    folder, facts = choose(tiny_model, tmp_path, texts=TEXTS, serving={"precision": "float32"})

    assert (folder, facts["chosen"], facts["measured"]) == (tiny_model, TORCH_FLOAT32, [])


@pytest.mark.usefixtures("large")
def test_every_variant_is_measured_against_the_model_as_it_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    folder, facts = choose(tiny_model, tmp_path, texts=TEXTS, serving={"max_probability_difference": 0.2})

    by_name = {each["variant"]: each for each in facts["measured"]}
    assert list(by_name) == [TORCH_FLOAT32, ONNX_FLOAT32, ONNX_INT8]
    assert by_name[TORCH_FLOAT32]["largest_difference"] == 0
    assert by_name[ONNX_FLOAT32]["largest_difference"] < 1e-4
    expected, found = (Predictor.load(each).predict(TEXTS) for each in (tiny_model, tmp_path / ONNX_INT8))
    difference = max(
        abs(one.probabilities[label] - other.probabilities[label])
        for one, other in zip(expected, found, strict=True)
        for label in one.probabilities
    )
    assert by_name[ONNX_INT8]["largest_difference"] == pytest.approx(difference, abs=1e-6)
    assert difference > 1e-4, "integers must show"
    assert folder == {TORCH_FLOAT32: tiny_model}.get(facts["chosen"], tmp_path / facts["chosen"])


def test_bfloat16_is_packed_when_it_was_asked_for_with_what_it_needs(
    tiny_model: Path, tmp_path: Path, features: Callable[[str], None]
) -> None:
    serving = {"precision": "bfloat16", "max_probability_difference": 0.2, "max_label_changes": 1}
    features("avx2 avx512_bf16 amx_bf16 avx512_vnni")

    folder, facts = choose(tiny_model, tmp_path, texts=TEXTS, serving=serving)

    assert (folder, facts["chosen"], facts["needs"]) == (tmp_path / TORCH_BFLOAT16, TORCH_BFLOAT16, ["amx_bf16"])
    assert facts["features"] == ["avx2", "avx512_vnni", "avx512_bf16", "amx_bf16"]
    assert [each["variant"] for each in facts["measured"]] == [TORCH_FLOAT32, TORCH_BFLOAT16]
    assert facts["measured"][1]["largest_difference"] > 1e-5
    # On another processor the recorded choice is packed, and not a new one.
    features("avx2")
    again = variant(facts, tiny_model, tmp_path / "again")
    assert (again / "classifier.json").read_bytes() == (folder / "classifier.json").read_bytes()


def test_bfloat16_is_refused_where_the_processor_does_not_compute_in_it(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PrecisionError, match="bfloat16, but the processor of this machine has none of amx_bf16, avx512"
    ):
        choose(tiny_model, tmp_path, texts=TEXTS, serving={"precision": "bfloat16"})


def test_bfloat16_that_answers_otherwise_is_refused(
    tiny_model: Path, tmp_path: Path, features: Callable[[str], None]
) -> None:
    features("avx512_bf16")
    with pytest.raises(
        PrecisionError, match=r"precision is bfloat16, but its probabilities differ by 0\.\d+ \(allowed"
    ):
        choose(tiny_model, tmp_path, texts=TEXTS, serving={"precision": "bfloat16", "max_probability_difference": 0})


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("found", "expected"), [("avx2", []), ("avx512_bf16", [TORCH_BFLOAT16]), ("amx_bf16", [TORCH_BFLOAT16])]
)
def test_auto_measures_bfloat16_only_where_the_processor_computes_in_it(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    features: Callable[[str], None],
    found: str,
    expected: list[str],
) -> None:
    def refuse(_: Path) -> None:
        raise ExportError("no such operator")

    monkeypatch.setattr(precision, "export", refuse)
    features(found)

    _, facts = choose(tiny_model, tmp_path, texts=TEXTS)

    assert [each["variant"] for each in facts["measured"]][1:] == expected
    assert facts["needs"] == ([found] if facts["chosen"] == TORCH_BFLOAT16 else [])


@pytest.mark.long
@pytest.mark.usefixtures("large")
def test_int8_that_answers_otherwise_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match=r"precision is int8, but its probabilities differ by 0\.\d+ \(allowed"):
        choose(tiny_model, tmp_path, texts=TEXTS, serving={"precision": "int8", "max_probability_difference": 0})


@pytest.mark.long
def test_int8_is_packed_when_it_was_asked_for(tiny_model: Path, tmp_path: Path) -> None:
    serving = {"precision": "int8", "max_probability_difference": 0.2, "max_label_changes": 1}

    folder, facts = choose(tiny_model, tmp_path, texts=TEXTS, serving=serving)

    assert (folder, facts["chosen"]) == (tmp_path / ONNX_INT8, ONNX_INT8)
    assert not (tmp_path / ONNX_FLOAT32).exists()


@pytest.mark.long
@pytest.mark.usefixtures("large")
def test_a_variant_that_does_not_run_is_left_out_unless_it_was_asked_for(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(onnx_export, "quantize", cannot)

    _, facts = choose(tiny_model, tmp_path / "auto", texts=TEXTS, serving={})
    assert [each["variant"] for each in facts["measured"]] == ["torch-float32", "onnx-float32"]
    with pytest.raises(PrecisionError, match="does not run: RuntimeError: no such kernel"):
        choose(tiny_model, tmp_path / "int8", texts=TEXTS, serving={"precision": "int8"})


@pytest.mark.long
@pytest.mark.usefixtures("large")
def test_a_model_without_an_export_stays_in_pytorch(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise ExportError("no such operator")

    monkeypatch.setattr(precision, "export", refuse)

    assert choose(tiny_model, tmp_path, texts=TEXTS)[0] == tiny_model
    with pytest.raises(PrecisionError, match="cannot be exported: no such operator"):
        choose(tiny_model, tmp_path, texts=TEXTS, serving={"precision": "int8"})


def measured(variant: str, speed: float, *, allowed: bool = True) -> Measured:
    return Measured(variant=variant, texts_per_second=speed, largest_difference=0.1, label_changes=0.5, allowed=allowed)


@pytest.mark.parametrize(
    ("onnx_float32", "onnx_int8", "int8_allowed", "expected"),
    [
        (12, 40, True, ONNX_INT8),
        (12, 40, False, ONNX_FLOAT32),
        (30, 20, True, ONNX_FLOAT32),
        (10.5, 10.9, True, TORCH_FLOAT32),
        (9, 40, False, TORCH_FLOAT32),
    ],
)
def test_the_fastest_within_the_bounds_is_chosen(
    onnx_float32: float, onnx_int8: float, int8_allowed: bool, expected: str
) -> None:
    found = [
        measured(TORCH_FLOAT32, 10),
        measured(ONNX_FLOAT32, onnx_float32),
        measured(ONNX_INT8, onnx_int8, allowed=int8_allowed),
    ]

    assert precision._fastest(found, ServingConfig()) == expected


def prediction(label: str, *values: float) -> Prediction:
    return Prediction(label, max(values), dict(zip(["bad", "good"], values, strict=True)), truncated=False)


def test_differences_are_the_largest_of_a_probability_and_the_share_of_labels() -> None:
    expected: Sequence[Prediction] = [prediction("bad", 0.9, 0.1), prediction("good", 0.4, 0.6)]
    found: Sequence[Prediction] = [prediction("bad", 0.88, 0.12), prediction("bad", 0.55, 0.45)]

    assert precision._differences(expected, found) == (pytest.approx(0.15), 0.5)
