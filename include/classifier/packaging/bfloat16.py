"""Writes a model to be computed in bfloat16. Its weights stay in 32-bit floats, which a processor without it needs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from include.classifier.serving.kernels import BFLOAT16_FEATURES, TORCH_BFLOAT16, cpu_features
from include.classifier.serving.predictor import CLASSIFIER_FILE, read_json


def feature_here() -> str | None:
    """Return by which feature this machine's processor computes in bfloat16, ``None`` where it does not."""
    found = cpu_features()
    return next((feature for feature in BFLOAT16_FEATURES if feature in found), None)


def write_bfloat16(model_dir: Path, target: Path, *, needs: Sequence[str]) -> Path:
    """Write a folder with the same files, and the word that it is computed in bfloat16; return it.

    :param model_dir: what training wrote.
    :param target: made here.
    :param needs: what a processor must have for it, as Linux calls it; without, 32-bit floats are computed.
    """
    facts = read_json(model_dir / CLASSIFIER_FILE) | {"kernel": {"name": TORCH_BFLOAT16, "needs": list(needs)}}
    target.mkdir(parents=True)
    for path in model_dir.iterdir():
        if path.is_file() and path.name != CLASSIFIER_FILE:
            _same(path, target / path.name)
    (target / CLASSIFIER_FILE).write_text(json.dumps(facts), encoding="utf-8")
    return target


def _same(path: Path, target: Path) -> None:
    """Give a file one more name; copy it where the file system has no such thing."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
