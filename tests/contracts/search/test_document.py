"""What a search has found is read by the DAG: the best settings, as a release's form takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.documents import DocumentError
from include.contracts.search.document import SearchDocument
from tests.searches import SEARCH, search_document, trial


def read(document: Any) -> SearchDocument:
    return SearchDocument.parse(json.dumps(document), where="search.json")


def test_the_best_settings_are_a_releases_form_with_where_they_come_from() -> None:
    found = read(search_document())

    assert found.form == {"learning_rate": 0.002, "batch_size": 8, "settings_from": f"search {SEARCH}"}
    assert list(found.in_words()) == [
        f"reviews: search {SEARCH} ended by its trials after 3 trials, of which 2 were finished. "
        "Report: file:///store/report.html",
        "Trial 1 is the best: macro F1 0.9000 on 120 rows held out of the training data, macro F1 +0.2000 (+0.1000 to "
        "+0.3000): shown to be better.",
        "training:",
        "  learning_rate: 0.002",
        "  batch_size: 8",
    ]


def test_there_is_nothing_to_release_when_the_present_settings_are_the_best() -> None:
    found = read(search_document(best=0, is_better=False, is_shown=False))

    assert found.form == {}
    assert list(found.in_words())[1] == (
        "The present settings are the best: macro F1 0.7000 on 120 rows held out of the training data."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"best": 2}, "best: no finished trial has this number"),
        ({"best": 7}, "best: no finished trial has this number"),
        ({"trials": []}, "trials"),
        ({"search": "../../etc"}, "search: String should match pattern"),
        ({"space": {"seed": {"low": 1.0, "high": 2.0}}}, "space.seed"),
        ({"trials": [trial(0, 0.7, settings={"shell": 1.0})], "best": 0}, "trials.0.settings.shell"),
    ],
)
def test_what_a_store_hands_over_is_not_trusted(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        read(search_document(**change))
