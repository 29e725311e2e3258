from __future__ import annotations

import json
from typing import Any

import pytest

from include.classifier.serving.predictor import Prediction
from include.classifier.serving.protocol import (
    MAX_ANSWER_BYTES,
    AnswerTooLarge,
    BadRequest,
    Request,
    check_size,
    label_sizes,
    read_request,
    write_answer,
    write_refusal,
)

JSON = "application/json"
SECRET = "Zyxwvut"


def tensor(*rows: Any) -> dict[str, Any]:
    """Return a V2 input of texts."""
    return {"name": "texts", "datatype": "BYTES", "shape": [len(rows)], "data": list(rows)}


@pytest.mark.parametrize(
    ("parameters", "texts"),
    [
        ({"body": {"instances": ["a", "b"]}}, ["a", "b"]),
        ({"body": {"instances": [{"data": "a"}, {"text": "b"}, "c"]}}, ["a", "b", "c"]),
        ({"body": {"data": "a"}}, ["a"]),
        ({"body": {"text": ["a", "b"]}}, ["a", "b"]),
        ({"body": "plain text"}, ["plain text"]),
        ({"body": bytearray("très bon".encode())}, ["très bon"]),
        ({"body": bytearray(b'{"instances": ["a"]}')}, ["a"]),
        ({"body": bytearray(b"{not JSON} but text")}, ["{not JSON} but text"]),
        ({"data": "a"}, ["a"]),
        ({"data": bytearray(b"a file of a form")}, ["a file of a form"]),
    ],
)
def test_every_form_of_a_request_ends_as_texts(parameters: dict[str, Any], texts: list[str]) -> None:
    assert read_request(parameters) == Request(texts)


def test_a_body_declared_as_json_is_parsed_where_the_server_left_that_to_us() -> None:
    body = bytearray(b'{"instances": ["a"]}')
    assert read_request({"body": body}, "application/json; charset=utf-8").texts == ["a"]


def test_a_thousand_instances_are_allowed() -> None:
    assert len(read_request({"body": {"instances": ["a"] * 1000}}).texts) == 1000


@pytest.mark.parametrize(
    ("parameters", "content_type", "message"),
    [
        ({"body": bytearray(b'{"instances": ["Zyxwvut"')}, JSON, "not JSON in line 1, column 25"),
        ({"body": bytearray(b"")}, JSON, "not JSON"),
        ({"body": bytearray(b"[" * 100_000)}, JSON, "not JSON"),
        ({"body": bytearray(b'{"instances": ["Zyxwvut \xff"]}')}, JSON, "not valid UTF-8 at byte 24"),
        ({"body": bytearray(b"Zyxwvut \xff")}, "text/plain", "not valid UTF-8 at byte 8"),
        ({"data": bytearray(b"Zyxwvut \xff")}, "", "data is not valid UTF-8 at byte 8"),
        ({"body": {"Zyxwvut": 1}}, JSON, 'no "instances"'),
        ({"body": {}}, JSON, 'no "instances"'),
        ({}, "", 'no "instances"'),
        ({'{"instances": ["Zyxwvut"]}': ""}, "", "as application/json"),
        ({"body": ["Zyxwvut"]}, JSON, "The body is a list"),
        ({"body": None}, JSON, "The body is null"),
        ({"body": 5}, JSON, "The body is a number"),
        ({"body": ""}, JSON, "the body is empty"),
        ({"body": {"instances": "Zyxwvut"}}, JSON, '"instances" is a string, not a list'),
        ({"body": {"instances": []}}, JSON, '"instances" is empty'),
        ({"body": {"instances": ["Zyxwvut"] * 1001}}, JSON, "1001 rows: send at most 1000"),
        ({"body": {"instances": ["Zyxwvut", 5]}}, JSON, "instances[1] is a number, not a text"),
        ({"body": {"instances": ["Zyxwvut", True]}}, JSON, "instances[1] is a boolean"),
        ({"body": {"instances": ["Zyxwvut", None]}}, JSON, "instances[1] is null"),
        ({"body": {"instances": ["Zyxwvut", ["Zyxwvut"]]}}, JSON, "instances[1] is a list"),
        ({"body": {"instances": ["Zyxwvut", {"Zyxwvut": "a"}]}}, JSON, 'instances[1] has no "data"'),
        ({"body": {"instances": ["Zyxwvut", {"data": 5}]}}, JSON, "instances[1].data is a number"),
        ({"body": {"instances": ["Zyxwvut", " \t\n "]}}, JSON, "instances[1] is empty"),
        ({"body": {"instances": ["Zyxwvut", "Zyxwvut \ud800"]}}, JSON, "instances[1] has half a surrogate pair"),
        ({"body": {"data": {"a": "Zyxwvut"}}}, JSON, "data is an object"),
        ({"body": {"inputs": {"Zyxwvut": 1}}}, JSON, '"inputs" must be a list with one tensor'),
        ({"body": {"inputs": [tensor("Zyxwvut"), tensor("Zyxwvut")]}}, JSON, '"inputs" must be a list with one tensor'),
        ({"body": {"inputs": [tensor("Zyxwvut") | {"datatype": "FP32"}]}}, JSON, 'datatype must be "BYTES"'),
        ({"body": {"inputs": [tensor("Zyxwvut") | {"shape": [2]}]}}, JSON, "shape does not fit its data"),
        ({"body": {"inputs": [tensor()]}}, JSON, '"inputs[0].data" is empty'),
        ({"body": {"inputs": [tensor("Zyxwvut", 5)]}}, JSON, "inputs[0].data[1] is a number, not a text"),
        ({"body": {"inputs": [{"datatype": "BYTES", "shape": [1]}]}}, JSON, '"inputs[0].data" is null, not a list'),
    ],
)
def test_a_bad_request_is_told_what_to_change_and_where(
    parameters: dict[str, Any], content_type: str, message: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        read_request(parameters, content_type)

    assert message in str(refusal.value)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ["a"], "top_k": 3},
        {"data": "a", "top_k": 3},
        {"inputs": [tensor("a")], "parameters": {"top_k": 3}},
    ],
)
def test_a_request_may_ask_for_the_likeliest_labels_alone(body: dict[str, Any]) -> None:
    assert read_request({"body": body}).top_k == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_a_number_of_labels_is_a_whole_one(value: Any) -> None:
    with pytest.raises(BadRequest, match='"top_k" must be a whole number'):
        read_request({"body": {"instances": ["a"], "top_k": value}})


LONG = Prediction("b", 0.5, {"a": 0.2, "b": 0.5, "c": 0.3}, truncated=False)


def test_the_likeliest_labels_come_first() -> None:
    [row] = json.loads(write_answer(Request(["t"], top_k=2), [LONG], model="m", version="1"))["predictions"]
    assert (row["label"], list(row["probabilities"].items())) == ("b", [("b", 0.5), ("c", 0.3)])


def test_tensors_of_the_likeliest_labels_have_a_row_of_labels_for_each_text() -> None:
    request = Request(["t", "u"], is_v2=True, top_k=2)
    answer = json.loads(write_answer(request, [LONG, LONG], model="m", version="1"))
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert (outputs["labels"]["shape"], outputs["labels"]["data"]) == ([2, 2], ["b", "c", "b", "c"])
    assert outputs["probabilities"]["data"] == [0.5, 0.3, 0.5, 0.3]


NAMES = [f"Home and Garden > Department {number // 5} > Category é {number}" for number in range(1000)]
SIZES = label_sizes(NAMES)


@pytest.mark.parametrize("is_v2", [False, True])
@pytest.mark.parametrize("top_k", [None, 7])
def test_no_answer_is_larger_than_it_was_expected_to_be(top_k: int | None, is_v2: bool) -> None:
    probabilities = {name: 1e-4 * place for place, name in enumerate(NAMES)}
    answer = Prediction(NAMES[0], 0.123456, probabilities, truncated=True)

    def is_refused(texts: int) -> bool:
        try:
            check_size(Request(["a"] * texts, top_k=top_k), SIZES)
        except AnswerTooLarge:
            return True
        return False

    allowed = max(texts for texts in range(1, 1001) if not is_refused(texts))
    request = Request(["a"] * allowed, top_k=top_k, is_v2=is_v2)
    body = write_answer(request, [answer] * allowed, model="m" * 48, version="2" * 14)
    assert len(body.encode()) <= MAX_ANSWER_BYTES


def test_an_answer_that_would_be_too_large_is_refused_with_what_to_send_instead() -> None:
    with pytest.raises(AnswerTooLarge) as refusal:
        check_size(Request(["a"] * 250), SIZES)
    told = int(str(refusal.value).split("send at most ")[1].split(" texts")[0])

    check_size(Request(["a"] * told), SIZES)
    check_size(Request(["a"] * 1000, top_k=5), SIZES)
    assert json.loads(write_refusal(refusal.value))["code"] == 413


def test_an_answer_has_one_object_for_each_row() -> None:
    short = Prediction("très bon", 0.75, {"bad": 0.25, "très bon": 0.75}, truncated=False)
    long = Prediction("bad", 1.0, {"bad": 1.0, "très bon": 1e-9}, truncated=True)

    assert json.loads(write_answer(Request([]), [short, long], model="tiny", version="20261121030000")) == {
        "predictions": [
            {
                "label": "très bon",
                "score": 0.75,
                "probabilities": {"bad": 0.25, "très bon": 0.75},
                "version": "20261121030000",
            },
            {
                "label": "bad",
                "score": 1.0,
                "probabilities": {"bad": 1.0, "très bon": 0.0},
                "version": "20261121030000",
                "truncated": True,
            },
        ]
    }


@pytest.mark.parametrize("column", [tensor("a", "b"), tensor(["a"], ["b"]) | {"shape": [2, 1]}])
def test_a_tensor_of_texts_is_a_request_too(column: dict[str, Any]) -> None:
    body = {"id": "17", "inputs": [column]}
    assert read_request({"body": body}) == Request(["a", "b"], is_v2=True, request_id="17")


def test_who_sends_a_tensor_gets_tensors() -> None:
    short = Prediction("très bon", 0.75, {"bad": 0.25, "très bon": 0.75}, truncated=False)
    long = Prediction("bad", 1.0, {"bad": 1.0, "très bon": 1e-9}, truncated=True)
    request = Request(["a", "b"], is_v2=True, request_id="17")

    answer = json.loads(write_answer(request, [short, long], model="tiny", version="20261121030000"))

    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("tiny", "20261121030000", "17")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert {name: (output["datatype"], output["shape"], output["data"]) for name, output in outputs.items()} == {
        "label": ("BYTES", [2], ["très bon", "bad"]),
        "score": ("FP64", [2], [0.75, 1.0]),
        "probabilities": ("FP64", [2, 2], [0.25, 0.75, 1.0, 0.0]),
        "labels": ("BYTES", [2], ["bad", "très bon"]),
        "truncated": ("BOOL", [2], [False, True]),
    }


def test_a_refusal_has_the_form_of_the_servers_own_errors() -> None:
    assert json.loads(write_refusal(BadRequest("why"))) == {
        "code": 400,
        "type": "BadRequestException",
        "message": "why",
    }
