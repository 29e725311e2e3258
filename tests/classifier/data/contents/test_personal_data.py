"""Personal data is found where its form can be checked, told by its number alone, masked or refused."""

from __future__ import annotations

import random
import string
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.classifier.data.checks import RowChecks
from include.classifier.data.contents.personal_data import PersonalData, find, has_check_digit, masked
from include.classifier.data.formats.batches import Batch
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig


def found(text: str) -> list[tuple[str, str]]:
    return [(each.kind, text[each.begin : each.end]) for each in find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        ("write to jane.doe+news@mail.example.com, please", "email", "jane.doe+news@mail.example.com"),
        ("JANE@EXAMPLE.ORG", "email", "JANE@EXAMPLE.ORG"),
        ("<jürgen@müller.example>", "email", "jürgen@müller.example"),
        ("pay to DE89 3704 0044 0532 0130 00 soon", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432.", "iban", "GB82WEST12345698765432"),
        ("nl91abna0417164300", "iban", "nl91abna0417164300"),
        ("card 4111 1111 1111 1111 was refused", "card", "4111 1111 1111 1111"),
        ("4111-1111-1111-1111", "card", "4111-1111-1111-1111"),
        ("378282246310005", "card", "378282246310005"),
        ("5555555555554444 12", "card", "5555555555554444"),
        ("2223003122003222", "card", "2223003122003222"),
        ("call +49 30 901820 today", "phone", "+49 30 901820"),
        ("+49 (0)30 901820", "phone", "+49 (0)30 901820"),
        ("0044 20 7946 0958", "phone", "0044 20 7946 0958"),
        ("(212) 555-0147", "phone", "(212) 555-0147"),
        ("1-800-555-0199!", "phone", "1-800-555-0199"),
    ],
)
def test_what_has_a_form_is_found_as_a_whole(text: str, kind: str, what: str) -> None:
    assert found(text) == [(kind, what)]


@pytest.mark.parametrize(
    "text",
    [
        "we met @home at 5",
        "icon@2x.png and sprite@3x.webp",
        "a@b",
        "DE88 3704 0044 0532 0130 00 has a wrong digit",
        "DE89 3704 0044 0532 0130 001 is too long",
        "XX89 3704 0044 0532 0130 00 is of no country",
        "4111 1111 1111 1112 fails Luhn",
        "9111 1111 1111 1111 is of no network",
        "0000 0000 0000 0000",
        "order 1234567890123",
        "3.14159265358979323846",
        "1,234,567,890 people, 2026-11-30 10:15:30, 12/31/2026",
        "ISBN 978-3-16-148410-0",
        "version 1.2.3.4567.8901",
        "it costs 1 000 000 000",
        "",
    ],
)
def test_what_only_looks_alike_is_nothing(text: str) -> None:
    assert found(text) == []


def test_several_are_found_in_their_order_and_none_twice() -> None:
    text = "me@example.com, DE89370400440532013000, 4111111111111111 or +49 30 901820"
    assert [kind for kind, _ in found(text)] == ["email", "iban", "card", "phone"]
    assert masked(text, find(text)) == "[email], [iban], [card] or [phone]"


def test_a_masked_text_holds_nothing_any_more() -> None:
    draw = random.Random(1)
    pieces = [
        "me@example.com",
        "GB82WEST12345698765432",
        "4111 1111 1111 1111",
        "+1 212 555 0147",
        "word",
        "42",
        ",",
        ".",
    ]
    for _ in range(300):
        text = " ".join(draw.choices(pieces, k=draw.randint(1, 12)))
        assert find(masked(text, find(text))) == []


def test_of_made_up_numbers_one_in_ten_has_the_check_digit_and_one_digit_away_none() -> None:
    draw = random.Random(2)
    numbers = ["4" + "".join(draw.choices(string.digits, k=15)) for _ in range(2000)]
    right = [number for number in numbers if has_check_digit(number)]
    assert 140 < len(right) < 260
    for number in right:
        place = draw.randrange(16)
        other = str((int(number[place]) + draw.randint(1, 9)) % 10)
        assert not has_check_digit(number[:place] + other + number[place + 1 :])


@pytest.mark.parametrize("piece", ["a", "a.", "1 ", "4", "+1", "a@", "DE89 ", "(212) ", "-", "٣"])
def test_a_long_text_is_read_to_its_end(piece: str) -> None:
    """A pattern that goes back and forth would not come to it."""
    assert found(piece * 20_000 + " | me@example.com")[-1] == ("email", "me@example.com")


def check(texts: list[str], **settings: Any) -> tuple[list[str], list[str], PersonalData]:
    data = DataConfig(train=["a.csv"], labels={"1": "bad", "2": "good"}, personal_data=settings)
    problems = Problems()
    checks = RowChecks(data, problems)
    checked = checks.check(
        Batch(np.arange(2, len(texts) + 2), [pa.array(texts)], ["1"] * len(texts)), Source("a.csv", "train")
    )
    return checked.texts.to_pylist(), problems.messages(), checks.personal_data


TEXTS = ["all good", "mail me@example.com", "card 4111 1111 1111 1111", "me@example.com or you@example.com"]


def test_by_default_rows_are_counted_and_stay() -> None:
    texts, problems, personal = check(TEXTS)

    assert (texts, problems) == (TEXTS, [])
    assert list(personal.lines()) == [
        "Warning: e-mail addresses in 2 rows (they stay).",
        "Warning: payment card numbers in 1 rows (they stay).",
    ]
    assert personal.document()["email"] == {"action": "tell", "rows": {"train": 2, "evaluation": 0}}


def test_what_is_masked_is_not_in_the_rows_any_more() -> None:
    texts, problems, _ = check(TEXTS, email="mask")
    assert texts == ["all good", "mail [email]", "card 4111 1111 1111 1111", "[email] or [email]"]
    assert problems == []


def test_what_is_refused_is_named_by_its_place_and_never_shown() -> None:
    _, problems, personal = check(TEXTS, email="refuse", card="ignore")
    assert problems == [
        "a.csv, line 3, line 5: the text holds an e-mail address. Take it out, or set data.personal_data.email in the "
        "model's YAML to mask, tell or ignore."
    ]
    assert "card" not in personal.document()
    assert not any("example.com" in line for line in [*problems, *personal.lines()])
