from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from include.classifier.serving.text import clean, tokenise
from include.classifier.serving.tokenizer_file import FileTokenizer, write_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerFast:
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


def _tokenizers(corpus: list[str]) -> Iterator[tuple[str, PreTrainedTokenizerFast]]:
    """Yield one of each kind that reads words; and one that reads all of a text, as SentencePiece's do."""
    from transformers import PreTrainedTokenizerFast

    kinds = {
        "WordPiece": (models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer),
        "BPE": (models.BPE(unk_token="[UNK]"), trainers.BpeTrainer),
        "Unigram": (models.Unigram(), trainers.UnigramTrainer),
    }
    for name, split in (("WordPiece", True), ("BPE", True), ("Unigram", True), ("Unigram", False)):
        model, trainer = kinds[name]
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
        unknown = {"unk_token": "[UNK]"} if name == "Unigram" else {}
        tokenizer.train_from_iterator(
            corpus, trainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False, **unknown)
        )
        yield f"{name} {split}", PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_long_text_has_the_tokens_that_all_of_it_has(side: str) -> None:
    corpus = ["the food was good and the place was not", "\u4e2d\u6587\u98df\u7269\u5f88\u597d", "aaaa bbbb", "x" * 9]
    chosen = random.Random(5)
    parts = [*" ".join(corpus).split(" "), "w" * 40, "\u4e2d" * 7, "a" * 300]
    texts = [clean(" ".join(chosen.choices(parts, k=length))) for length in (1, 7, 12, 40, 200, 900) for _ in range(8)]
    texts += ["y" * 3000, "good" * 500, "\u4e2d\u6587" * 900]
    for name, tokenizer in _tokenizers(corpus):
        tokenizer.truncation_side = side
        whole = tokenizer(texts, truncation=True, max_length=8)

        tokens = tokenise(tokenizer, texts, 8)

        assert tokens.input_ids == whole["input_ids"], name
        unread = [len(text) > 1024 * 8 for text in texts]
        cut = [bool(each.overflowing) for each in whole.encodings]
        assert tokens.truncated == [any(pair) for pair in zip(cut, unread, strict=True)], name


@pytest.mark.parametrize("options", [{}, {"split_special_tokens": True}, {"eos_token": "</s>"}, {"cls_token": "food"}])
def test_read_without_transformers_texts_have_the_same_tokens(tmp_path: Path, options: dict[str, Any]) -> None:
    corpus = [
        "the food was good </s> and the place was not",
        "\u4e2d\u6587\u98df\u7269\u5f88\u597d",
        "aaaa bbbb",
        "[UNK] x",
    ]
    chosen = random.Random(6)
    parts = [*" ".join(corpus).split(" "), "w" * 40, "\u4e2d" * 7, "</s>", "[UNK]", "\U0001f600"]
    texts = [
        "",
        *(clean(" ".join(chosen.choices(parts, k=length))) for length in (1, 7, 12, 40, 900) for _ in range(8)),
    ]
    for name, tokenizer in _tokenizers(corpus):
        for side in ("right", "left"):
            trained, packed = tmp_path / f"{name} {side}", tmp_path / f"{name} {side} packed"
            packed.mkdir()
            whole = type(tokenizer)(
                tokenizer_object=tokenizer.backend_tokenizer, unk_token="[UNK]", truncation_side=side, **options
            )
            whole.save_pretrained(trained)

            facts = write_tokenizer(trained, packed)

            found = FileTokenizer.load(packed, json.loads(json.dumps(facts)))
            for length in (3, 8, 64, 8):
                assert tokenise(found, texts, length) == tokenise(whole, texts, length), (name, side, length)


def test_what_a_text_costs_does_not_grow_with_its_length(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    call = type(tokenizer).__call__

    def counts(self: Any, texts: list[str], **options: Any) -> Any:
        read.extend(map(len, texts))
        return call(self, texts, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", counts)
    tokens = tokenise(tokenizer, ["good food " * 100_000, "g" * 1_000_000], 6)

    assert tokens.truncated == [True, True]
    assert max(read) <= 1024 * 6
