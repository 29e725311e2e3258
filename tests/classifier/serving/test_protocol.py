from __future__ import annotations

import json
from typing import Any

import pytest

from include.classifier.serving.predictor import Prediction
from include.classifier.serving.protocol import BadRequest, read_texts, write_answer, write_refusal

JSON = "application/json"
SECRET = "Zyxwvut"


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
    assert read_texts(parameters) == texts


def test_a_body_declared_as_json_is_parsed_where_the_server_left_that_to_us() -> None:
    assert read_texts({"body": bytearray(b'{"instances": ["a"]}')}, "application/json; charset=utf-8") == ["a"]


def test_a_thousand_instances_are_allowed() -> None:
    assert len(read_texts({"body": {"instances": ["a"] * 1000}})) == 1000


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
        ({"body": {"instances": ["Zyxwvut", " \t\\n "]}}, JSON, "instances[1] is empty"),
        ({"body": {"instances": ["Zyxwvut", "Zyxwvut \ud800"]}}, JSON, "instances[1] has half a surrogate pair"),
        ({"body": {"data": {"a": "Zyxwvut"}}}, JSON, "data is an object"),
    ],
)
def test_a_bad_request_is_told_what_to_change_and_where(
    parameters: dict[str, Any], content_type: str, message: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        read_texts(parameters, content_type)

    assert message in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_an_answer_has_one_object_for_each_row() -> None:
    short = Prediction("très bon", 0.75, {"bad": 0.25, "très bon": 0.75}, truncated=False)
    long = Prediction("bad", 1.0, {"bad": 1.0, "très bon": 1e-9}, truncated=True)

    assert json.loads(write_answer([short, long], "20261121030000")) == {
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


def test_a_refusal_has_the_form_of_the_servers_own_errors() -> None:
    assert json.loads(write_refusal(BadRequest("why"))) == {
        "code": 400,
        "type": "BadRequestException",
        "message": "why",
    }
