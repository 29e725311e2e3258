from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.classifier.packaging.onnx_export import export, write
from include.classifier.serving.predictor import Predictor
from include.classifier.serving.torch_engine import MICRO_BATCH_ROWS

TEXTS = ["good food", "the place was very slow", "bad", "never again", "quick and good food and quick place"]


@pytest.fixture(scope="module")
def folders(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model for each engine and precision."""
    exported, folder = export(tiny_model), tmp_path_factory.mktemp("variants")
    return {"torch": tiny_model} | {
        name: write(exported, tiny_model, folder / name, as_int8=name == "int8") for name in ("onnx", "int8")
    }


@pytest.fixture(scope="module", params=["torch", "onnx", "int8"])
def predictor(folders: dict[str, Path], request: pytest.FixtureRequest) -> Predictor:
    return Predictor.load(folders[request.param], device="cpu", threads=2)


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
    assert predictor.predict([" good\nfood  "]) == predictor.predict(["good food"])


def test_a_text_beyond_the_limit_of_tokens_is_said_to_be_truncated(predictor: Predictor) -> None:
    assert [each.truncated for each in predictor.predict(["good " * 14, "good " * 15])] == [False, True]


def test_no_texts_have_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


@pytest.mark.parametrize(("name", "tolerance"), [("torch", 1e-6), ("onnx", 1e-6), ("int8", 0.05)])
def test_transformers_gives_the_same_answer(
    name: str, tolerance: float, folders: dict[str, Path], tiny_model: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(tiny_model),
        AutoModelForSequenceClassification.from_pretrained(tiny_model),
    )
    with torch.inference_mode():
        logits = model(**tokenizer(TEXTS[1], return_tensors="pt")).logits
    [prediction] = Predictor.load(folders[name]).predict([TEXTS[1]])

    assert list(prediction.probabilities.values()) == pytest.approx(logits.softmax(-1)[0].tolist(), abs=tolerance)


def test_in_onnx_runtime_no_answer_depends_on_its_neighbours_at_all(folders: dict[str, Path]) -> None:
    predictor = Predictor.load(folders["int8"], threads=2)

    assert predictor.predict(TEXTS) == [predictor.predict([text])[0] for text in TEXTS]


@pytest.mark.processes
def test_a_model_in_onnx_runtime_needs_no_pytorch(folders: dict[str, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from include.classifier.serving.predictor import Predictor; "
        "print(Predictor.load(Path(sys.argv[1])).predict(['good food'])[0].label, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folders["int8"])], check=True, capture_output=True, text=True
    )

    (expected,) = Predictor.load(folders["int8"]).predict(["good food"])
    assert done.stdout.split("\n")[0] == f"{expected.label} False"


def test_a_model_that_does_not_classify_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["DistilBertForMaskedLM"]}))

    with pytest.raises(ValueError, match="'DistilBertForMaskedLM' is no sequence classifier"):
        Predictor.load(folder)


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_labels_that_do_not_fit_the_model_are_refused(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[name], tmp_path / "model")
    (folder / "classifier.json").write_text(json.dumps({"labels": ["bad", "good"], "max_length": 16}))

    with pytest.raises(ValueError, match="names 2 labels, the model has 3 classes"):
        Predictor.load(folder)
