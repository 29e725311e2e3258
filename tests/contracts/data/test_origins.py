"""What may be trained on is what the YAML says with its licence, and nothing beside it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from include.contracts.data.origins import Origin, not_permitted, origin_of
from include.contracts.monitoring.labels import LABELLED_REQUESTS
from include.contracts.settings import DataConfig

ORIGINS = [
    Origin(source="data/bought", licence="Contract 7"),
    Origin(source="data/bought/open", licence="CC-BY-4.0"),
    Origin(source="s3://reviews/public", licence="CC0-1.0"),
    Origin(source="hub:kept/reviews", licence="MIT"),
    Origin(source="query:tickets", licence="own"),
]


@pytest.mark.parametrize(
    ("location", "licence"),
    [
        ("data/bought/a.csv", "Contract 7"),
        ("data/bought/{date}.csv", "Contract 7"),
        ("data/bought/open/a.csv", "CC-BY-4.0"),  # the closest one counts
        ("s3://reviews/public/2026/a.parquet", "CC0-1.0"),
        ("hub:kept/reviews", "MIT"),
        ("hub:kept/reviews:test", "MIT"),
        ("query:tickets", "own"),
    ],
)
def test_a_source_has_the_licence_of_where_it_lies(location: str, licence: str) -> None:
    origin = origin_of(location, ORIGINS)
    assert origin and origin.licence == licence


@pytest.mark.parametrize(
    "location",
    [
        "data/bought-elsewhere/a.csv",
        "data/bought/../stolen.csv",
        "data/.bought/a.csv",
        "s3://reviews/publicity/a.csv",
        "s3://reviews/public/../private/a.csv",
        "https://reviews/public/a.csv",
        "hub:kept/reviews-2",
        "hub:kept",
        "query:tickets2",
        LABELLED_REQUESTS,
    ],
)
def test_a_source_that_lies_in_no_origin_is_refused_with_what_to_do(location: str) -> None:
    (sentence,) = not_permitted([location], ORIGINS, [])
    assert sentence.startswith(f"{location}: no origin in the model's YAML holds it")
    assert "data.origins" in sentence


def test_a_licence_that_is_not_allowed_is_refused_by_name() -> None:
    assert not_permitted(["data/bought/open/a.csv"], ORIGINS, ["CC-BY-4.0", "MIT"]) == []
    (sentence,) = not_permitted(["data/bought/a.csv", "data/bought/a.csv"], ORIGINS, ["CC-BY-4.0", "MIT"])
    assert "its licence is 'Contract 7', and `data.licences` allows 'CC-BY-4.0', 'MIT'" in sentence


def test_an_owner_of_the_hub_holds_all_of_his_data_sets_and_requests_are_an_origin_of_their_own() -> None:
    origins = [Origin(source="hub:kept", licence="MIT"), Origin(source=LABELLED_REQUESTS, licence="consent")]
    assert not_permitted(["hub:kept/a", "hub:kept/b:test", LABELLED_REQUESTS], origins, ["MIT", "consent"]) == []
    assert len(not_permitted(["hub:kept-not/a"], origins, [])) == 1


def test_no_secret_of_an_address_is_told() -> None:
    (sentence,) = not_permitted(["https://user:pass-word@host/a.csv?token=abc"], ORIGINS, [])
    assert "pass-word" not in sentence and "abc" not in sentence


def test_without_origins_everything_may_be_used() -> None:
    assert not_permitted(["anything.csv"], [], []) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"licences": ["MIT"]}, "no source has one without `origins`"),
        ({"origins": [{"source": "*", "licence": "MIT"}]}, "name a folder"),
        ({"origins": [{"source": " a", "licence": "MIT"}]}, "name a folder"),
        ({"origins": [{"source": "a", "licence": ""}]}, "at least 1 character"),
    ],
)
def test_rules_without_meaning_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate({"train": "a.csv", "labels": ["bad", "good"], **settings})
