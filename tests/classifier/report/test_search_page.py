"""The page of a search shows every trial, the best settings, and nothing that is not escaped."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from include.classifier.report.search_page import make_page
from tests.searches import search_document, trial

SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_says_which_settings_are_the_best_and_how_sure_that_is() -> None:
    page, picture = make_page(search_document())

    assert "<b>trial 1</b>: macro F1 0.9000; macro F1 +0.2000 to the present settings" in page
    assert "They are shown to be better." in page
    assert "learning_rate: 0.002" in page
    assert "learning_rate 80 %, batch_size 20 %." in page
    assert "worse than others" in page
    drawn = ElementTree.fromstring(picture)
    assert len(drawn.findall(f"{SVG}circle")) == 3
    assert drawn.get("aria-label") == "macro F1 of 3 trials of a search for reviews"


def test_present_settings_that_are_the_best_are_said_to_be() -> None:
    page, _ = make_page(search_document(best=0, is_better=False, is_shown=False, importance={}))

    assert "The present settings are the best that were tried." in page
    assert "<pre>" not in page


def test_trials_without_a_value_are_rows_and_no_points() -> None:
    trials = [trial(0, None, "failed", reason="<script>nan</script>"), trial(1, 0.9), trial(2, 0.9, same_as=1)]
    page, picture = make_page(search_document(trials=trials, is_shown=False))

    assert "&lt;script&gt;nan&lt;/script&gt;" in page
    assert "could not be trained to their end" in page
    assert "as trial 1" in page
    assert len(ElementTree.fromstring(picture).findall(f"{SVG}circle")) == 2


@pytest.mark.parametrize("objective", ["macro_f1", "log_loss"])
def test_one_trial_alone_can_be_drawn(objective: str) -> None:
    document = search_document(trials=[trial(0, 0.5)], best=0, is_better=False, is_shown=False, objective=objective)

    assert make_page(document)[1].count("<circle") == 1
