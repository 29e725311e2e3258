from __future__ import annotations

from pathlib import Path

import pytest

from include.classifier.serving.text import clean, tokenise


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Good\t food \u00a0 here \n", "Good food here"),
        (r"in C:\new\notes, \nabla", r"in C:\new\notes, \nabla"),
        ("cafe\u0301", "caf\u00e9"),
        (" \n ", ""),
    ],
)
def test_whitespace_and_accents_are_made_uniform(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("text", ['\\\\""', '\\\\"\\"', "\\\\nn", "\\\\\\", "a \u0301\\n\u0301", "\\\\n\\\\n"])
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@pytest.fixture
def tokenizer(tiny_model: Path):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(tiny_model)


def test_only_texts_with_more_tokens_than_the_limit_count_as_truncated(tokenizer) -> None:
    tokens = tokenise(tokenizer, ["good food", "good food was good", "good food was very good"], max_length=6)

    assert [len(ids) for ids in tokens.input_ids] == [4, 6, 6]
    assert tokens.truncated == [False, False, True]


def test_truncated_texts_keep_their_special_tokens(tokenizer) -> None:
    [ids] = tokenise(tokenizer, ["good " * 50], max_length=5).input_ids

    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "good", "good", "good", "[SEP]"]


def test_no_texts_have_no_tokens(tokenizer) -> None:
    assert tokenise(tokenizer, [], max_length=5) == ([], [])
