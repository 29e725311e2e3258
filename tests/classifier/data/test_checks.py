"""Each mistake in a row or a split is found, with its place, and without its text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from include.classifier.data.checks import DROP_REASONS, LabelIndex, RowChecks, check_split
from include.classifier.data.formats.batches import Batch
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source, SplitName
from include.contracts.settings import DataConfig

DATA = DataConfig(
    train=["a.csv"],
    labels={"1": "bad", "2": "good"},
    min_rows=4,
    min_evaluation_rows=2,
    min_class_share=0.3,
    max_text_characters=10,
)


class TestLabelIndex:
    @pytest.mark.parametrize("value", [4, 4.0, "4", " 4 ", "4.0", "4.00"])
    def test_number_is_found_however_it_is_written(self, value: Any) -> None:
        assert LabelIndex(["3", "4"]).find(value) == 1

    @pytest.mark.parametrize("value", [None, "", 5, 4.5, "4.5", float("nan"), float("inf"), "four", [4]])
    def test_what_is_no_label_of_the_model_is_unknown(self, value: Any) -> None:
        assert LabelIndex(["3", "4"]).find(value) == -1

    def test_keys_with_a_fraction_find_whole_numbers(self) -> None:
        assert LabelIndex(["0.0", "1.0"]).find(1) == 1

    def test_exact_key_goes_before_one_that_is_the_same_number(self) -> None:
        index = LabelIndex(["1", "1.0"])

        assert (index.find("1"), index.find("1.0")) == (0, 1)

    @pytest.mark.parametrize(("value", "expected"), [(True, 1), ("True", 1), (False, 0), (1, -1)])
    def test_truth_values_are_no_numbers(self, value: Any, expected: int) -> None:
        assert LabelIndex(["False", "True"]).find(value) == expected

    def test_composed_and_decomposed_letters_are_the_same(self) -> None:
        assert LabelIndex(["caf\u00e9"]).find("cafe\u0301") == 0


def row_problems(*rows: tuple[Any, Any]) -> tuple[list[str], list[str]]:
    problems = Problems()
    batch = Batch(np.arange(2, len(rows) + 2), [[text for text, _ in rows]], [label for _, label in rows])
    checked = RowChecks(DATA, problems).check(batch, Source("a.csv", "train"))
    return [("", *DROP_REASONS)[reason] for reason in checked.reasons], problems.messages()


def test_good_rows_pass() -> None:
    assert row_problems(("fine", 1), ("good", "2")) == (["", ""], [])


def test_empty_texts_and_unknown_labels_are_marked_not_refused() -> None:
    rows = (("", 1), (" \t\n", 1), (None, 1), ("fine", 3), ("fine", None), ("", 3), ("fine", 1))

    assert row_problems(*rows) == (["empty", "empty", "empty", "unknown_label", "unknown_label", "empty", ""], [])


def test_mistakes_are_named_by_kind_and_place() -> None:
    _, problems = row_problems(
        (7, 1), ("much too long", 1), (["text"], 1), ("half \ud83d", 2), ("fine", [1]), (b"fine", 2), ("ten chars.", 1)
    )

    assert [problem.split(". ")[0] for problem in problems] == [
        "a.csv, line 2, line 4, line 7: the text is not a string",
        "a.csv, line 3: the text is longer than max_text_characters",
        "a.csv, line 5: the text holds half of a surrogate pair, which is no character",
        "a.csv, line 6: the label is neither a string nor a number",
    ]
    assert not any("much" in problem for problem in problems)


def split_problems(*counts: int, split: SplitName = "train") -> list[str]:
    problems = Problems()
    check_split(counts, split, DATA, problems, lost="3 leaked")
    return problems.messages()


def test_good_split_passes() -> None:
    assert split_problems(2, 2) == []


def test_too_few_rows_are_refused_with_what_became_of_them() -> None:
    assert split_problems(1, 1) == [
        "train data: rows left: 2 (dropped: 3 leaked), min_rows asks for at least 4. "
        "Give more rows, or lower the setting."
    ]


def test_evaluation_data_has_its_own_fewest_rows_and_no_floor() -> None:
    assert split_problems(4, 1, split="evaluation") == []
    assert "min_evaluation_rows" in split_problems(0, 0, split="evaluation")[0]


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_one_single_label_is_refused(split: SplitName) -> None:
    problems = split_problems(4, 0, split=split)

    assert f"{split} data: all rows have one single label: '1'" in problems[0]


def test_class_below_the_floor_is_refused() -> None:
    (problem,) = split_problems(3, 1)

    assert problem.startswith("train data: below min_class_share of 0.3 among 4 rows: '2' has 1.")


@pytest.mark.parametrize("classes", [2, 5, 77, 200, 500, 1000])
def test_even_classes_of_any_number_are_enough_and_an_empty_one_is_not(classes: int) -> None:
    data = DataConfig(train=["a"], labels=[f"label {number}" for number in range(classes)])
    problems = Problems()

    check_split([16] * classes, "train", data.model_copy(update={"min_rows": 2}), problems, lost="none")
    assert problems.messages() == []

    check_split([0] * (classes - 1) + [16 * classes], "train", data, problems, lost="none")
    assert all(len(message) < 600 for message in problems.messages())
    assert any("min_class_share" in message for message in problems.messages())


def test_a_share_that_no_even_classes_have_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"min_class_share: 0.02 cannot hold for 77 classes, even ones have 0.013"):
        DataConfig(train=["a"], labels=[str(number) for number in range(77)], min_class_share=0.02)


def test_all_that_is_wrong_with_a_split_is_said_at_once() -> None:
    assert len(split_problems(2, 0)) == 3


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (Decimal("1"), "1"),
        (Decimal("1.00"), "1"),
        (True, "true"),
        (True, "True"),
        (False, "false"),
        ("010", "010"),
        ("e\u0301", "é"),
    ],
)
def test_labels_are_found_however_their_format_writes_them(value: Any, key: str) -> None:
    assert LabelIndex(["other", key]).find(value) == 1


@pytest.mark.parametrize(("value", "key"), [("8", "010"), ("true", "True"), (True, "1"), ("1.1", "1.10")])
def test_what_only_looks_alike_is_another_label(value: Any, key: str) -> None:
    assert LabelIndex(["other", key]).find(value) == -1


def test_unknown_labels_are_shown_where_they_are_frequent_and_short() -> None:
    checks = RowChecks(DATA, Problems())
    labels = ["Negative"] * 5 + ["POS"] * 3 + ["rare"] * 2 + ["a text " * 6] * 9
    checks.check(Batch(np.arange(len(labels)), [["fine"] * len(labels)], labels), Source("a.csv", "train"))

    assert str(checks.unknown_labels) == "'Negative' (5 rows), 'POS' (3 rows)"

    problems = Problems()
    check_split([0, 0], "train", DATA, problems, lost="8 unknown_label", unknown=str(checks.unknown_labels))
    assert "Labels that `labels` in the model's YAML does not name: 'Negative' (5 rows)" in problems.messages()[0]
    assert "set `label_column`" in problems.messages()[0]
