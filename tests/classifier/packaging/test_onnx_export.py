from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from include.classifier.packaging import onnx_export
from include.classifier.packaging.archive import build_archive, open_archive
from include.classifier.packaging.onnx_export import ExportError, export, write
from include.classifier.serving.predictor import Predictor

pytestmark = pytest.mark.computes

TEXTS = ["good food", "the place was very slow", "bad", "never again " * 9]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def exported(tiny_model: Path) -> list[Any]:
    """The same model, exported twice."""
    return [export(tiny_model), export(tiny_model)]


@pytest.mark.parametrize("as_int8", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_same_model_gives_the_same_bytes_and_a_package(
    as_int8: bool, exported: list[Any], tiny_model: Path, tmp_path: Path
) -> None:
    one, two = exported
    folders = [
        write(one, tiny_model, tmp_path / "one", as_int8=as_int8),
        write(two, tiny_model, tmp_path / "two", as_int8=as_int8),
    ]

    assert digests(folders[0]) == digests(folders[1])
    assert {"model.onnx", "tokenizer.json", "classifier.json", "config.json"} <= digests(folders[0]).keys()
    assert "model.safetensors" not in digests(folders[0])
    archive = build_archive(folders[0], model="tiny", version="20261121030000", target=tmp_path / "tiny.mar")
    unpacked = open_archive(archive.path, tmp_path / "unpacked")
    assert Predictor.load(unpacked).predict(TEXTS) == Predictor.load(folders[0]).predict(TEXTS)


@pytest.mark.long
def test_integers_take_a_quarter_of_the_space(tmp_path: Path) -> None:
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from tests.classifier.conftest import LABELS, write_tiny_model

    folder = write_tiny_model(tmp_path / "model")
    config = DistilBertConfig.from_pretrained(folder, dim=128, hidden_dim=512, num_labels=len(LABELS))
    torch.manual_seed(1)
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    exported = export(folder)
    sizes = [
        (write(exported, folder, tmp_path / str(as_int8), as_int8=as_int8) / "model.onnx").stat().st_size
        for as_int8 in (True, False)
    ]

    assert sizes[0] < sizes[1] / 2  # Small as it is, its graph takes its share.


def test_a_model_that_cannot_be_exported_says_why(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse(*_: object, **__: object) -> None:
        try:
            raise ValueError("\x1b[96mno such operator\x1b[0m\nand a page more")
        except ValueError as error:
            raise RuntimeError("This is step 1/3") from error

    monkeypatch.setattr(torch.onnx, "export", refuse)

    with pytest.raises(ExportError, match=r"^ValueError: no such operator$"):
        export(tiny_model)


@pytest.mark.long
def test_a_model_that_onnx_runtime_answers_otherwise_is_not_exported(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "LARGEST_DIFFERENCE", -1.0)

    with pytest.raises(ExportError, match=r"probabilities of a text of 3 tokens differ by"):
        export(tiny_model)


def test_a_model_that_no_file_holds_is_not_tried(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "LARGEST_MODEL_BYTES", 1000)

    with pytest.raises(ExportError, match="its weights have"):
        export(tiny_model)


def test_weights_of_several_files_leave_no_index_behind(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))

    onnx_export.copy_surroundings(folder, tmp_path / "copy")

    assert not (tmp_path / "copy" / "model.safetensors.index.json").exists()
    assert (tmp_path / "copy" / "classifier.json").is_file()
