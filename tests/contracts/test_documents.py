"""The documents that cross the wall are checked on both sides, and what is wrong is named without its value."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from include.contracts import documents
from include.contracts.documents import DocumentError

SHA256 = "0" * 64
NONE_DROPPED = {"train": 0, "evaluation": 0}
SPLIT = {"uri": "file:///store/train.parquet", "rows": 1, "label_counts": {"bad": 0, "good": 1}, "sha256": SHA256}
SCORES = {
    "version": "20261121030000",
    "accuracy": 1.0,
    "macro_f1": 1.0,
    "log_loss": 0.1,
    "expected_calibration_error": 0.0,
    "per_class": {"good": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}},
    "slices": [{"name": "short", "rows": 1, "accuracy": 1.0, "macro_f1": 1.0}],
}
DOCUMENTS: dict[Any, dict[str, Any]] = {
    "dataset": {
        "schema_version": 1,
        "model": "reviews",
        "created_at": "2026-11-21T03:00:00+00:00",
        "labels": ["bad", "good"],
        "splits": {"train": SPLIT, "evaluation": SPLIT},
        "sources": [{"uri": "a.csv", "split": "train", "rows": 2}],
        "rows_in": 2,
        "rows_kept": 2,
        "dropped": dict.fromkeys(("empty", "unknown_label", "duplicate", "leaked"), NONE_DROPPED),
        "sha256": SHA256,
    },
    "candidate": {
        "schema_version": 1,
        "model": "reviews",
        "version": "20261121030000",
        "created_at": "2026-11-21T03:00:00+00:00",
        "archive": {
            "uri": "file:///store/package",
            "file": "model-store/reviews.mar",
            "sha256": SHA256,
            "size_bytes": 1,
        },
        "labels": ["bad", "good"],
        "dataset": {"uri": "file:///store/dataset", "sha256": SHA256, "train_rows": 1, "evaluation_rows": 1},
        "metrics": {"candidate": SCORES, "champion": None, "baseline": SCORES},
        "golden_examples": [{"text": "très bien", "label": "good", "probabilities": {"bad": 0.0, "good": 1.0}}],
        "serving": {"load_seconds": 1, "p50_ms": 1, "p95_ms": 1, "parity_rows": 1, "largest_difference": 0},
        "training": {
            "base_model": "scratch",
            "base_model_revision": None,
            "parameters": {"epochs": 3},
            "seconds": 1,
            "samples_per_second": 1,
            "epochs_run": 3,
        },
        "code_revision": "abc",
        "packages": {"torch": "2.13.0"},
        "tracking_run_id": None,
    },
}
KINDS = tuple(DOCUMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_schema_itself_is_valid(kind: Any) -> None:
    Draft202012Validator.check_schema(documents._validator(kind).schema)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dumped_is_what_is_parsed(kind: Any) -> None:
    text = documents.dump(kind, DOCUMENTS[kind], where="here")

    assert documents.parse(kind, text, where="here") == DOCUMENTS[kind]


def test_same_document_has_one_text() -> None:
    document = DOCUMENTS["candidate"]
    shuffled = dict(reversed(document.items()))

    assert documents.dump("candidate", shuffled, where="") == documents.dump("candidate", document, where="")
    assert "très bien" in documents.dump("candidate", document, where="")


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in KINDS for field in DOCUMENTS[kind]])
def test_every_field_is_required(kind: Any, field: str) -> None:
    document = {name: value for name, value in DOCUMENTS[kind].items() if name != field}

    with pytest.raises(DocumentError, match=rf"s3://store/x is not a valid {kind}\.json: \$ breaks 'required'"):
        documents.check(kind, document, where="s3://store/x")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_refused(kind: Any) -> None:
    with pytest.raises(DocumentError, match="additionalProperties"):
        documents.check(kind, DOCUMENTS[kind] | {"colour": "red"}, where="here")


@pytest.mark.parametrize(
    ("kind", "path", "value", "place"),
    [
        ("dataset", ("schema_version",), 2, r"\$\.schema_version breaks 'const'"),
        ("dataset", ("labels",), ["one"], r"\$\.labels breaks 'minItems'"),
        ("dataset", ("splits", "train", "rows"), 0, r"\$\.splits\.train\.rows breaks 'minimum'"),
        ("dataset", ("sources", 0, "split"), "test", r"\$\.sources\[0\]\.split breaks 'enum'"),
        ("dataset", ("sha256",), "x" * 64, r"\$\.sha256 breaks 'pattern'"),
        ("candidate", ("version",), "2026", r"\$\.version breaks 'pattern'"),
        ("candidate", ("metrics", "candidate"), None, r"\$\.metrics\.candidate breaks 'type'"),
        ("candidate", ("golden_examples",), [], r"\$\.golden_examples breaks 'minItems'"),
        ("candidate", ("serving", "p50_ms"), "fast", r"\$\.serving\.p50_ms breaks 'type'"),
    ],
)
def test_wrong_value_is_named_by_its_place(kind: Any, path: tuple[Any, ...], value: Any, place: str) -> None:
    document = copy.deepcopy(DOCUMENTS[kind])
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value

    with pytest.raises(DocumentError, match=place):
        documents.check(kind, document, where="here")


def test_texts_are_never_repeated_in_an_error() -> None:
    document = copy.deepcopy(DOCUMENTS["candidate"])
    document["golden_examples"] = [{"text": ["a private review"], "label": "good", "probabilities": {"good": 7}}]

    with pytest.raises(DocumentError) as caught:
        documents.check("candidate", document, where="here")

    assert "$.golden_examples[0].text" in str(caught.value)
    assert "private" not in str(caught.value)


def test_text_that_is_no_json_is_refused_with_the_line() -> None:
    with pytest.raises(DocumentError, match=r"s3://store/x is not JSON: .* in line 2\."):
        documents.parse("dataset", '{"schema_version": 1,\noops', where="s3://store/x")
