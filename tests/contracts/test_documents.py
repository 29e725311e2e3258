"""The documents that cross the wall are checked on both sides, and what is wrong is named without its value."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest

from include.contracts import schemas
from include.contracts.dataset import Dataset
from include.contracts.documents import Document, DocumentError
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.version.released import ReleaseDocument
from tests import candidates

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
DOCUMENTS: dict[type[Document], dict[str, Any]] = {
    Dataset: {
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
    TextClassifierCandidate: {
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
        "metrics": {"candidate": SCORES, "live": None, "baseline": SCORES},
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
    ReleaseDocument: {
        "schema_version": 1,
        "model": "reviews",
        "version": "20261121030000",
        "created_at": "2026-11-21T03:00:00+00:00",
        "candidate_sha256": SHA256,
        "archive_sha256": SHA256,
        "gate": "accepted: macro F1 0.930",
        "facts": {"approved_by": "ada"},
    },
}
KINDS = tuple(DOCUMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_that_of_the_class(kind: type[Document]) -> None:
    assert schemas.path_of(kind).read_text(encoding="utf-8") == schemas.schema_of(kind), "run `make docs`"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dumped_is_what_is_parsed(kind: type[Document]) -> None:
    text = kind.dump(DOCUMENTS[kind], where="here")

    assert kind.parse(text, where="here").model_dump(exclude_unset=True) == DOCUMENTS[kind]


def test_same_document_has_one_text() -> None:
    document = DOCUMENTS[TextClassifierCandidate]
    shuffled = dict(reversed(document.items()))

    assert TextClassifierCandidate.dump(shuffled, where="") == TextClassifierCandidate.dump(document, where="")
    assert "très bien" in TextClassifierCandidate.dump(document, where="")


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in KINDS for field in DOCUMENTS[kind]])
def test_every_field_is_required(kind: type[Document], field: str) -> None:
    document = {name: value for name, value in DOCUMENTS[kind].items() if name != field}

    with pytest.raises(DocumentError, match=rf"s3://store/x is not a valid {kind.file}: {field}: Field required"):
        kind.read(document, where="s3://store/x")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_refused(kind: type[Document]) -> None:
    with pytest.raises(DocumentError, match="colour: Extra inputs are not permitted"):
        kind.read(DOCUMENTS[kind] | {"colour": "red"}, where="here")


@pytest.mark.parametrize(
    ("kind", "path", "value", "place"),
    [
        (Dataset, ("schema_version",), 2, "schema_version: Input should be 1"),
        (Dataset, ("labels",), ["one"], "labels: List should have at least 2 items"),
        (Dataset, ("splits", "train", "rows"), 0, r"splits\.train\.rows: Input should be greater than or equal to 1"),
        (Dataset, ("sources", 0, "split"), "test", r"sources\.0\.split: Input should be 'train' or 'evaluation'"),
        (Dataset, ("sha256",), "x" * 64, "sha256: String should match pattern"),
        (TextClassifierCandidate, ("version",), "2026", "version: String should match pattern"),
        (
            TextClassifierCandidate,
            ("metrics", "candidate"),
            None,
            r"metrics\.candidate: Input should be a valid dictionary",
        ),
        (TextClassifierCandidate, ("golden_examples",), [], "golden_examples: List should have at least 1 item"),
        (TextClassifierCandidate, ("serving", "p50_ms"), "5", r"serving\.p50_ms: Input should be a valid number"),
        (
            TextClassifierCandidate,
            ("metrics", "candidate", "macro_f1"),
            math.nan,
            r"macro_f1: Input should be a finite number",
        ),
        (
            TextClassifierCandidate,
            ("archive", "size_bytes"),
            1.5,
            r"archive\.size_bytes: Input should be a valid integer",
        ),
        (
            TextClassifierCandidate,
            ("held_out_texts",),
            [""] * 129,
            "held_out_texts: List should have at most 128 items",
        ),
    ],
)
def test_wrong_value_is_named_by_its_place(kind: type[Document], path: tuple[Any, ...], value: Any, place: str) -> None:
    document = copy.deepcopy(DOCUMENTS[kind])
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value

    with pytest.raises(DocumentError, match=place):
        kind.read(document, where="here")


def test_texts_are_never_repeated_in_an_error() -> None:
    document = copy.deepcopy(DOCUMENTS[TextClassifierCandidate])
    document["golden_examples"] = [{"text": ["a private review"], "label": "good", "probabilities": {"good": 7}}]

    with pytest.raises(DocumentError) as caught:
        TextClassifierCandidate.read(document, where="here")

    assert "golden_examples.0.text" in str(caught.value)
    assert "private" not in str(caught.value)


def test_text_that_is_no_json_is_refused_with_the_line() -> None:
    with pytest.raises(DocumentError, match=r"s3://store/x is not JSON: .* in line 2\."):
        Dataset.parse('{"schema_version": 1,\noops', where="s3://store/x")


@pytest.mark.parametrize("text", ["[" * 500_000, f'{{"schema_version": {"1" * 5000}}}'])
def test_text_that_no_reader_takes_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match=r"s3://store/x is no document of ours: \w+Error\."):
        Dataset.parse(text, where="s3://store/x")


def test_no_text_is_in_a_representation() -> None:
    candidate = TextClassifierCandidate.read(DOCUMENTS[TextClassifierCandidate], where="here")

    assert repr(candidate) == str(candidate) == "TextClassifierCandidate(model='reviews', version='20261121030000')"
    assert repr(candidate.golden_examples[0]) == "GoldenExample(label='good')"
    assert "bien" not in f"{candidate.golden_examples}"


def test_of_many_places_that_are_wrong_some_are_named() -> None:
    texts = [{"a text": "x"}] * 16

    with pytest.raises(DocumentError, match=r"and \d+ more\.$") as caught:
        TextClassifierCandidate.read(DOCUMENTS[TextClassifierCandidate] | {"golden_examples": texts}, where="here")

    assert len(str(caught.value)) < 500


def test_a_candidate_of_version_0_1_0_is_read_by_the_names_it_was_written_with() -> None:
    disagreement = {"text": "", "label": "good", "candidate": "good", "candidate_probability": 0.7}
    now = candidates.document(
        live=candidates.scores(),
        comparison=candidates.comparison(disagreements=[disagreement | {"live": "bad", "live_probability": 0.6}]),
    )
    then = json.dumps(now)
    for name in ("live", "live_only", "live_probability"):
        then = then.replace(f'"{name}":', f'"{name.replace("live", "champion")}":')

    assert '"live' not in then
    assert TextClassifierCandidate.parse(then, where="here") == TextClassifierCandidate.read(now, where="here")
