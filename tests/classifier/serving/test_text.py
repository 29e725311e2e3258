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


@pytest.mark.parametrize(
    "text", ["\u200b", "\0\0", "\u200d \ufeff", "\u2060\u00ad", "\ufe0f", "\u3164", "\u2800 \u2800", "\x1b\x07"]
)
def test_of_a_text_that_shows_nothing_nothing_is_left(text: str) -> None:
    assert clean(text) == ""


@pytest.mark.parametrize("text", ["a\u200bb", "\u2764\ufe0f", "\u4e2d", "!", "\u0301e", "\ue000"])
def test_what_shows_something_stays(text: str) -> None:
    assert clean(text)


@pytest.mark.parametrize("text", ['\\\\""', '\\\\"\\"', "\\\\nn", "\\\\\\", "a \u0301\\n\u0301", "\\\\n\\\\n"])
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@pytest.fixture
def tokenizer(tiny_model: Path):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(tiny_model)


def test_a_text_of_which_the_tokenizer_makes_nothing_is_an_unknown_token(tokenizer) -> None:
    tokenizer.backend_tokenizer.post_processor = None
    assert tokenise(tokenizer, ["", "good"], max_length=6).input_ids[0] == [tokenizer.unk_token_id]


def test_only_texts_with_more_tokens_than_the_limit_count_as_truncated(tokenizer) -> None:
    tokens = tokenise(tokenizer, ["good food", "good food was good", "good food was very good"], max_length=6)

    assert [len(ids) for ids in tokens.input_ids] == [4, 6, 6]
    assert tokens.truncated == [False, False, True]


def test_truncated_texts_keep_their_special_tokens(tokenizer) -> None:
    [ids] = tokenise(tokenizer, ["good " * 50], max_length=5).input_ids

    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "good", "good", "good", "[SEP]"]


def test_no_texts_have_no_tokens(tokenizer) -> None:
    assert tokenise(tokenizer, [], max_length=5) == ([], [])
