from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from include.classifier.packaging.golden import MAX_EXAMPLES, choose, with_fallback
from include.classifier.serving.predictor import Prediction

LABELS = ["a", "b", "c", "d"]


def predicted(label: str, score: float) -> Prediction:
    rest = (1 - score) / (len(LABELS) - 1)
    return Prediction(label, score, {each: score if each == label else rest for each in LABELS}, truncated=False)


def many() -> tuple[list[str], list[Prediction]]:
    texts = [f"{'word ' * (1 + row // 4)}{row}" for row in range(120)]
    return texts, [predicted(LABELS[row % 4], 0.5 + (row * 7 % 100) / 250) for row in range(120)]


def test_labels_and_lengths_are_spread() -> None:
    texts, predictions = many()

    examples = choose(texts, predictions)

    assert len(examples) == MAX_EXAMPLES
    assert Counter(example["label"] for example in examples) == dict.fromkeys(LABELS, 4)
    thirds = sorted(len(text) for text in texts)
    short = [example for example in examples if len(example["text"]) < thirds[40]]
    long = [example for example in examples if len(example["text"]) > thirds[80]]
    assert len(short) >= 4
    assert len(long) >= 4


def test_confident_ones_come_first() -> None:
    examples = choose(["aa", "bb", "cc"] * 20, [predicted("a", 0.5 + row / 200) for row in range(60)])

    assert min(example["probabilities"]["a"] for example in examples) > 0.65


def test_what_the_model_answered_is_recorded() -> None:
    [example] = choose(["good food"], [predicted("c", 0.7)])

    assert example == {"text": "good food", "label": "c", "probabilities": {"a": 0.1, "b": 0.1, "c": 0.7, "d": 0.1}}


def test_long_texts_stay_out_unless_there_are_no_others() -> None:
    long, short = "word " * 500, "word"

    assert [each["text"] for each in choose([long, short], [predicted("a", 0.9)] * 2)] == [short]
    assert [each["text"] for each in choose([long], [predicted("a", 0.9)])] == [long]


def test_the_order_of_the_rows_does_not_matter() -> None:
    texts, predictions = many()

    assert choose(texts[::-1], predictions[::-1]) == choose(texts, predictions)


def test_what_a_server_falls_back_to_stands_beside_the_answer() -> None:
    class AsTrained:
        def predict(self, texts: Sequence[str]) -> list[Prediction]:
            return [predicted("b", 0.7) for _ in texts]

    examples = choose(["a text"], [predicted("a", 0.4)])

    [found] = with_fallback(examples, AsTrained())

    assert found.pop("computed_in") == {
        "torch-float32": {"label": "b", "probabilities": {"a": 0.1, "b": 0.7, "c": 0.1, "d": 0.1}}
    }
    assert [found] == examples
