"""The report is a page that people can read: of any number of labels, with any names and texts, without a script."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from include.classifier.metrics import most_mistaken
from include.classifier.report.page import REPORT, make_report, write_report
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from tests.candidates import shadow
from tests.classifier.made_up_evaluation import LIVE, VERSION, made_up_evaluation

STARS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})
SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """What a browser makes of the page, as far as these tests ask."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """Return what is to be read, in one line."""
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str) -> int:
        """Return how many such elements there are."""
        return Counter(name for name, _ in self.elements)[tag]


def page_of(labels: list[str], **options: Any) -> Page:
    found, document = made_up_evaluation(labels, **options)
    TextClassifierCandidate.dump(document, where="the made-up document")
    return Page(make_report(found, document).page)


@pytest.mark.parametrize("number", [2, 5, 50])
def test_any_number_of_labels_is_shown(number: int) -> None:
    labels = [f"label {index:02}" for index in range(number)]
    page = page_of(labels, texts=["a text"])
    for label in labels:
        assert label in page.text
    assert VERSION in page.text
    assert LIVE in page.text
    # One picture in each row of a table that compares, and five that stand alone.
    rows = 2 + 3 + number
    assert page.count("svg") == rows + 4


def test_a_page_of_a_thousand_labels_shows_those_that_are_most_often_mistaken() -> None:
    labels = [f"label {number:04d}" for number in range(1000)]
    found, document = made_up_evaluation(labels, rows=4000)
    page, pictures = make_report(found, document)

    assert "60 of 1,000 labels are shown" in page
    assert len(page) < 1_000_000
    assert all(len(picture) < 300_000 for picture in pictures.values())
    mistaken = most_mistaken(found.confusion, 60)
    listed = re.findall(r'<th scope="row"><bdi>(label \d+)</bdi></th>\n<td class="number">[\d.]+</td>', page)
    assert listed[:60] == [labels[each] for each in mistaken]


def test_a_first_release_has_a_page_without_a_live_model() -> None:
    page = page_of(STARS, live=False)
    assert "There is no live model with the same labels to compare with" in page.text
    assert "difference" not in page.text
    assert "disagree" not in page.text
    assert page.count("svg") == 2


def test_names_and_texts_cannot_bring_markup_or_scripts_into_the_page() -> None:
    name, text = "<img src=x onerror=alert(1)>", "</td><script>alert('x')</script> & \"more\""
    page = page_of([name, "good"], texts=[text])
    assert text in page.text
    assert name in page.text
    assert page.count("script") == 0
    assert page.count("img") == 0
    assert not [attribute for _, attributes in page.elements for attribute in attributes if attribute.startswith("on")]


def test_the_page_needs_no_network_and_may_run_no_script() -> None:
    found, document = made_up_evaluation(STARS)
    page = make_report(found, document).page
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="|url\(|@import', page)


def test_text_that_is_written_from_right_to_left_keeps_its_direction() -> None:
    page = page_of(["טוב", "רע"], texts=["האוכל היה נהדר (מאוד)"])
    assert [attributes["dir"] for _, attributes in page.elements if "dir" in attributes] == ["auto"]
    assert page.count("bdi") >= 6


def test_golden_examples_are_not_shown() -> None:
    assert "a golden example" not in page_of(STARS, texts=["a disagreement"]).text


def test_every_table_has_headers_and_every_picture_a_description() -> None:
    page = page_of(STARS, texts=["a text"])
    assert page.count("thead") == page.count("table") > 5
    for tag, attributes in page.elements:
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


def test_intervals_are_said_in_words_and_figures() -> None:
    found, document = made_up_evaluation(STARS)
    assert found.comparison
    found.comparison["macro_f1"] = {"difference": -0.022, "low": -0.035, "high": -0.009}
    text = Page(make_report(found, document).page).text
    assert "-0.0220 (-0.0350 to -0.0090) : worse" in text
    assert "▼ worse than live" in text


def test_candidate_and_live_model_that_never_disagree_say_so() -> None:
    assert "There are none: both give the same label to every row" in page_of(STARS, texts=[]).text


def test_a_model_without_a_mistake_says_so() -> None:
    found, document = made_up_evaluation(STARS, live=False)
    perfect = np.eye(5)[found.truth]
    found.probabilities["candidate"] = perfect
    assert "It makes no mistake on these rows" in Page(make_report(found, document).page).text


def test_pictures_are_files_with_their_own_colours() -> None:
    found, document = made_up_evaluation(STARS)
    curves = {"loss": [(1, 1.6), (40, 0.2)], "validation_log_loss": []}
    pictures = make_report(found, document, curves=curves).pictures
    assert set(pictures) == {
        "confusion_matrix.svg",
        "confusion_difference.svg",
        "reliability_candidate.svg",
        "reliability_live.svg",
        "differences.svg",
        "learning_curve.svg",
    }
    for content in pictures.values():
        root = ElementTree.fromstring(content)
        assert root.tag == f"{SVG}svg"
        assert "prefers-color-scheme" in (root.findtext(f"{SVG}style") or "")
    words = [each.text for each in ElementTree.fromstring(pictures["learning_curve.svg"]).iter(f"{SVG}text")]
    assert "loss on training rows" in words
    assert "log loss on held-out rows" not in words


def test_a_report_is_written_below_its_release_and_replaces_that_of_an_earlier_try(tmp_path: Path) -> None:
    write_report("first", tmp_path.as_uri())
    uri = write_report("second: großartig", tmp_path.as_uri())
    assert uri == f"{tmp_path.as_uri()}/{REPORT}"
    assert (tmp_path / "report" / "report.html").read_text(encoding="utf-8") == "second: großartig"


def test_slices_have_their_rule_and_bounds_and_the_worst_one_its_word() -> None:
    found, document = made_up_evaluation(STARS)
    bounds = {"low": 0.61, "high": 0.79}
    found.metrics["candidate"]["slices"][0] |= {
        "rule": "keywords: <i>refund</i>",
        "accuracy_interval": bounds,
        "macro_f1_interval": bounds,
    }
    assert "worst slice" not in Page(make_report(found, document).page).text
    document["worst_slice"] = {
        "kind": "word",
        "description": "with a common word",
        "word": "<b>late</b>",
        "tried": 120,
        "rows": 80,
        "measured_rows": 41,
        "accuracy": 0.61,
        "accuracy_interval": {"low": 0.46, "high": 0.74},
        "accuracy_elsewhere": 0.92,
        "difference": {"difference": -0.31, "low": -0.46, "high": -0.18},
        "confidence": 0.95,
        "stands_out": True,
    }
    page = Page(make_report(found, document).page)
    assert "keywords: <i>refund</i>" in page.text
    assert page.text.count("0.61 to 0.79") == 2
    assert "Texts with a common word: <b>late</b> , 80 rows. They are labelled worse than the others" in page.text
    assert page.count("b") == len(found.metrics["candidate"]) - 3


def test_requests_that_were_answered_again_are_shown_without_a_text() -> None:
    found, document = made_up_evaluation(["bad", "good"])
    assert "Requests of users" not in Page(make_report(found, document).page).text
    section = shadow(
        changed={"share": 0.02, "low": 0.011, "high": 0.036},
        changed_rows=11,
        labels=[{"live": "good", "candidate": "<b>bad</b>", "rows": 9}],
        slices=[{"name": "script Cyrillic", "requests": 40, "changed": {"share": 0.1, "low": 0.04, "high": 0.23}}],
        moved=[{"id_sha256": "0123456789abcdef", "row": 3, "live": "a", "candidate": "b", "probability_change": -0.5}],
        without_texts=30,
    )
    page = Page(make_report(found, document | {"shadow": section}).page)
    for words in (
        "Of 500 captured requests that 20260101000000 has answered",
        "0.0200 get another label (95 % interval 0.0110 to 0.0360); that is 11 of 520 rows",
        "good <b>bad</b> 9",
        "script Cyrillic 0.1000 0.04 to 0.23 40",
        "0123456789abcdef 3 a b -0.5000",
        "Left out: 30 requests without a kept text",
    ):
        assert words in page.text, words

    why_not = shadow(requests=0, why_not="set capture.texts: keep")
    assert (
        "Nothing to compare: set capture.texts: keep."
        in Page(make_report(found, document | {"shadow": why_not}).page).text
    )
