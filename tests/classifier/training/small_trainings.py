"""Trainings of a second: a model without dropout, so that what is left to differ is rounding, and rows to learn."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from include.contracts.settings import TrainingConfig
from tests.classifier.conftest import LABELS, WORDS, write_tiny_model

#: 95 rows of three classes, which the second word decides. One has half as many as the others: the last step of an
#: epoch is not full, and rows are weighted by class.
ROWS = [
    (f"{first} {second} {' '.join([third] * (index % 4))}".strip(), index // 4 % 5 // 2)
    for index, (first, second, third) in enumerate(itertools.product(WORDS[:5], WORDS[5:10], WORDS[8:12]))
][:95]
TEXTS, CLASSES = [text for text, _ in ROWS], [label for _, label in ROWS]

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "learning_rate": 1e-3,
    "batch_size": 16,
    "max_length": 16,
    "early_stopping_patience": 2,
    "checkpoint_minutes": 1e-9,
}


def without_dropout(folder: Path) -> str:
    """Write a base model that drops nothing, and return where."""
    write_tiny_model(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def settings(base_model: str, **changes: Any) -> TrainingConfig:
    """Return the settings of a small training."""
    return TrainingConfig.model_validate({**SETTINGS, "base_model": base_model, **changes})


def weights(folder: Path) -> dict[str, Any]:
    """Return the weights of a trained model."""
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def largest_difference(one: Path, other: Path) -> float:
    """Return the largest difference between two weights at the same place.

    Without the bias of the keys: a softmax does not change when all of its inputs grow alike, so the gradient of that
    bias is nought, and what AdamW makes steps of there is nothing but rounding.
    """
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first if not name.endswith("k_lin.bias"))


__all__ = ("CLASSES", "LABELS", "ROWS", "TEXTS", "largest_difference", "settings", "weights", "without_dropout")
