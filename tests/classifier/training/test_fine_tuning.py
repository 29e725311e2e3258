"""Training gives a folder that can be served, the same every time, or says clearly why it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from include.classifier.serving.predictor import Predictor
from include.classifier.tracking import Tracker, tracked_run
from include.classifier.training.base_model import BaseModelError
from include.classifier.training.fine_tuning import Training, train_on
from include.classifier.training.rows import HeldOut, RowsInMemory, class_weights
from include.contracts.settings import TrainingConfig
from tests.classifier.architectures import CLASSES, LABELS, TEXTS

pytestmark = pytest.mark.computes

SETTINGS = TrainingConfig(epochs=4, learning_rate=3e-3, batch_size=8, max_length=24)


def run(folder: Path, settings: TrainingConfig = SETTINGS, tracker: Tracker | None = None) -> dict:
    rows = RowsInMemory(TEXTS, CLASSES)
    return train_on(
        Training(rows=rows, labels=LABELS, settings=settings, model_dir=folder, tracker=tracker or Tracker())
    )


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, run(folder)


def test_it_learns_and_can_be_loaded_for_serving(trained):
    folder, _ = trained
    predictions = Predictor.load(folder).predict(TEXTS)
    assert [prediction.label for prediction in predictions] == [LABELS[label] for label in CLASSES]


def test_it_says_what_was_trained(trained):
    folder, facts = trained
    assert (facts["base_model"], facts["base_model_revision"]) == ("scratch", None)
    assert 0 < facts["epochs_run"] <= 4
    assert facts["samples_per_second"] > 0
    assert facts["parameters"]["seed"] == 42
    classifier = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
    assert (classifier["labels"], classifier["max_length"]) == (LABELS, 24)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"] == {"0": "bad", "1": "good"}


def test_no_checkpoints_are_left_behind(trained):
    folder, _ = trained
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert {path.name for path in folder.iterdir()} == {
        "classifier.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_same_input_and_seed_give_the_same_weights(trained, tmp_path):
    folder, _ = trained
    run(tmp_path / "again")
    assert weights(tmp_path / "again") == weights(folder)


def test_another_seed_gives_other_weights(trained, tmp_path):
    folder, _ = trained
    run(tmp_path / "other", SETTINGS.model_copy(update={"seed": 7, "epochs": 1}))
    assert weights(tmp_path / "other") != weights(folder)


def test_an_encoder_without_a_head_gets_one(tmp_path):
    from transformers import BertConfig, BertModel

    from include.classifier.training.scratch import make_tokenizer

    tokenizer = make_tokenizer(TEXTS, max_length=16)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
        )
    ).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    run(tmp_path / "model", SETTINGS.model_copy(update={"base_model": str(tmp_path / "encoder"), "epochs": 1}))
    predictor = Predictor.load(tmp_path / "model")
    # The base model's own limit holds where it is lower.
    assert (predictor.labels, predictor.max_length) == (LABELS, 16)


def test_a_model_with_other_labels_can_be_trained_further(trained, tmp_path):
    folder, _ = trained
    labels = ["one", "two", "three"]
    training = Training(
        rows=RowsInMemory(TEXTS, [index % 3 for index in range(len(TEXTS))]),
        labels=labels,
        settings=SETTINGS.model_copy(update={"base_model": str(folder), "epochs": 0.5}),
        model_dir=tmp_path / "model",
        tracker=Tracker(),
    )
    train_on(training)
    assert Predictor.load(tmp_path / "model").labels == labels


def test_early_stopping_ends_before_the_epochs_are_over(tmp_path):
    # At this learning rate nothing changes, so no epoch after the first is better.
    facts = run(
        tmp_path / "model",
        SETTINGS.model_copy(update={"epochs": 9, "learning_rate": 1e-12, "early_stopping_patience": 2}),
    )
    assert facts["epochs_run"] <= 4


def test_without_early_stopping_all_rows_are_learned_from_at_a_rate_that_is_told(tmp_path, capsys):
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": None, "early_stopping_patience": 0})
    facts = run(tmp_path / "model", settings)
    assert (facts["epochs_run"], facts["parameters"]["learning_rate"]) == (1, 1e-3)
    said = capsys.readouterr().out
    assert f"{len(TEXTS)} rows to learn from, 0 to choose" in said
    assert "1 epochs at most, learning rate 0.001; chosen here: learning rate\n" in said


def test_a_loss_that_is_no_number_stops_with_step_and_remedy(tmp_path):
    from include.classifier.training.problems import TrainingDivergedError

    with pytest.raises(TrainingDivergedError, match=r"step \d+ of \d+ .* Lower the learning rate"):
        run(tmp_path / "model", SETTINGS.model_copy(update={"learning_rate": 1e30}))
    assert not (tmp_path / "model" / "model.safetensors").exists()
    assert list(tmp_path.glob(".checkpoints-*")) == []


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BaseModelError, match="no such directory"):
        run(tmp_path / "model", SETTINGS.model_copy(update={"base_model": str(tmp_path / "nowhere")}))


def test_a_directory_without_a_model_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BaseModelError, match=r"empty cannot be loaded .* needs config\.json"):
        run(tmp_path / "model", SETTINGS.model_copy(update={"base_model": str(tmp_path / "empty")}))


def test_a_hub_model_that_cannot_be_had_comes_with_remedies(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BaseModelError, match=r"'no-such/model' .* Check the spelling.* without internet"):
        run(tmp_path / "model", SETTINGS.model_copy(update={"base_model": "no-such/model"}))


@pytest.mark.long  # told by tests/classifier/test_tracking.py
def test_the_learning_curve_reaches_mlflow(tmp_path):
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path}/mlflow.db"
    with tracked_run(store, experiment="reviews", name="first") as tracker:
        run(tmp_path / "model", SETTINGS.model_copy(update={"epochs": 2}), tracker)
    client = MlflowClient(store)
    assert len(client.get_metric_history(tracker.run_id, "validation_macro_f1")) == 2
    assert len(client.get_metric_history(tracker.run_id, "loss")) > 2
    assert client.get_run(tracker.run_id).data.params["learning_rate"] == "0.003"


def test_the_held_out_rows_are_a_tenth_of_each_class():
    classes = np.array([0] * 100 + [1] * 50 + [2] * 5 + [3])
    mask = HeldOut(seed=1).mask(classes)
    assert np.bincount(classes[mask], minlength=4).tolist() == [10, 5, 1, 0]
    assert (mask == HeldOut(seed=1).mask(classes)).all()
    assert (mask != HeldOut(seed=2).mask(classes)).any()


def test_even_classes_are_not_weighted_and_uneven_ones_count_alike_in_sum():
    assert class_weights(np.array([0] * 3 + [1] * 2), 2) is None
    uneven = np.array([0] * 8 + [1] * 2)
    weights = class_weights(uneven, 2)
    assert weights == [0.625, 2.5]
    assert weights[0] * 8 == weights[1] * 2


def test_whoever_is_told_of_an_epoch_may_end_the_training(tmp_path):
    class EnoughError(Exception):
        pass

    told = []

    def enough(epoch):
        told.append(epoch)
        raise EnoughError

    training = Training(
        rows=RowsInMemory(TEXTS, CLASSES, held_out=HeldOut(0)),
        labels=LABELS,
        settings=SETTINGS,
        model_dir=tmp_path / "model",
        tracker=Tracker(),
        after_epoch=enough,
    )
    with pytest.raises(EnoughError):
        train_on(training)

    assert len(told) == 1
