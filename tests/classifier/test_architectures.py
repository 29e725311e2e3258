"""The twenty architectures that texts are classified with most: trained, served, exported, quantised and compared.

What is found of each must be what its row in ``docs/base-models.md`` says; ``RECORD_ARCHITECTURES=1`` writes it there.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from include.classifier.packaging.onnx_export import ExportError, export, write
from include.classifier.serving.predictor import Predictor
from include.classifier.tracking import Tracker
from include.classifier.training.fine_tuning import train
from include.contracts.settings import TrainingConfig
from tests.classifier import architectures
from tests.classifier.architectures import ARCHITECTURES, CLASSES, LABELS, TEXTS

pytestmark = pytest.mark.computes

PAGE = Path(__file__).parents[2] / "docs" / "base-models.md"

#: Of every length, with words that no vocabulary has and with what tokenizers take for ends and padding.
ASKED = [*TEXTS[:4], "a", "\u200b", "zz " * 80, "one </s> two </s> <pad> [SEP] <|endoftext|>", "\u4e2d\u6587 \u2603"]


def probabilities(predictor: Predictor, texts: list[str]) -> list[float]:
    return [found.probabilities["good"] for found in predictor.predict(texts)]


def largest_difference(one: list[float], other: list[float]) -> float:
    return max(abs(ours - theirs) for ours, theirs in zip(one, other, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_an_architecture_does_what_its_row_says(model_type: str, tmp_path: Path) -> None:
    base = architectures.write(model_type, tmp_path / "base")
    settings = TrainingConfig(base_model=str(base), epochs=2, learning_rate=1e-3, batch_size=8, max_length=48)
    train(TEXTS, CLASSES, labels=LABELS, settings=settings, model_dir=tmp_path / "model", tracker=Tracker())
    facts = json.loads((tmp_path / "model" / "classifier.json").read_text(encoding="utf-8"))

    trained = Predictor.load(tmp_path / "model")
    alone = [probabilities(trained, [text])[0] for text in ASKED]
    assert largest_difference(alone, probabilities(trained, ASKED)) < 1e-4, "an answer depends on its neighbours"
    assert len(set(alone)) > len(ASKED) / 2, "the answers do not depend on the texts"

    found = {"padded": facts["padding"]} | exported(tmp_path, alone)
    row = _row(model_type, found)
    if os.environ.get("RECORD_ARCHITECTURES"):
        _record(model_type, row)
    assert row in PAGE.read_text(encoding="utf-8").splitlines()


def exported(folder: Path, expected: list[float]) -> dict[str, str]:
    """Return what can be said of the model in ONNX Runtime."""
    try:
        document = export(folder / "model")
    except ExportError:
        return {"onnx": "no", "int8": "no"}
    found = {}
    for name, bound in (("onnx", 1e-4), ("int8", 0.2)):  # Small models are quantised coarsely.
        packed = Predictor.load(write(document, folder / "model", folder / name, as_int8=name == "int8"))
        assert largest_difference(expected, probabilities(packed, ASKED)) < bound
        found[name] = "yes"
    return found


def _row(model_type: str, found: dict[str, str]) -> str:
    named = ARCHITECTURES[model_type].named
    return f"| {named} | `{model_type}` | yes | {found['padded']} | {found['onnx']} | {found['int8']} |"


def _record(model_type: str, row: str) -> None:
    lines = PAGE.read_text(encoding="utf-8")
    mine = re.compile(rf"^\| .* \| `{model_type}` \|.*\n", re.MULTILINE)
    PAGE.write_text(mine.sub(row + "\n", lines), encoding="utf-8")


def test_the_page_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| .* \| `([\w-]+)` \| yes \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [*ARCHITECTURES]
