from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from include.classifier.serving.predictor import MICRO_BATCH_ROWS, Predictor

TEXTS = ["good food", "the place was very slow", "bad", "never again", "quick and good food and quick place"]


@pytest.fixture(scope="module")
def predictor(tiny_model: Path) -> Predictor:
    return Predictor.load(tiny_model, device="cpu")


def test_a_prediction_names_the_likeliest_label(predictor: Predictor) -> None:
    for prediction in predictor.predict(TEXTS):
        assert list(prediction.probabilities) == ["bad", "fine", "très bon"]
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert prediction.score == prediction.probabilities[prediction.label] == max(prediction.probabilities.values())


def test_answers_follow_the_order_of_the_texts_and_not_their_neighbours(predictor: Predictor) -> None:
    texts = [TEXTS[index % len(TEXTS)] + " good" * (index % 7) for index in range(MICRO_BATCH_ROWS * 2 + 3)]

    together = predictor.predict(texts)

    assert len({prediction.score for prediction in together}) > len(TEXTS), "the texts must differ to show an order"
    for text, prediction in zip(texts, together, strict=True):
        [alone] = predictor.predict([text])
        assert prediction.label == alone.label
        assert prediction.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_texts_are_cleaned_before_they_are_judged(predictor: Predictor) -> None:
    assert predictor.predict([r" good\nfood  "]) == predictor.predict(["good food"])


def test_a_text_beyond_the_limit_of_tokens_is_said_to_be_truncated(predictor: Predictor) -> None:
    assert [each.truncated for each in predictor.predict(["good " * 14, "good " * 15])] == [False, True]


def test_no_texts_have_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_transformers_gives_the_same_answer(predictor: Predictor, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(tiny_model),
        AutoModelForSequenceClassification.from_pretrained(tiny_model),
    )
    with torch.inference_mode():
        logits = model(**tokenizer(TEXTS[1], return_tensors="pt")).logits
    [prediction] = predictor.predict([TEXTS[1]])

    assert list(prediction.probabilities.values()) == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-6)


def test_a_model_that_does_not_classify_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["DistilBertForMaskedLM"]}))

    with pytest.raises(ValueError, match="'DistilBertForMaskedLM' is no sequence classifier"):
        Predictor.load(folder)


def test_labels_that_do_not_fit_the_model_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "classifier.json").write_text(json.dumps({"labels": ["bad", "good"], "max_length": 16}))

    with pytest.raises(ValueError, match="names 2 labels, the model has 3 classes"):
        Predictor.load(folder)
