"""Texts of the benchmarks: as long as real ones, and cut so that every side reads all of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from statistics import quantiles

import pytest

from benchmarks.load import ROOT
from benchmarks.reviews import pick, read_reviews, with_real_lengths


def test_sample_reviews_are_as_long_as_real_ones() -> None:
    lengths = [len(text) for text in read_reviews()]
    lower, middle, upper = quantiles(lengths)

    assert 180 < lower < 350 and 430 < middle < 650 and 850 < upper < 1200
    assert read_reviews() == read_reviews()


def test_texts_end_with_a_word() -> None:
    words = {"good", "food", "and", "slow", "service"}

    assert {
        word for text in with_real_lengths(["good food", "and slow service"] * 20) for word in text.split()
    } == words


def test_given_texts_stay_as_they_are_but_for_cleaning(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text('label,text\n1,"good \n food"\n2," "\n3,bad\n', encoding="utf-8")

    assert read_reviews(file) == ["good food", "bad"]


@pytest.mark.parametrize(("content", "message"), [("label\n1\n", "has no column `text`"), ("text\n \n", "has no text")])
def test_a_file_without_texts_is_refused(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        read_reviews(file)


def test_texts_are_picked_evenly_and_again_where_there_are_too_few() -> None:
    assert pick("abcdefgh", 4) == ["a", "c", "e", "g"]
    assert pick("ab", 5) == ["a", "b", "a", "b", "a"]


@pytest.mark.pipelines
def test_cut_texts_have_no_more_tokens_than_allowed_and_whole_words(pipelines_python: str) -> None:
    code = (
        "import json, sys; from benchmarks.reviews import cut, read_reviews;"
        "from include.classifier.training.scratch import make_tokenizer;"
        "texts = read_reviews()[:40];"
        "tokenizer = make_tokenizer(texts, max_length=512, vocabulary_size=600);"
        "found = cut(tokenizer, texts, max_length=50);"
        "json.dump([texts, found, [len(ids) for ids in tokenizer(found)['input_ids']]], sys.stdout)"
    )
    command = [pipelines_python, "-c", code]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    texts, found, tokens = json.loads(result.stdout)

    assert max(tokens) <= 50
    assert sum(count >= 40 for count in tokens) > 20, "no more is cut than has to be"
    for text, kept in zip(texts, found, strict=True):
        assert text.startswith(kept)
        assert kept == text or not (text[len(kept)].isalnum() and kept[-1].isalnum())
