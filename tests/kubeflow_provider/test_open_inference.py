from __future__ import annotations

import json
from typing import Any

import pytest

from kubeflow_provider.open_inference import as_v1_answer, as_v2_request
from model_releases.kinds.text_classifier.smoke_test import BAD_INPUTS


def outputs(**changed: Any) -> dict[str, Any]:
    data = {
        "label": ["good", "bad"],
        "score": [0.9, 0.6],
        "probabilities": [0.1, 0.9, 0.6, 0.4],
        "labels": ["bad", "good"],
    } | changed
    tensors = [{"name": name, "data": values} for name, values in data.items()]
    return {"model_name": "reviews", "model_version": "20260101000000", "outputs": tensors}


def test_texts_become_a_tensor() -> None:
    assert json.loads(as_v2_request(b'{"instances": ["a", "b"]}')) == {
        "inputs": [{"name": "texts", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}]
    }


def test_a_number_of_labels_becomes_a_parameter() -> None:
    assert json.loads(as_v2_request(b'{"instances": ["a"], "top_k": 3}'))["parameters"] == {"top_k": 3}


def test_labels_of_each_row_become_its_probabilities() -> None:
    likeliest = outputs(probabilities=[0.9, 0.6], labels=["good", "bad"])
    next(output for output in likeliest["outputs"] if output["name"] == "labels")["shape"] = [2, 1]
    rows = as_v1_answer(likeliest)["predictions"]
    assert [row["probabilities"] for row in rows] == [{"good": 0.9}, {"bad": 0.6}]


def test_bad_input_stays_bad() -> None:
    asked = {kind: as_v2_request(body) for kind, body in BAD_INPUTS.items()}
    assert asked["not JSON"] == BAD_INPUTS["not JSON"]
    rows = {kind: json.loads(asked[kind])["inputs"][0]["data"] for kind in asked if kind != "not JSON"}
    assert rows == {"no instances": [], "wrong type": [1], "empty text": [""]}


def test_tensors_become_predictions() -> None:
    assert as_v1_answer(outputs()) == {
        "predictions": [
            {
                "label": "good",
                "score": 0.9,
                "probabilities": {"bad": 0.1, "good": 0.9},
                "version": "20260101000000",
            },
            {
                "label": "bad",
                "score": 0.6,
                "probabilities": {"bad": 0.6, "good": 0.4},
                "version": "20260101000000",
            },
        ]
    }


@pytest.mark.parametrize(
    "body", ["text", None, {"error": "no"}, {"outputs": [{"name": "label"}]}, outputs(probabilities=[0.1, 0.9])]
)
def test_another_answer_is_left_to_whoever_asked(body: Any) -> None:
    assert as_v1_answer(body) == body
