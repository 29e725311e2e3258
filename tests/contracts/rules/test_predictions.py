"""Predictions that any pipeline writes: read whole and bounded, or refused without repeating what stands there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.rules import predictions
from include.contracts.rules.predictions import PredictionsError, dump_predictions, parse_predictions, rows_digest

LINES = (
    b'{"id": 1, "label": "cat", "prediction": "dog", "text": "a secret"}\n\n{"id": 2, "label": 3, "prediction": 3.0}\n'
)


def test_json_lines_and_csv_say_the_same() -> None:
    found = parse_predictions(LINES, where="rows")
    assert found == {"1": ("cat", "dog"), "2": ("3", "3")}
    assert found == parse_predictions(
        b"\xef\xbb\xbftext,id,label,prediction\r\nx,1,cat,dog\r\n,2,3,3\r\n", where="rows"
    )
    kept = dump_predictions(found)
    assert b"secret" not in kept
    assert parse_predictions(kept, where="rows") == found
    assert dump_predictions(dict(reversed(found.items()))) == kept


def test_the_same_rows_have_the_same_digest_whatever_is_predicted_of_them() -> None:
    def digest(**row: Any) -> str:
        line = json.dumps({"id": 1, "label": "cat", "prediction": "dog"} | row)
        return rows_digest(parse_predictions(line.encode(), where="rows"))

    assert digest() == digest(prediction="cat")
    assert len({digest(), digest(id=2), digest(label="dog"), digest(id='1", "cat')}) == 4


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "rows has no column id, label, prediction"),
        (b"id,label,prediction\n", "rows holds no row"),
        (b"id,label\n1,secret\n", "rows has no column prediction"),
        (b'id,label,prediction\n1,"secret', "is no CSV"),
        (b"id,label,prediction\n1,secret\n", "rows, row 1: `prediction` is no number and no text"),
        (b'{"id": 1, "label": "secret"\n', "rows, row 1 is no JSON object"),
        (b'{"id": 1, "label": "secret", "prediction": null}', "rows, row 1: `prediction` is no number"),
        (b'{"id": [1], "label": "secret", "prediction": 1}', "rows, row 1: `id` is no number"),
        (b'{"id": 1, "label": NaN, "prediction": Infinity}', None),
        (b"{" + b'"a":{' * 9999, "rows, row 1 is no JSON object"),
        (LINES.replace(b'"id": 2', b'"id": 1.0'), "row 3: its id stands in a row before it"),
        (b'{"id": 1, "label": "' + b"x" * 1001 + b'", "prediction": 1}', "text of 1 to 1000 characters"),
        (b"PAR1\x00\x01", "rows is a Parquet file"),
        (b"id,label,prediction\n1,\xff,2", "not UTF-8 at byte 22"),
    ],
)
def test_what_is_none_is_named_by_its_row(content: bytes, complaint: str | None) -> None:
    if complaint is None:
        assert parse_predictions(content, where="rows") == {"1": ("nan", "inf")}
        return
    with pytest.raises(PredictionsError, match=complaint) as refused:
        parse_predictions(content, where="rows")
    assert "secret" not in str(refused.value)


def test_rows_and_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST_ROWS", 1)
    with pytest.raises(PredictionsError, match="more than 1 rows"):
        parse_predictions(LINES, where="rows")
    monkeypatch.setattr(predictions, "MOST_BYTES", 20)
    with pytest.raises(PredictionsError, match="more than 0 MB"):
        parse_predictions(LINES, where="rows")
