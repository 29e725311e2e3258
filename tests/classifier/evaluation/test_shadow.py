"""What a candidate answers to captured requests is compared with what was captured, and no text is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.classifier.evaluation.shadow import replay
from include.classifier.serving.predictor import Prediction
from include.contracts.monitoring.shadow import Shadow
from include.contracts.monitoring.shadow_settings import Replay
from tests.monitoring.support import VERSION, request, write

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OTHER = "20261108000000"

Answer = Callable[[str], tuple[str, float]]


def predicting(answer: Answer) -> Callable[[Sequence[str]], list[Prediction]]:
    """Return a model of two labels.

    :param answer: text -> label and its probability.
    """

    def predict(texts: Sequence[str]) -> list[Prediction]:
        found = []
        for text in texts:
            label, score = answer(text)
            other = "good" if label == "bad" else "bad"
            found.append(Prediction(label, score, {label: score, other: 1 - score}, False))
        return found

    return predict


def captured(number: int, *texts: str, label: str = "good", **given: Any) -> dict[str, Any]:
    """Return a request whose every row the live version has answered with a label, 0.9 sure."""
    return request(
        number,
        NOW - timedelta(minutes=number + 1),
        list(texts),
        labels=[label] * len(texts),
        confidences=[0.9] * len(texts),
        **{"keep": True, **given},
    )


def shadow(store: Path, answer: Answer, **options: Any) -> Shadow:
    given = {"requests": 500, "days": 7, "store_uri": store.as_uri(), "live_version": VERSION} | options
    section = replay(predicting(answer), Replay(**given), confidence=0.95, now=NOW)
    # It has to survive JSON, as candidate.json is.
    return Shadow.model_validate_json(json.dumps(section))


def like_live(text: str) -> tuple[str, float]:
    return "good", 0.9


def bad_if_slow(text: str) -> tuple[str, float]:
    return ("bad", 0.8) if "slow" in text else ("good", 0.9)


def test_the_same_answers_are_no_change_and_the_interval_says_how_sure_that_is(tmp_path: Path) -> None:
    write(tmp_path, [captured(number, f"text {number}") for number in range(100)])

    found = shadow(tmp_path, like_live)
    assert (found.requests, found.rows, found.changed_rows, found.labels, found.moved) == (100, 100, 0, [], [])
    assert found.changed and (found.changed.share, found.changed.low) == (0, 0)
    assert 0.03 < found.changed.high < 0.04, "Wilson: of a hundred requests none has changed"
    assert found.mean_probability_change == 0
    assert (found.first, found.last) == ("2026-11-30T10:20:00.000Z", "2026-11-30T11:59:00.000Z")


def test_another_label_is_told_by_what_it_was_and_what_it_is(tmp_path: Path) -> None:
    requests = [captured(number, "slow food") for number in range(10)]
    requests += [captured(number, "fine food", label="bad") for number in range(10, 15)]
    requests += [captured(number, "fine food") for number in range(15, 100)]
    write(tmp_path, requests)

    found = shadow(tmp_path, bad_if_slow)
    assert [(each.live, each.candidate, each.rows) for each in found.labels] == [
        ("good", "bad", 10),
        ("bad", "good", 5),
    ]
    assert found.changed and found.changed.share == pytest.approx(0.15)
    assert found.changed.low == pytest.approx(0.0931, abs=1e-4)
    assert found.changed.high == pytest.approx(0.2328, abs=1e-4)
    # Of "good": 0.2 instead of 0.9; of "bad": 0.1 instead of 0.9.
    assert found.mean_probability_change == pytest.approx((10 * 0.7 + 5 * 0.8) / 100)
    assert found.moved[0].probability_change == pytest.approx(-0.8)
    assert found.moved[0].id_sha256 == hashlib.sha256(b"request-10").hexdigest()[:16]


def test_a_request_counts_once_however_many_rows_it_has(tmp_path: Path) -> None:
    write(tmp_path, [captured(0, *["slow"] * 40), captured(1, "fine"), captured(2, "slow", "fine")])

    found = shadow(tmp_path, bad_if_slow)
    assert (found.requests, found.rows, found.changed_rows) == (3, 43, 41)
    assert found.changed and found.changed.share == pytest.approx((1 + 0 + 0.5) / 3)


def test_requests_with_one_id_are_requests_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, [{**captured(number, "slow"), "id": "always-the-same"} for number in range(4)])

    found = shadow(tmp_path, bad_if_slow)
    assert found.requests == 4
    assert found.changed and found.changed.low == pytest.approx(0.5101, abs=1e-4)


def test_the_slice_that_has_changed_most_comes_first_and_small_ones_are_left_out(tmp_path: Path) -> None:
    requests = [captured(number, "good food " * 20) for number in range(50)]
    requests += [captured(number, "медленно, slow") for number in range(50, 80)]
    requests += [captured(number, "慢 slow") for number in range(80, 90)]
    write(tmp_path, requests)

    found = shadow(tmp_path, bad_if_slow)
    assert [(each.name, each.requests, round(each.changed.share, 2)) for each in found.slices] == [
        ("up to 100 characters", 40, 1.0),
        ("script Cyrillic", 30, 1.0),
        ("script Latin", 60, 0.17),
        ("up to 400 characters", 50, 0.0),
    ]


@pytest.mark.parametrize(
    ("requests", "why_not", "counts"),
    [
        ([], "none that 20261101000000 has answered was captured in the last 7 days", (0, 0, 0)),
        (
            [captured(number, "a private text", keep=False) for number in range(3)],
            "of 3 requests that 20261101000000 has answered no text was kept; set capture.texts: keep",
            (3, 0, 0),
        ),
        ([captured(0, "a private text", version=OTHER)], "none that 20261101000000 has answered", (0, 1, 0)),
        ([captured(0, "a private text", label=None)], "1 answers of 20261101000000 have no label", (0, 0, 1)),
    ],
)
def test_where_nothing_can_be_answered_again_it_says_why(
    tmp_path: Path, requests: list[dict[str, Any]], why_not: str, counts: tuple[int, int, int], capsys: Any
) -> None:
    write(tmp_path, requests)

    found = shadow(tmp_path, like_live)
    assert found.changed is None
    assert found.requests == found.rows == 0
    assert found.why_not.startswith(why_not)
    assert (found.without_texts, found.other_versions, found.without_answers) == counts
    assert found.why_not in capsys.readouterr().out


def test_lines_that_are_none_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [captured(0, "fine")])
    (file,) = (tmp_path / "captured" / "2026-11-30").iterdir()
    file.write_text('{"schema_version": 1}\nno JSON\n' + file.read_text(), encoding="utf-8")

    found = shadow(tmp_path, like_live)
    assert (found.requests, found.broken_lines) == (1, 2)


def test_a_folder_that_cannot_be_listed_costs_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(folder: Any) -> Any:
        raise PermissionError(13, "denied")

    monkeypatch.setattr("include.contracts.monitoring.newest.days", denied)
    assert shadow(tmp_path, like_live).why_not == "captured requests cannot be read (PermissionError)"


def test_so_many_rows_are_answered_at_most(tmp_path: Path) -> None:
    write(tmp_path, [captured(number, *["fine"] * 10) for number in range(30)])
    asked = Replay(requests=500, days=7, store_uri=tmp_path.as_uri(), live_version=VERSION)

    found = replay(predicting(like_live), asked, confidence=0.9, now=NOW, most_rows=95)
    assert (found["requests"], found["rows"], found["is_cut"]) == (9, 90, True)


def test_a_label_that_the_candidate_does_not_know_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, [captured(0, "fine", label="superb")])

    found = shadow(tmp_path, like_live)
    assert [(each.live, each.candidate) for each in found.labels] == [("superb", "good")]
    assert found.moved[0].probability_change == pytest.approx(-0.9)


def test_no_text_and_no_id_is_told_or_printed(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, [captured(number, f"a private slow text {number}") for number in range(30)])

    told = shadow(tmp_path, bad_if_slow).model_dump_json() + capsys.readouterr().out
    assert "30 captured requests answered again: 1.0000 of them" in told
    assert "private" not in told
    assert "request-" not in told
