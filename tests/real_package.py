"""Publishes versions of a real, tiny model. Each has weights of its own, so that an answer tells who gave it.

Run it with the pipeline half's Python: ``python -m tests.real_package STORE MODEL VERSION...``
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from include.classifier.packaging.archive import build_archive
from include.classifier.packaging.golden import choose
from include.classifier.serving.predictor import Predictor
from tests.classifier.conftest import LABELS, write_tiny_model
from tests.toy_package import write_candidate

TEXTS = ("good food", "the place was bad", "very slow and never again", "quick food and a good place", "never")


def publish(store: Path, *, model: str, version: str, seed: int) -> None:
    """Pack a model with the weights of a seed, and write its ``candidate.json``."""
    folder = store / model / version
    with tempfile.TemporaryDirectory() as name:
        trained = write_tiny_model(Path(name), seed=seed)
        build_archive(trained, model=model, version=version, target=folder / "model-store" / f"{model}.mar")
        golden_examples = choose(TEXTS, Predictor.load(trained, device="cpu").predict(TEXTS))
    write_candidate(folder, model=model, version=version, labels=LABELS, golden_examples=golden_examples)


if __name__ == "__main__":
    store, model, *versions = sys.argv[1:]
    for seed, version in enumerate(versions, start=1):
        publish(Path(store), model=model, version=version, seed=seed)
