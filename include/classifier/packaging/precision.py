"""Chooses in which runtime and precision a model is served: by measuring, on the machine that packs it.

8-bit integers are about four times as fast as 32-bit floating point on CPUs with VNNI (``avx512_vnni``, ``avx_vnni``),
less than twice as fast on older ones; bfloat16 is fast on CPUs that compute in it and slow on all others; and no model
answers exactly as before. So every variant answers the same texts, and the fastest is packed whose answers stay within
bounds. What is packed is then evaluated, gated and served; its processor's features are recorded with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.classifier.packaging.bfloat16 import feature_here, write_bfloat16
from include.classifier.packaging.onnx_export import ExportError, export, reason, write
from include.classifier.progress import report
from include.classifier.serving.cpus import SMALL_MODEL_PARAMETERS, threads_of_a_worker
from include.classifier.serving.kernels import (
    BFLOAT16_FEATURES,
    KNOWN_FEATURES,
    TORCH_BFLOAT16,
    TORCH_FLOAT32,
    cpu_features,
)
from include.classifier.serving.predictor import Prediction, Predictor
from include.contracts.settings import ServingConfig

if TYPE_CHECKING:
    import onnx

ONNX_FLOAT32 = "onnx-float32"
ONNX_INT8 = "onnx-int8"

#: A variant must be so many times as fast as the model as it was trained; a smaller gain is noise.
_LEAST_GAIN = 1.1

_ROWS_AT_ONCE = 8

#: What is packed for ``serving.precision``, or nothing.
_ASKED = {"bfloat16": TORCH_BFLOAT16, "int8": ONNX_INT8}


class PrecisionError(RuntimeError):
    """The model cannot be served in the precision that was asked for; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How a variant answers the sample.

    :param texts_per_second: in batches of eight, without a server.
    :param largest_difference: between its probabilities and those of the model as it was trained.
    :param label_changes: share of the texts that get another label.
    """

    variant: str
    texts_per_second: float
    largest_difference: float
    label_changes: float
    allowed: bool


def choose(
    model_dir: Path, workspace: Path, *, texts: Sequence[str], serving: Mapping[str, Any] | None = None
) -> tuple[Path, dict[str, Any]]:
    """Return the folder to pack, and what was measured as ``serving.precision`` in ``candidate.json``.

    :param model_dir: what training wrote; it stays as it is.
    :param workspace: gets the folders of the variants.
    :param texts: cleaned or not, for the comparison.
    :param serving: the settings of ``ModelConfig.serving``; default: theirs.
    :raises PrecisionError: when ``precision`` is ``int8`` or ``bfloat16`` and that cannot be had within the bounds.
    """
    settings = ServingConfig.model_validate(dict(serving or {}))
    if settings.precision == "float32":
        return model_dir, _facts(TORCH_FLOAT32, "asked for", rows=0)
    if settings.precision == "auto" and _parameters(model_dir) < SMALL_MODEL_PARAMETERS:
        # The server around it takes longer than the model, and each release would wait for the export.
        return model_dir, _facts(TORCH_FLOAT32, f"fewer than {SMALL_MODEL_PARAMETERS:,} parameters", rows=0)
    folders = {TORCH_FLOAT32: model_dir} | _in_bfloat16(model_dir, workspace, settings)
    if settings.precision != "bfloat16":
        folders |= _exported(model_dir, workspace, settings)
    if len(folders) == 1:
        return model_dir, _facts(TORCH_FLOAT32, "cannot be exported to ONNX", rows=0)
    found = _measure(folders, texts, settings, threads_of_a_worker(settings.workers))
    chosen = _fastest(found, settings)
    return folders[chosen], _facts(chosen, "fastest within the bounds", rows=len(texts), measured=found)


def variant(recorded: Mapping[str, Any], model_dir: Path, target: Path) -> Path:
    """Return the folder to pack for a variant that was chosen before: nothing is measured again.

    :param recorded: ``serving.precision`` of ``candidate.json``, with what a processor must have for it.
    :param model_dir: what training wrote.
    :param target: made here, unless the variant is the model as it was trained.
    """
    name = recorded["chosen"]
    if name == TORCH_FLOAT32:
        return model_dir
    if name == TORCH_BFLOAT16:
        return write_bfloat16(model_dir, target, needs=recorded["needs"])
    return write(export(model_dir), model_dir, target, as_int8=name == ONNX_INT8)


def _in_bfloat16(model_dir: Path, workspace: Path, settings: ServingConfig) -> dict[str, Path]:
    """Write the variant in bfloat16 where it is wanted, and this processor computes in it.

    :raises PrecisionError: when it was asked for and this processor does not.
    """
    if settings.precision not in ("auto", "bfloat16"):
        return {}
    feature = feature_here()
    if feature is None:
        if settings.precision == "bfloat16":
            raise PrecisionError(
                f"serving.precision is bfloat16, but the processor of this machine has none of "
                f"{', '.join(BFLOAT16_FEATURES)}: pack where there is one, or set serving.precision to auto."
            )
        return {}
    return {TORCH_BFLOAT16: write_bfloat16(model_dir, workspace / TORCH_BFLOAT16, needs=[feature])}


def _exported(model_dir: Path, workspace: Path, settings: ServingConfig) -> dict[str, Path]:
    """Write the variants of ONNX Runtime; none where the model cannot be exported, unless one was asked for.

    :raises PrecisionError: when it was, or when it does not run.
    """
    report("package: exporting the model to ONNX")
    try:
        return _write(export(model_dir), model_dir, workspace, settings)
    except ExportError as error:
        if settings.precision == "int8":
            raise PrecisionError(f"serving.precision is int8, but the model cannot be exported: {error}.") from error
        report(f"package: the model stays in PyTorch, it cannot be exported: {error}")
        return {}


def _write(exported: onnx.ModelProto, model_dir: Path, workspace: Path, settings: ServingConfig) -> dict[str, Path]:
    """Write what is to be measured. A variant that does not run is none, unless it was asked for."""
    folders = {}
    for name in (ONNX_FLOAT32, ONNX_INT8) if settings.precision == "auto" else (ONNX_INT8,):
        try:
            folders[name] = write(exported, model_dir, workspace / name, as_int8=name == ONNX_INT8)
            Predictor.load(folders[name]).predict(["ready"])
        except Exception as error:  # The quantizer's and ONNX Runtime's errors have no class in common.
            if settings.precision == "int8":
                raise PrecisionError(f"serving.precision is int8, but it does not run: {reason(error)}.") from error
            folders.pop(name, None)
            report(f"package: {name} is left out, it does not run: {reason(error)}")
    return folders


def _measure(
    folders: Mapping[str, Path], texts: Sequence[str], settings: ServingConfig, threads: int
) -> list[Measured]:
    """Ask all variants for the same few texts in turn, so that other work on the machine falls on all of them."""
    predictors = {name: Predictor.load(folder, threads=threads) for name, folder in folders.items()}
    answers: dict[str, list[Prediction]] = {name: [] for name in predictors}
    seconds = dict.fromkeys(predictors, 0.0)
    for predictor in predictors.values():
        predictor.predict(texts[:1])
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        for name, predictor in predictors.items():
            began = time.perf_counter()
            answers[name] += predictor.predict(texts[start : start + _ROWS_AT_ONCE])
            seconds[name] += time.perf_counter() - began
    found = []
    for name, predictions in answers.items():
        difference, changes = _differences(answers[TORCH_FLOAT32], predictions)
        allowed = difference <= settings.max_probability_difference and changes <= settings.max_label_changes
        found.append(
            Measured(
                variant=name,
                texts_per_second=round(len(texts) / seconds[name], 2),
                largest_difference=difference,
                label_changes=changes,
                allowed=allowed,
            )
        )
        report(
            f"package: {name}: {found[-1].texts_per_second:.1f} texts/s, probabilities differ by {difference:.4f} at "
            f"most, {changes:.1%} of {len(texts)} labels{'' if allowed else '; that is too much'}"
        )
    return found


def _differences(expected: Sequence[Prediction], found: Sequence[Prediction]) -> tuple[float, float]:
    """Return the largest difference of a probability, and the share of other labels."""
    largest = max(
        abs(value - theirs.probabilities[label])
        for ours, theirs in zip(expected, found, strict=True)
        for label, value in ours.probabilities.items()
    )
    changes = sum(ours.label != theirs.label for ours, theirs in zip(expected, found, strict=True))
    return round(largest, 6), round(changes / len(expected), 6)


def _fastest(found: Sequence[Measured], settings: ServingConfig) -> str:
    by_name = {each.variant: each for each in found}
    if asked := _ASKED.get(settings.precision):
        only = by_name[asked]
        if not only.allowed:
            raise PrecisionError(
                f"serving.precision is {settings.precision}, but its probabilities differ by "
                f"{only.largest_difference:.4f} (allowed: serving.max_probability_difference, "
                f"{settings.max_probability_difference:g}) and {only.label_changes:.1%} of the labels "
                f"(serving.max_label_changes, {settings.max_label_changes:.1%})."
            )
        return asked
    best = max((each for each in found if each.allowed), key=lambda each: each.texts_per_second)
    is_worth_it = best.texts_per_second >= _LEAST_GAIN * by_name[TORCH_FLOAT32].texts_per_second
    return best.variant if is_worth_it else TORCH_FLOAT32


def _parameters(model_dir: Path) -> int:
    """Return how many weights a model has; they are stored in 32 bits each."""
    return sum(path.stat().st_size for path in model_dir.glob("*.safetensors")) // 4


def _facts(chosen: str, reason: str, *, rows: int, measured: Sequence[Measured] = ()) -> dict[str, Any]:
    report(f"package: served as {chosen}: {reason}")
    had = cpu_features()
    return {
        "chosen": chosen,
        "reason": reason,
        "rows": rows,
        "measured": [asdict(each) for each in measured],
        "needs": [feature_here()] if chosen == TORCH_BFLOAT16 else [],
        "features": [feature for feature in KNOWN_FEATURES if feature in had],
    }
