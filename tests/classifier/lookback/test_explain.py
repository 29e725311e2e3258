"""An answer is explained by the code and the model that the server runs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from include.classifier.lookback import explain
from include.classifier.packaging.archive import build_archive, open_archive
from include.classifier.serving.predictor import Predictor
from tests.toy_package import write_candidate

LABELS = ["bad", "fine", "très bon"]
VERSION = "20261121030000"
TEXT = "The food was good, and very quick"


@pytest.fixture(scope="module")
def release(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    build_archive(tiny_model, model="reviews", version=VERSION, target=folder / "model-store" / "reviews.mar")
    golden = [{"text": "good", "label": "fine", "probabilities": dict.fromkeys(LABELS, 0.0)}]
    write_candidate(folder, model="reviews", version=VERSION, labels=LABELS, golden_examples=golden)
    return folder


@pytest.fixture
def run(release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return ``run(text, served)``: exit code, stdout and stderr."""

    def run(text: str, served: Any = None, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"text": text, "served": served})))
        code = explain.main(["--candidate-uri", (release / "candidate.json").as_uri(), *options])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def answer(tiny_model: Path) -> Any:
    (found,) = Predictor.load(tiny_model).predict([TEXT])
    return found


def served(answer: Any, **changes: Any) -> dict[str, Any]:
    return {"label": answer.label, "probabilities": answer.probabilities, "version": VERSION} | changes


def test_it_shows_the_answer_the_tokens_and_what_made_the_model(run: Any, answer: Any) -> None:
    code, output, _ = run(TEXT)
    assert code == 0
    assert f"reviews {VERSION} answers: {answer.label} ({answer.score:.4f})" in output
    for label, value in answer.probabilities.items():
        assert f"  {label:<8}  {value:.4f}" in output
    assert "[CLS] the food was good [UNK] and very quick [SEP]" in output
    assert "TRUNCATED" not in output
    assert "this version is not being served" in output
    assert "80 rows, digest dddd" in output


def test_a_word_matters_by_what_the_model_answers_without_it(
    release: Path, tiny_model: Path, answer: Any, tmp_path: Path
) -> None:
    found = explain.explain(open_archive(release / "model-store" / "reviews.mar", tmp_path), TEXT)
    (without,) = Predictor.load(tiny_model).predict(["The food was  and very quick"])
    falls = dict(found.words)
    assert list(falls) == TEXT.split()
    assert falls["good,"] == pytest.approx(answer.score - without.probabilities[answer.label], abs=1e-6)


def test_what_the_model_does_not_read_is_said_and_left_out(run: Any) -> None:
    code, output, _ = run("good " * 14 + "food " * 6)
    assert code == 0
    assert "Tokens: 16, of at most 16" in output
    assert "TRUNCATED: the text has 22 tokens" in output
    assert "food" not in output


def test_a_text_of_one_word_has_no_word_to_leave_out(run: Any) -> None:
    code, output, _ = run("good")
    assert code == 0
    assert "there is only one" in output


def test_the_endpoint_s_answer_stands_beside_it_and_another_one_is_an_error(run: Any, answer: Any) -> None:
    code, output, _ = run(TEXT, served(answer))
    assert code == 0
    assert f"from version {VERSION}: the same, largest difference 0.000000" in output
    other = next(label for label in LABELS if label != answer.label)
    for changes in ({"label": other}, {"probabilities": dict.fromkeys(LABELS, 1 / 3)}):
        code, output, _ = run(TEXT, served(answer, **changes))
        assert code == 1
        assert "ANOTHER ANSWER" in output


def test_an_endpoint_that_fell_back_to_another_precision_is_no_error_where_the_release_says_so(
    run: Any, answer: Any, release: Path
) -> None:
    elsewhere = served(answer, probabilities=dict.fromkeys(LABELS, 1 / 3), computed_in="torch-float32")
    assert run(TEXT, elsewhere)[0] == 1, "nothing that this release was packed for can be missing"
    recorded = json.loads((release / "candidate.json").read_text())
    precision = {"chosen": "torch-bfloat16", "reason": "", "rows": 0, "measured": [], "needs": ["amx_bf16"]}
    changed = recorded | {"serving": recorded["serving"] | {"precision": precision}}
    try:
        (release / "candidate.json").write_text(json.dumps(changed))
        code, output, _ = run(TEXT, elsewhere)
    finally:
        (release / "candidate.json").write_text(json.dumps(recorded))
    assert code == 0
    assert "computed in another precision, because one of both processors lacks" in output


def test_it_is_the_archive_s_own_code_that_answers(release: Path, tmp_path: Path) -> None:
    folder = open_archive(release / "model-store" / "reviews.mar", tmp_path)
    text = folder / "classifier_serving" / "text.py"
    text.write_text(text.read_text() + "\n\ndef clean(text):\n    return 'never again'\n")
    assert explain.explain(folder, TEXT).tokens == ["[CLS]", "never", "again", "[SEP]"]


def test_an_archive_that_was_changed_is_not_explained_and_no_message_holds_the_text(run: Any) -> None:
    code, output, error = run(TEXT, None, "--archive-sha256", "0" * 64)
    assert code == 2
    assert "The package differs" in error
    assert "food" not in output + error
