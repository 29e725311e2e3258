"""Each check, with an answer that breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from include.contracts.kinds.text_classifier import Expected, GoldenExample
from kubeflow_provider.exceptions import ServiceUnavailableError
from kubeflow_provider.services import Answer
from model_releases.exceptions import CheckFailedError
from model_releases.kinds.kind import Predict
from model_releases.kinds.text_classifier.smoke_test import BAD_INPUTS, TextSmokeTest

VERSION = "20260101000000"
SECRET = "a text that no message may hold"
EXAMPLES = tuple(
    GoldenExample(text=text, label=label, probabilities={"bad": bad, "good": 1 - bad})
    for text, label, bad in ((SECRET, "good", 0.1), (f"not {SECRET}", "bad", 0.75))
)
TEST = TextSmokeTest(
    version=VERSION, examples=EXAMPLES, max_latency_ms=100, probability_tolerance=0.01, patience_seconds=0
)

Change = Callable[[dict[str, Any]], Any]


def server(
    *, change: Change | None = None, only_alone: bool = False, latency_ms: float = 5, accepts: str = ""
) -> Predict:
    """Return a sound server, or one whose predictions are changed on the way out."""
    recorded = {example.text: example for example in EXAMPLES}

    def predict(body: bytes) -> Answer:
        if body in BAD_INPUTS.values() and body != BAD_INPUTS.get(accepts):
            return Answer(status_code=400, body={"code": 400, "message": "bad input"}, latency_ms=latency_ms)
        if body in BAD_INPUTS.values():
            return Answer(status_code=200, body={"predictions": []}, latency_ms=latency_ms)
        request = json.loads(body)
        texts = request["instances"]
        assert request["top_k"] == 2, "a model may answer with fewer labels unless it is asked"
        predictions = []
        for text in texts:
            example = recorded[text]
            prediction: Any = {
                "label": example.label,
                "score": example.probabilities[example.label],
                "probabilities": dict(example.probabilities),
                "version": VERSION,
            }
            if change and (len(texts) == 1 or not only_alone):
                prediction = change(prediction) or prediction
            predictions.append(prediction)
        return Answer(status_code=200, body={"predictions": predictions}, latency_ms=latency_ms)

    return predict


def failure(predict: Predict) -> CheckFailedError:
    with pytest.raises(CheckFailedError) as caught:
        list(TEST.run(predict))
    assert SECRET not in str(caught.value)
    return caught.value


def test_a_sound_model_passes_every_check() -> None:
    lines = list(TEST.run(server()))
    assert len(lines) == 3 + len(BAD_INPUTS)
    assert not [line for line in lines if SECRET in line]


FALLEN_BACK = tuple(
    example.model_copy(
        update={
            "computed_in": {"torch-float32": Expected(label=example.label, probabilities={"bad": bad, "good": 1 - bad})}
        }
    )
    for example, bad in zip(EXAMPLES, (0.13, 0.72), strict=True)
)


def in_float32(prediction: dict[str, Any]) -> None:
    bad = 0.13 if prediction["label"] == "good" else 0.72
    prediction |= {"probabilities": {"bad": bad, "good": 1 - bad}, "computed_in": "torch-float32"}


def test_a_server_that_fell_back_is_judged_by_what_it_computes_with() -> None:
    test = replace(TEST, examples=FALLEN_BACK)

    lines = list(test.run(server(change=in_float32)))

    told = "2 as recorded for torch-float32, which its processor had it fall back to, largest difference 0.0000"
    assert [line.partition(": ")[2] for line in lines[:2]] == [told, told]
    assert not [line for line in test.run(server()) if "fall back" in line]


def test_what_is_right_in_one_kernel_is_wrong_in_the_other() -> None:
    def silently(prediction: dict[str, Any]) -> None:
        in_float32(prediction)
        del prediction["computed_in"]

    def wrongly(prediction: dict[str, Any]) -> None:
        prediction["computed_in"] = "torch-float32"

    for change in (silently, wrongly):
        with pytest.raises(CheckFailedError, match="probabilities within"):
            list(replace(TEST, examples=FALLEN_BACK).run(server(change=change)))


@pytest.mark.parametrize("name", [SECRET, "onnx-int8", ["torch-float32"], {}, 1])
def test_a_kernel_of_which_nothing_is_recorded_is_none(name: Any) -> None:
    def change(prediction: dict[str, Any]) -> None:
        prediction["computed_in"] = name

    assert "got another kernel" in str(failure(server(change=change)))
    with pytest.raises(CheckFailedError, match="another kernel"):
        list(replace(TEST, examples=FALLEN_BACK).run(server(change=change)))


def permute(prediction: dict[str, Any]) -> None:
    good, bad = prediction["probabilities"]["good"], prediction["probabilities"]["bad"]
    prediction["probabilities"] = {"bad": good, "good": bad}
    prediction["label"] = "bad" if prediction["label"] == "good" else "good"


@pytest.mark.parametrize(
    ("change", "expected", "got"),
    [
        (permute, "label good in row 1", "bad"),
        (lambda p: p.update(version="20250101000000"), f"version {VERSION} in row 1", "20250101000000"),
        (lambda p: p.update(version=None), f"version {VERSION} in row 1", "another one"),
        (lambda p: p.update(label=SECRET), "label good in row 1", "another one"),
        (lambda p: p.update(probabilities={"bad": 0.6, "good": 0.4}), "most probable label good in row 1", "bad"),
        (lambda p: p.update(probabilities={"bad": 0.2, "good": 0.8}), "within 0.01", "0.1000"),
        (lambda p: p.update(probabilities={"bad": 0.2, "good": 0.9}), "sum to 1", "1.1000"),
        (lambda p: p.update(probabilities={"bad": float("nan"), "good": 0.9}), "sum to 1", "nan"),
        (lambda p: p.update(probabilities={"bad": "0.1", "good": 0.9}), "sum to 1", "nan"),
        (lambda p: p.update(probabilities={"bad": 0.1, "great": 0.9}), "each of 2 labels in row 1", "other labels"),
        (lambda p: p.pop("probabilities"), "each of 2 labels in row 1", "other labels"),
        (lambda p: ["good"], "each of 2 labels in row 1", "other labels"),
    ],
)
def test_an_answer_that_differs_is_told_with_its_row(change: Change, expected: str, got: str) -> None:
    error = failure(server(change=change))
    assert error.check == "golden examples in one request"
    assert expected in error.expected
    assert got in error.got


def test_single_requests_are_compared_as_well() -> None:
    error = failure(server(change=permute, only_alone=True))
    assert error.check == "golden examples one by one"


def test_the_median_latency_has_a_budget() -> None:
    error = failure(server(latency_ms=250))
    assert (error.check, error.got) == ("latency", "250 ms")
    assert "100 ms" in error.expected


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_every_kind_of_bad_input_must_be_refused(kind: str) -> None:
    error = failure(server(accepts=kind))
    assert error.check == f"bad input ({kind})"
    assert error.got == "HTTP 200"


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (
            Answer(status_code=500, body={"type": "InternalServerException", "message": SECRET}, latency_ms=1),
            "HTTP 500 (InternalServerException)",
        ),
        (Answer(status_code=500, body={"type": f"{SECRET}!"}, latency_ms=1), "HTTP 500"),
        (Answer(status_code=503, body=SECRET, latency_ms=1), "HTTP 503"),
        (Answer(status_code=200, body=SECRET, latency_ms=1), "an answer without `predictions`"),
        (Answer(status_code=200, body={"predictions": []}, latency_ms=1), "0"),
    ],
)
def test_an_error_is_told_without_the_servers_message(answer: Answer, got: str) -> None:
    assert failure(lambda body: answer).got == got


@pytest.mark.parametrize("trouble", [404, 503, None])
def test_a_route_that_is_still_being_made_is_waited_for(trouble: int | None) -> None:
    calls = []
    sound = server()

    def predict(body: bytes) -> Answer:
        calls.append(body)
        if len(calls) == 1 and trouble is None:
            raise ServiceUnavailableError("connection refused")
        if len(calls) == 1:
            return Answer(status_code=trouble or 0, body={}, latency_ms=1)
        return sound(body)

    test = TextSmokeTest(
        version=VERSION, examples=EXAMPLES, max_latency_ms=100, probability_tolerance=0.01, patience_seconds=30
    )
    assert list(test.run(predict))
    assert calls[0] == calls[1]


def test_no_answer_at_all_says_nothing_about_the_model() -> None:
    def predict(body: bytes) -> Answer:
        raise ServiceUnavailableError("connection refused")

    with pytest.raises(ServiceUnavailableError):
        list(TEST.run(predict))
