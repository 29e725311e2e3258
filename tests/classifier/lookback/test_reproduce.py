"""A release can be trained again from what it recorded, to the bit on the same machine."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import Split, write_dataset
from include.classifier.lookback import reproduce
from include.classifier.metrics import length_slices, scores
from include.classifier.packaging.archive import build_archive, open_archive
from include.classifier.packaging.golden import choose, with_fallback
from include.classifier.packaging.precision import ONNX_INT8, variant
from include.classifier.serving import kernels
from include.classifier.serving.kernels import TORCH_BFLOAT16, TORCH_FLOAT32
from include.classifier.serving.predictor import Predictor
from include.classifier.steps import train_step
from tests.toy_package import write_candidate

pytestmark = pytest.mark.computes

LABELS = ["bad", "good"]
VERSION = "20261121030000"
TRAIN = Split([f"{word} food number {index}" for word in LABELS for index in range(12)], [0] * 12 + [1] * 12)
EVALUATION = Split([f"{word} food again {index}" for word in LABELS for index in range(5)], [0] * 5 + [1] * 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a release; not to be changed."""
    return make(tmp_path_factory.mktemp("store") / "reviews" / VERSION, TORCH_FLOAT32)


def make(folder: Path, precision: str, *, needs: Sequence[str] = ()) -> Path:
    """Train, pack and measure a release; return its folder."""
    import numpy as np

    none = {"train": 0, "evaluation": 0}
    dataset = write_dataset(
        f"{folder.as_uri()}/dataset",
        model="reviews",
        label_names=LABELS,
        splits={"train": TRAIN, "evaluation": EVALUATION},
        sources=[],
        rows_in=34,
        dropped=dict.fromkeys(("empty", "unknown_label", "duplicate", "leaked"), none),
    )
    train_step(
        dataset_uri=f"{folder.as_uri()}/dataset/dataset.json",
        model_dir=str(folder / "model"),
        training_file=str(folder / "training"),
        model_name="reviews",
        model_version=VERSION,
        settings={"epochs": 2, "max_length": 16, "learning_rate": 1e-3, "seed": 3},
    )
    archive = build_archive(
        variant({"chosen": precision, "needs": list(needs)}, folder / "model", folder / "variant"),
        model="reviews",
        version=VERSION,
        target=folder / "model-store" / "reviews.mar",
    )
    predictor = Predictor.load(open_archive(archive.path, folder / "unpacked"))
    answers = predictor.predict(EVALUATION.texts)
    probabilities = np.array([[answer.probabilities[label] for label in LABELS] for answer in answers])
    found = scores(
        np.array(EVALUATION.labels),
        probabilities,
        labels=LABELS,
        slices=length_slices(EVALUATION.texts),
        version=VERSION,
    )
    golden = choose(EVALUATION.texts, answers)
    if needs:
        golden = with_fallback(golden, Predictor.load(folder / "model"))
    document = write_candidate(folder, model="reviews", version=VERSION, labels=LABELS, golden_examples=golden)
    training = json.loads((folder / "training").read_text())
    del training["tracking_run_id"]
    document["dataset"]["sha256"] = dataset["sha256"]
    document |= {"training": training, "code_revision": "abc123", "packages": {"torch": "0.1"}}
    document["metrics"]["candidate"] = found
    document["serving"]["precision"] = {
        "chosen": precision,
        "reason": "asked for",
        "rows": 0,
        "measured": [],
        "needs": list(needs),
    }
    (folder / "candidate.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def release(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of its documents whose code is that of the checkout."""
    monkeypatch.setenv("CODE_REVISION", "abc123")
    for name in ("candidate.json", "dataset"):
        (shutil.copytree if (made / name).is_dir() else shutil.copy)(made / name, tmp_path / name)
    return tmp_path


def run(folder: Path, *options: str) -> int:
    return reproduce.main(["--candidate-uri", (folder / "candidate.json").as_uri(), *options])


def change(folder: Path, **parts: Any) -> None:
    file = folder / "candidate.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))


def test_the_same_machine_gives_the_same_bits(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(release, "--tolerance", "0") == 0
    document = json.loads((release / "reproduction.json").read_text())
    assert document["reproduced"] is True
    assert document["archive"] == {"found": True, "identical": True, "identical_weights": True, "other_files": []}
    assert document["metrics"]["macro_f1"]["difference"] == 0
    assert document["golden_examples"]["rows"] == 10
    assert document["golden_examples"]["largest_difference"] == 0
    output = capsys.readouterr().out
    assert "weights: bit-identical" in output
    assert "note: torch 0.1 then, " in output
    assert f"reviews {VERSION}: reproduced within a tolerance of 0" in output


@pytest.mark.long
def test_the_same_bits_in_the_precision_that_was_chosen_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODE_REVISION", "abc123")
    folder = make(tmp_path / "release", ONNX_INT8)

    assert run(folder, "--tolerance", "0") == 0
    with zipfile.ZipFile(folder / "model-store" / "reviews.mar") as archive:
        assert "model.onnx" in archive.namelist()
    assert json.loads((folder / "reproduction.json").read_text())["archive"]["identical"] is True
    assert "weights: bit-identical" in capsys.readouterr().out


@pytest.mark.long
def test_the_kernel_that_was_chosen_then_is_packed_whatever_this_processor_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODE_REVISION", "abc123")
    monkeypatch.setattr(kernels, "cpu_features", lambda: frozenset(["made_up"]))
    folder = make(tmp_path / "release", TORCH_BFLOAT16, needs=["made_up"])

    assert run(folder, "--tolerance", "0") == 0
    assert json.loads((folder / "reproduction.json").read_text())["archive"]["identical"] is True
    assert "needs made_up" not in capsys.readouterr().out

    monkeypatch.setattr(kernels, "cpu_features", lambda: frozenset())
    assert run(folder, "--tolerance", "0.05") == 0
    document = json.loads((folder / "reproduction.json").read_text())
    assert document["archive"]["identical"] is True
    assert document["golden_examples"]["largest_difference"] == 0, "they are those of what it fell back to"
    assert "note: packed as torch-bfloat16, as recorded, which needs made_up" in capsys.readouterr().out


def test_other_figures_than_the_recorded_ones_are_not_reproduced(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = json.loads((release / "candidate.json").read_text())
    recorded["metrics"]["candidate"]["log_loss"] += 0.5
    recorded["training"]["parameters"]["seed"] = 4
    change(release, metrics=recorded["metrics"], training=recorded["training"])
    assert run(release, "--tolerance", "0.1") == 1
    document = json.loads((release / "reproduction.json").read_text())
    assert document["reproduced"] is False
    assert abs(document["metrics"]["log_loss"]["difference"]) > 0.1
    assert document["archive"]["identical_weights"] is False
    assert "model.safetensors" in document["archive"]["other_files"]
    assert "NOT reproduced within a tolerance of 0.1" in capsys.readouterr().out


def test_another_revision_of_the_code_is_refused_by_name(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(release, code_revision="def456")
    assert run(release) == 2
    complaint = capsys.readouterr().err
    assert "The code differs: the release was made by revision def456, this is abc123" in complaint
    assert not (release / "reproduction.json").exists()


@pytest.mark.parametrize("revision", ["unknown", "abc123+changes"])
def test_code_that_nobody_can_know_to_be_the_same_is_noted(revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_REVISION", revision)
    (note,) = reproduce.check_code({"code_revision": revision}, any_code=False)
    assert "cannot be known" in note
    (note,) = reproduce.check_code({"code_revision": "def456"}, any_code=True)
    assert note == f"made by code revision def456, trained again by {revision}"


def test_other_data_are_refused_by_digest(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = json.loads((release / "candidate.json").read_text())["dataset"]
    change(release, dataset=dataset | {"sha256": "0" * 64})
    assert run(release) == 2
    assert "The data differ" in capsys.readouterr().err


def test_rows_that_were_changed_are_refused(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": ["other"], "label": [0]}), release / "dataset" / "train.parquet")
    document = json.loads((release / "dataset" / "dataset.json").read_text())
    document["splits"]["train"]["uri"] = (release / "dataset" / "train.parquet").as_uri()
    (release / "dataset" / "dataset.json").write_text(json.dumps(document))
    dataset = json.loads((release / "candidate.json").read_text())["dataset"]
    change(release, dataset=dataset | {"uri": (release / "dataset" / "dataset.json").as_uri()})
    assert run(release) == 2
    assert "was changed after dataset.json was written" in capsys.readouterr().err


def test_a_package_that_the_registry_does_not_know_is_refused(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(release, "--archive-sha256", "0" * 64) == 2
    assert "The package differs" in capsys.readouterr().err


def test_a_release_whose_files_are_gone_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nowhere") == 2
    assert "not found" in capsys.readouterr().err
