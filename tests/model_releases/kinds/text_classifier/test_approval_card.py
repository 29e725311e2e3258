"""What a person reads before answering, and that no text on it does anything but be read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from model_releases.cards.markdown import MAX_TEXT_CHARACTERS, quoted
from model_releases.kinds.text_classifier.approval_card import approval_card
from tests import candidates

CHANGE = {"difference": -0.0123, "low": -0.03, "high": 0.005}


def scores(f1: float) -> dict[str, Any]:
    classes = {label: {"precision": f1, "recall": f1, "f1": f1, "support": 75} for label in ("bad", "good")}
    slices = [{"name": "up to 9 words", "rows": 50, "accuracy": f1, "macro_f1": f1}]
    return candidates.scores(f1, accuracy=f1, per_class=classes, slices=slices)


def candidate(*texts: str) -> TextClassifierCandidate:
    """Return a candidate that disagrees with the live model on rows with these texts."""
    disagreements = [
        {
            "text": text,
            "label": "bad",
            "candidate": "bad",
            "live": "good",
            "candidate_probability": 0.93,
            "live_probability": 0.71,
        }
        for text in texts
    ]
    comparison = candidates.comparison(
        macro_f1=CHANGE,
        accuracy=CHANGE,
        mcnemar={"candidate_only": 3, "live_only": 9, "p_value": 0.1459},
        per_class={"bad": CHANGE, "good": CHANGE},
        slices=[{"name": "up to 9 words", "rows": 50, "macro_f1": CHANGE}],
        latency_ms={"candidate": 4.2, "live": 4.0},
        size_bytes={"candidate": 4_400_000, "live": 4_100_000},
        disagreements=disagreements,
    )
    return candidates.candidate(scores(0.8977), scores(0.91), scores(0.8), comparison=comparison)


def test_the_card_holds_what_is_needed_to_decide() -> None:
    card = approval_card(
        candidate("slow, but friendly"), decision="accepted: macro F1 0.8977", report_url="https://airflow/report"
    )
    for line in (
        "**Gate:** `accepted: macro F1 0.8977`",
        "[Report with pictures](https://airflow/report)",
        "| on the same evaluation rows | candidate | live | baseline | difference | 95% interval |",
        "| macro F1 ↑ | 0.8977 | 0.9100 | 0.8000 | -0.0123 | -0.0300 to +0.0050 |",
        "| log loss ↓ | 0.3000 | 0.3000 | 0.3000 | +0.0000 |  |",
        "| one text in one process, median | 4.2 ms | 4.0 ms |",
        "| archive | 4.4 MB | 4.1 MB |",
        "| `up to 9 words` | 50 | 0.8977 | 0.9100 | -0.0123 | -0.0300 to +0.0050 |",
        "| `good` | 75 | 0.8977 | 0.9100 | -0.0123 | -0.0300 to +0.0050 |",
        "| `slow, but friendly` | `bad` | `bad` 0.93 | `good` 0.71 |",
    ):
        assert line in card.splitlines(), line
    assert "candidate 3, live 9 (McNemar, p = 0.146)" in card


def test_a_first_release_is_shown_without_a_live_model() -> None:
    card = approval_card(candidates.candidate(scores(0.93), baseline=scores(0.5)))
    assert "| macro F1 ↑ | 0.9300 | none | 0.5000 |  |" in card
    assert "There is no live model to compare with." in card
    assert "Gate" not in card
    assert "disagree" not in card


def test_texts_can_be_left_out() -> None:
    card = approval_card(candidate("a private text"), show_texts=False)
    assert "a private text" not in card
    assert "The report has 1 of them" in card


def test_models_that_never_disagree_are_said_to() -> None:
    assert "There are none." in approval_card(candidate())


@pytest.mark.parametrize(
    "text",
    [
        "[press here](https://evil.example)",
        "![](https://evil.example/pixel.png)",
        "https://evil.example www.evil.example ada@evil.example",
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "` [out of the quotation](https://evil.example) `",
        "`` [two ticks](https://evil.example) ``",
        "one | [another cell](https://evil.example) | \\| ![](https://evil.example/a.png)",
        "a backslash at the end \\",
        "# a heading\n\n---\n\n> a quotation\n\n- a list",
        "*emphasis* _too_ ~~gone~~ [^1] <https://evil.example>",
        "left to right \u202e and the other way round \u2067",
        "",
    ],
)
def test_no_text_can_make_a_link_a_picture_or_html(text: str) -> None:
    card = approval_card(candidate(text))
    tokens = MarkdownIt("gfm-like").parse(card)
    flat = [token for each in tokens for token in (each, *(each.children or ()))]
    kinds = {token.type for token in flat}
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "blockquote_open", "hr", "bullet_list_open"}
    rows = re.findall(r"^\| .* \|$", card, flags=re.MULTILINE)
    assert len([token for token in flat if token.type == "tr_open"]) == len(rows) - 5  # one in each table is its rule
    assert [token.tag for token in flat if token.type == "heading_open"] == ["h4"] * 3
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", card)


def test_long_texts_are_cut() -> None:
    assert len(quoted("word " * 500)) <= MAX_TEXT_CHARACTERS + 2
    assert quoted("word " * 500).endswith(" …`")
    assert quoted("  two\n lines ") == "`two lines`"


def test_the_worst_slice_is_shown_and_its_word_only_with_texts() -> None:
    worst = {
        "kind": "word",
        "description": "with a common word",
        "word": "ref`und",
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
    slices = [
        {
            "name": "German",
            "rule": "language de",
            "rows": 50,
            "accuracy": 0.8,
            "macro_f1": 0.8,
            "accuracy_interval": {"low": 0.7, "high": 0.9},
            "macro_f1_interval": {"low": 0.69, "high": 0.91},
        }
    ]
    one = candidates.candidate(candidates.scores(0.9, slices=slices), worst_slice=worst)
    card = approval_card(one)
    assert "| `German` | 50 | 0.8000 (0.6900 to 0.9100) |" in card
    assert (
        "**Worst of 120 slices that nobody has named:** texts with a common word, `ref'und`, worse than elsewhere. "
        "Accuracy 0.6100 on 41 rows that took no part in the choice, -0.3100 against all others (95% interval -0.4600 "
        "to -0.1800)." in card
    )
    hidden = approval_card(one, show_texts=False)
    assert "texts with a common word (the report says which), worse than elsewhere" in hidden
    assert "und" not in hidden.split("Worst of")[1].split(".")[0]
    unclear = candidates.candidate(worst_slice=worst | {"stands_out": False})
    assert "not clearly worse than elsewhere" in approval_card(unclear)


def test_the_data_stand_beside_those_of_the_live_version() -> None:
    changes = [{"name": "unknown_words", "distance": 0.31, "live": "2.0% unknown", "candidate": "33.0%"}]
    found = {"version": candidates.LIVE, "changes": changes, "not_compared": "lengths, which nobody counted"}
    card = approval_card(candidates.candidate(data_changes=found))

    assert f"The data, against those of {candidates.LIVE}" in card
    assert "| unknown words | 0.310 | `2.0% unknown` | `33.0%` |" in card
    assert "Not compared: lengths, which nobody counted." in card
    assert "The data, against" not in approval_card(candidates.candidate())


def test_requests_that_were_answered_again_are_shown_with_what_was_left_out() -> None:
    changed = {"share": 0.02, "low": 0.011, "high": 0.036}
    found = candidates.shadow(
        changed=changed,
        changed_rows=11,
        mean_probability_change=0.0312,
        labels=[{"live": "good", "candidate": "b`ad", "rows": 9}, {"live": "bad", "candidate": "good", "rows": 2}],
        slices=[{"name": "script Cyrillic", "requests": 40, "changed": changed}],
        without_texts=30,
        other_versions=4,
        is_cut=True,
    )
    card = approval_card(candidates.candidate(shadow=found))
    for words in (
        "Of 500 captured requests that 20260101000000 has answered, from 2026-01-01 to 2026-01-02, ",
        "0.0200 (0.0110 to 0.0360) get another label (95% interval; 11 of 520 rows)",
        "moves by 0.0312 in the mean. Left out: 30 without a kept text (`capture.texts: keep` keeps them), 4 of other ",
        "versions. There were more than are read at once.",
    ):
        assert words in card, words
    assert "| `good` | `b'ad` | 9 |" in card
    assert "| `script Cyrillic` | 40 | 0.0200 (0.0110 to 0.0360) |" in card


def test_where_no_request_could_be_answered_again_the_card_says_why() -> None:
    found = candidates.shadow(requests=0, rows=0, first="", last="", why_not="none was captured", without_texts=3)
    card = approval_card(candidates.candidate(shadow=found))
    assert "Nothing to compare: `none was captured`. Left out: 3 without a kept text" in card
    assert "answered again" not in approval_card(candidates.candidate())
