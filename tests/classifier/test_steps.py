"""The steps hand over through files, and the last one writes candidate.json when everything else is done."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import Split, write_dataset
from include.classifier.packaging.archive import build_archive, open_archive
from include.classifier.packaging.package import SAMPLE_ROWS, sample_texts
from include.classifier.packaging.same_features import FeatureSkewError, check_same_features
from include.classifier.serving.predictor import Predictor
from include.classifier.steps import evaluate_step, package_step, train_step, write_candidate
from include.classifier.training.features import FEATURES_FILE
from include.contracts.documents import DocumentError
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from tests.monitoring.support import request, write

pytestmark = pytest.mark.computes

LABELS = ["bad", "good"]
OTHER = {"bad": "good", "good": "bad"}
TRAIN = Split([f"{word} food number {index}" for word in LABELS for index in range(12)], [0] * 12 + [1] * 12)
EVALUATION = Split([f"{word} food again {index}" for word in LABELS for index in range(5)], [0] * 5 + [1] * 5)
VERSION = "20261121030000"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a release whose model has been trained and packed."""
    folder = tmp_path_factory.mktemp("release")
    write_dataset(
        f"{folder.as_uri()}/dataset",
        model="reviews",
        label_names=LABELS,
        splits={"train": TRAIN, "evaluation": EVALUATION},
        sources=[],
        rows_in=34,
        dropped={reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")},
    )
    train_step(
        dataset_uri=f"{folder.as_uri()}/dataset/dataset.json",
        model_dir=str(folder / "model"),
        training_file=str(folder / "steps" / "training"),
        model_name="reviews",
        model_version=VERSION,
        settings={"epochs": 1, "max_length": 16},
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        code_revision="abc123",
    )
    archive = build_archive(
        folder / "model", model="reviews", version=VERSION, target=folder / "package" / "model-store" / "reviews.mar"
    )
    facts = {
        "archive": {
            "uri": (folder / "package").as_uri(),
            "file": "model-store/reviews.mar",
            "sha256": archive.sha256,
            "size_bytes": archive.size_bytes,
        },
        "labels": LABELS,
        "serving": {"load_seconds": 1, "p50_ms": 1, "p95_ms": 1, "parity_rows": 1, "largest_difference": 0},
        "golden_examples": [{"text": "a", "label": "bad", "probabilities": {"bad": 0.6, "good": 0.4}}],
    }
    (folder / "steps" / "package").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def evaluated(release: Path, output: Path, **options: Any):
    return evaluate_step(
        dataset_uri=f"{release.as_uri()}/dataset/dataset.json",
        package_file=str(release / "steps" / "package"),
        training_file=str(release / "steps" / "training"),
        model_name="reviews",
        model_version=VERSION,
        output_uri=output.as_uri(),
        tracking_uri=f"sqlite:///{release}/mlflow.db",
        **options,
    )


def test_candidate_json_holds_what_every_step_found(release, tmp_path):
    live = (release / "package").as_uri()
    headline = evaluated(release, tmp_path, code_revision="abc123", live_uri=live, confidence=0.9)
    document = json.loads((tmp_path / "candidate.json").read_text(encoding="utf-8"))
    TextClassifierCandidate.read(document, where="the package's")
    assert (document["model"], document["version"], document["code_revision"]) == ("reviews", VERSION, "abc123")
    assert document["dataset"]["evaluation_rows"] == 10
    assert document["metrics"]["live"]["macro_f1"] == document["metrics"]["candidate"]["macro_f1"]
    assert document["comparison"]["macro_f1"] == {"difference": 0, "low": 0, "high": 0}
    assert document["comparison"]["confidence"] == 0.9
    assert (tmp_path / "evaluation" / "predictions.parquet").is_file()
    assert document["training"]["base_model"] == "scratch"
    assert document["packages"]["torch"]
    assert headline.metrics["candidate_macro_f1"] == document["metrics"]["candidate"]["macro_f1"]
    assert [sum(row) for row in headline.confusion] == [5, 5]
    assert document["report_uri"] == (tmp_path / "report" / "report.html").as_uri()
    assert document["dataset"]["sha256"] in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / ".candidate.json").exists()


def test_what_training_saw_is_left_for_packaging_to_compare_with(release, tmp_path):
    texts = sample_texts(f"{release.as_uri()}/dataset/evaluation.parquet", SAMPLE_ROWS)
    kept = json.loads((release / "model" / FEATURES_FILE).read_text(encoding="utf-8"))["rows"]
    assert len(kept) == len(texts) == 10
    unpacked = open_archive(release / "package" / "model-store" / "reviews.mar", tmp_path / "unpacked")

    assert check_same_features(unpacked, release / "model", texts)["tokens"] == sum(tokens for tokens, _ in kept)
    with pytest.raises(FeatureSkewError):
        check_same_features(unpacked, release / "model", texts[::-1])


def test_what_is_trained_again_lies_beside_what_was_there_before(release, tmp_path, monkeypatch):
    packed = json.loads((release / "steps" / "package").read_text(encoding="utf-8"))
    places = []

    def package(model_dir: Path, *, output_uri: str, **of: Any) -> dict[str, Any]:
        places.append(output_uri.removeprefix(tmp_path.as_uri()))
        return packed

    monkeypatch.setattr("include.classifier.packaging.package.package", package)
    evaluate = {"dataset_uri": f"{release.as_uri()}/dataset/dataset.json", "output_uri": tmp_path.as_uri()}
    evaluate |= {"model_name": "reviews", "model_version": VERSION}
    file = tmp_path / "steps" / "package"
    reports = []
    for _ in range(2):
        package_step(**evaluate, model_dir="", package_file=str(file), serving={})
        evaluate_step(**evaluate, package_file=str(file), training_file=str(release / "steps" / "training"))
        document = TextClassifierCandidate.parse(
            (tmp_path / "candidate.json").read_text(encoding="utf-8"), where="the candidate"
        )
        reports.append(document.report_uri.removeprefix(tmp_path.as_uri()))
    assert places == ["/package", "/attempt-2/package"]
    assert reports == ["/report/report.html", "/attempt-2/report/report.html"]
    assert (tmp_path / "attempt-2" / "evaluation" / "predictions.parquet").is_file()


def test_scores_and_picture_join_the_training_s_mlflow_run(release, tmp_path):
    from mlflow import MlflowClient

    headline = evaluated(release, tmp_path)
    run_id = json.loads((release / "steps" / "training").read_text(encoding="utf-8"))["tracking_run_id"]
    run = MlflowClient(f"sqlite:///{release}/mlflow.db").get_run(run_id)
    assert run.data.metrics["candidate_macro_f1"] == headline.metrics["candidate_macro_f1"]
    assert run.data.tags["code_revision"] == "abc123"
    artifacts = {path.name for path in (release / "artifacts" / "reviews" / run_id / "artifacts").iterdir()}
    assert artifacts >= {"confusion_matrix.svg", "report.html", "reliability_candidate.svg", "learning_curve.svg"}
    assert "loss on training rows" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_the_image_s_code_revision_is_recorded_when_none_is_given(release, tmp_path, monkeypatch):
    monkeypatch.setenv("CODE_REVISION", "built-in")
    evaluated(release, tmp_path)
    assert json.loads((tmp_path / "candidate.json").read_text(encoding="utf-8"))["code_revision"] == "built-in"


def test_a_candidate_that_breaks_the_contract_is_not_written(tmp_path):
    with pytest.raises(DocumentError):
        write_candidate({"schema_version": 1}, tmp_path.as_uri())
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_step_replaces_candidate_json(release, tmp_path):
    evaluated(release, tmp_path, code_revision="first")
    evaluated(release, tmp_path, code_revision="second")
    assert json.loads((tmp_path / "candidate.json").read_text(encoding="utf-8"))["code_revision"] == "second"


def trained_again(release: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    """Run the training step as a try of it does, and return what it says of the training."""
    train_step(
        dataset_uri=f"{release.as_uri()}/dataset/dataset.json",
        model_dir=str(folder / "model"),
        training_file=str(folder / "training"),
        model_name="reviews",
        model_version=VERSION,
        settings={"epochs": 1, "max_length": 16, "checkpoint_minutes": 1e-9, **settings},
        output_uri=(folder / "version").as_uri(),
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        code_revision="abc123",
    )
    found: dict[str, Any] = json.loads((folder / "training").read_text(encoding="utf-8"))
    return found


def test_a_training_step_that_is_tried_again_takes_the_model_that_is_there(release, tmp_path, capsys):
    first = trained_again(release, tmp_path)
    capsys.readouterr()

    assert trained_again(release, tmp_path) == first
    assert "trained already" in capsys.readouterr().out


def test_a_training_that_comes_to_nothing_is_not_tried_again(release, tmp_path, monkeypatch, capsys):
    from include.classifier.training import trainer
    from include.classifier.training.problems import FailedBeforeError, TrainingDivergedError

    monkeypatch.setattr(trainer.SharedSteps, "loss", lambda self, logits, labels, weight: logits.sum() * float("nan"))
    with pytest.raises(TrainingDivergedError):
        trained_again(release, tmp_path, gradient_accumulation=2)
    capsys.readouterr()
    with pytest.raises(FailedBeforeError, match=r"The loss became nan in step 1 .* nothing was trained again"):
        trained_again(release, tmp_path, gradient_accumulation=2)
    assert "train:" not in capsys.readouterr().out


def test_what_users_have_asked_is_answered_by_the_package_and_stands_in_candidate_json(release, tmp_path, capsys):
    live = "20261114030000"
    texts = [f"private words {number}" for number in range(30)]
    answers = Predictor.load(release / "model").predict(texts)
    now = datetime.now(UTC)
    captured = [
        request(
            number,
            now - timedelta(minutes=number),
            [text],
            labels=[OTHER[answer.label] if number < 6 else answer.label],
            confidences=[1 - answer.score if number < 6 else answer.score],
            keep=True,
            version=live,
        )
        for number, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]
    write(tmp_path, captured)
    shadow = {"requests": 20.0, "days": 7.0, "store_uri": tmp_path.as_uri(), "live_version": live}  # as Kubeflow has it
    evaluated(release, tmp_path / live, shadow=shadow)

    text = (tmp_path / live / "candidate.json").read_text(encoding="utf-8")
    found = TextClassifierCandidate.parse(text, where="the package's").shadow
    assert found and found.changed
    assert (found.requests, found.changed_rows) == (20, 6)
    assert found.mean_probability_change < 0.01, "the archive answers as the model that was trained"
    assert "private words" not in text + capsys.readouterr().out
    assert "captured requests" in (tmp_path / live / "report" / "report.html").read_text(encoding="utf-8")

    evaluated(release, tmp_path / "none", shadow=shadow | {"live_version": ""})
    assert "shadow" not in json.loads((tmp_path / "none" / "candidate.json").read_text(encoding="utf-8"))
