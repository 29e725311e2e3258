"""A slice is named by one rule, and what cannot be one is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from include.contracts.kinds.slices import SliceRule, columns_of
from include.contracts.settings import DataConfig


def data(*slices: dict[str, Any], **settings: Any) -> DataConfig:
    return DataConfig.model_validate({"train": "a.csv", "labels": ["bad", "good"], "slices": list(slices), **settings})


def test_a_rule_is_said_in_words() -> None:
    rules = data(
        {"name": "German", "language": "de"},
        {"name": "short", "words": {"at_most": 5}},
        {"name": "long", "characters": {"at_least": 1000, "at_most": 5000}},
        {"name": "mobile", "column": "source", "equals": ["app", "tablet"]},
        {"name": "refunds", "keywords": ["Refund", " money \n back"]},
    ).slices

    assert list(map(str, rules)) == [
        "language de",
        "at most 5 words",
        "1,000 to 5,000 characters",
        "column source: app, tablet",
        "keywords: refund, money back",
    ]
    assert columns_of([*rules, rules[3].model_copy(update={"name": "again"})]) == ["source"]


@pytest.mark.parametrize(
    "rule, complaint",
    [
        ({"name": "a"}, "give one of words, characters, language, column, keywords"),
        ({"name": "a", "language": "de", "keywords": ["x"]}, "give one of"),
        ({"name": "a", "language": "German"}, "no language that can be told"),
        ({"name": "a", "words": {}}, "give at_least, at_most or both"),
        ({"name": "a", "words": {"at_least": 3, "at_most": 2}}, "no text is both"),
        ({"name": "a", "column": "source"}, "column, equals: give both, or neither"),
        ({"name": "a", "language": "de", "equals": "x"}, "column, equals: give both, or neither"),
        ({"name": "a", "keywords": []}, "at least 1 item"),
        ({"name": "a", "keywords": [" "]}, "a keyword needs a letter"),
        ({"name": "a\nb", "language": "de"}, "one line without white space"),
        ({"name": "a", "keyword": "b"}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_no_rule_is_refused(rule: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        SliceRule.model_validate(rule)


def test_names_differ_and_columns_are_none_that_are_read_for_something_else() -> None:
    with pytest.raises(ValidationError, match="two slices have the same name"):
        data({"name": "a", "language": "de"}, {"name": "a", "language": "fr"})
    with pytest.raises(ValidationError, match="not the one with the label, the date or a slice"):
        data({"name": "a", "column": "label", "equals": "bad"})
    with pytest.raises(ValidationError, match="all are names, or all are numbers"):
        data({"name": "a", "column": 3, "equals": "x"})
    assert data({"name": "a", "column": 3, "equals": "x"}, text_column=2, label_column=1).slices[0].column == 3
