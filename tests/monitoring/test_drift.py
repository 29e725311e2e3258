"""A comparison of captured requests from the command line: what it finds, what it says of too few, what it leaves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from include.contracts.monitoring.drift import DriftDocument
from include.monitoring.drift import main
from tests.monitoring.support import MODEL, VERSION, capture, request, write

FIRST = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20261130)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / MODEL


def look(store: Path, *, days: float, settings: dict[str, Any] | None = None, **options: Any) -> DriftDocument:
    """Compare so many days after the first request, and return what was found."""
    as_of = FIRST + timedelta(days=days)
    given = {"reference_requests": 300, "keep_reports": 2, **(settings or {})}
    arguments = {
        "model": MODEL,
        "version": VERSION,
        "store-uri": store.as_uri(),
        "settings": json.dumps(given),
        "as-of": as_of.isoformat(),
        **options,
    }
    code = main([part for name, value in arguments.items() for part in (f"--{name}", str(value))])
    assert code == 0
    file = store / "drift" / f"{as_of:%Y%m%d%H%M%S}" / "drift.json"
    return DriftDocument.parse(file.read_text(encoding="utf-8"), where=str(file))


def test_longer_texts_and_a_model_less_sure_are_drift_and_the_same_traffic_is_none(store, random, capsys):
    capture(store, random, first=FIRST, count=300)
    capture(store, random, first=FIRST + timedelta(days=2), count=400, numbers_from=1000)
    capture(store, random, first=FIRST + timedelta(days=4), count=400, numbers_from=2000, longer=2, sure=3)

    before, after = look(store, days=3), look(store, days=5)

    assert before.is_enough and before.drifted == []
    assert {each.name for each in after.drifted} == {"characters", "words", "confidence"}
    page = Path(after.report_uri.removeprefix("file://")).read_text(encoding="utf-8")
    assert "3 of 6 features have drifted" in page and page.count("<svg") == 7
    assert "DRIFT" in capsys.readouterr().out


def test_of_too_few_requests_nothing_is_said(store, random):
    capture(store, random, first=FIRST, count=299)
    early = look(store, days=1)
    capture(store, random, first=FIRST + timedelta(days=2), count=150, numbers_from=1000, longer=3)
    late = look(store, days=3)

    assert (early.is_enough, early.features) == (False, [])
    assert "has not answered 300 captured requests yet" in early.why_not
    assert (late.is_enough, late.features, late.requests) == (False, [], 149)
    assert "drift.min_requests asks for 200" in late.why_not


def test_the_first_requests_are_kept_and_outlive_their_files(store, random):
    capture(store, random, first=FIRST, count=300, keep=True)
    capture(store, random, first=FIRST + timedelta(days=2), count=300, numbers_from=1000, longer=2)
    look(store, days=1)
    for path in (store / "captured" / "2026-11-02").iterdir():
        path.unlink()

    found = look(store, days=3)

    assert {"characters", "words"} == {each.name for each in found.drifted}
    kept = (store / "drift" / "first-requests" / f"{VERSION}.json").read_text(encoding="utf-8")
    assert "waiter" not in kept


def test_requests_of_other_versions_and_refused_ones_are_left_out_and_broken_lines_are_counted(store, random):
    capture(store, random, first=FIRST, count=300)
    second = FIRST + timedelta(days=2)
    capture(store, random, first=second, count=250, numbers_from=1000)
    capture(store, random, first=second, count=250, numbers_from=2000, longer=3, version="20261001000000")
    capture(store, random, first=second, count=250, numbers_from=3000, longer=3, status=503)
    folder = store / "captured" / "2026-11-04"
    (folder / "broken.jsonl").write_text('{"id": "x"}\nno JSON\n', encoding="utf-8")
    (folder / ".unfinished.jsonl").write_text("{", encoding="utf-8")

    found = look(store, days=3)

    assert (found.requests, found.broken_lines, found.drifted) == (250, 2, [])


def test_what_a_version_answered_before_it_was_live_is_left_out(store, random):
    live_since = FIRST + timedelta(days=2)
    capture(store, random, first=live_since - timedelta(days=1), count=250, longer=3)  # as its release asks a candidate
    capture(store, random, first=live_since, count=300, numbers_from=1000)
    capture(store, random, first=live_since + timedelta(days=1), count=250, numbers_from=2000)

    found = look(store, days=4, settings={"window_hours": 24}, **{"live-since": live_since.isoformat()})

    assert (found.requests, found.drifted) == (250, [])
    kept = json.loads((store / "drift" / "first-requests" / f"{VERSION}.json").read_text(encoding="utf-8"))
    assert kept["requests"] == 300
    assert np.mean([features["words"] for features, _ in kept["rows"]]) < 20


def test_columns_of_a_table_are_compared_each_and_new_ones_are_seen(store, random):
    def rows(count: int, first: datetime, number: int, **shift: Any) -> list[dict[str, Any]]:
        instances = [
            {
                "age": float(random.normal(40 + shift.get("older", 0), 10)),
                "plan": random.choice(["free", "paid"]).item(),
            }
            for _ in range(count)
        ]
        for each in instances:
            each |= {"country": "DE"} if shift.get("country") else {}
            if random.random() < shift.get("missing", 0):
                del each["age"]
        return [
            request(number + place, first + timedelta(minutes=place), [each], labels=["1"], confidences=[0.9])
            for place, each in enumerate(instances)
        ]

    write(store, rows(300, FIRST, 0))
    write(store, rows(300, FIRST + timedelta(days=1), 1000))
    write(store, rows(300, FIRST + timedelta(days=3), 2000, older=15, country=True))
    write(store, rows(300, FIRST + timedelta(days=5), 3000, missing=0.5))

    assert look(store, days=2).drifted == []
    assert {each.name for each in look(store, days=4).drifted} == {"age", "unknown columns"}
    assert {each.name for each in look(store, days=6).drifted} == {"age: missing"}


def test_the_newest_reports_stay(store, random):
    capture(store, random, first=FIRST, count=300)
    for days in (1, 2, 3):
        look(store, days=days)

    assert sorted(path.name for path in (store / "drift").iterdir()) == [
        "20261104000000",
        "20261105000000",
        "first-requests",
    ]


def test_labels_that_have_arrived_tell_how_often_the_model_is_right(store, random):
    requests = capture(store, random, first=FIRST, count=300)
    folder = store / "labels" / "2026-11-03"
    folder.mkdir(parents=True)
    right = {each["id"]: each["rows"][0]["output"] for each in requests[:100]}
    lines = [
        {"id": name, "row": 0, "label": label if place % 5 else "neither", "at": "2026-11-03T08:00:00Z", "origin": "x"}
        for place, (name, label) in enumerate(right.items())
    ]
    lines += [{**lines[1], "label": "neither", "at": "2026-11-02T08:00:00Z"}]  # came before, and is mended
    lines += [{**lines[0], "id": "nobody-has-asked"}, {**lines[0], "row": 1}]
    text = "\n".join([*map(json.dumps, lines), "broken"])
    (folder / "a.jsonl").write_text(text, encoding="utf-8")

    found = look(store, days=2, **{"least-accuracy": 0.95})

    live = found.of_live()
    assert live is not None
    assert (live.rows, live.right, found.unmatched_labels) == (100, 80, 2)
    assert (live.low, live.high) == pytest.approx((0.7112, 0.8666), abs=1e-4)
    assert found.is_below_gate
    assert not look(store, days=2, **{"least-accuracy": 0.8}).is_below_gate
    assert any(each.slice.startswith("script Latin") for each in found.accuracy)


def test_an_id_that_two_requests_have_says_nothing(store, random):
    requests = capture(store, random, first=FIRST, count=60)
    write(store, [{**each, "at": "2026-11-02T23:00:00.000Z"} for each in requests[:30]], name="again")
    folder = store / "labels" / "2026-11-03"
    folder.mkdir(parents=True)
    lines = [{"id": each["id"], "label": "bad", "at": "2026-11-03T08:00:00Z", "origin": "x"} for each in requests]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    found = look(store, days=2, settings={"min_labels": 10})

    assert (found.of_live().rows, found.unmatched_labels) == (30, 30)


def test_wrong_settings_and_a_missing_reference_are_named(store, capsys):
    arguments = ["--model", MODEL, "--version", VERSION, "--store-uri", store.as_uri(), "--as-of", "2026-11-03"]

    assert main([*arguments, "--settings", '{"window": 3}']) == 2
    assert "drift.window" in capsys.readouterr().err
    assert main([*arguments, "--settings", '{"reference": "training"}']) == 2
    assert "drift.reference: first_requests" in capsys.readouterr().err
    candidate = ["--candidate-uri", f"{store.as_uri()}/{VERSION}/candidate.json"]
    assert main([*arguments, "--settings", "{}", *candidate]) == 2
    assert "not found. Retention may have deleted it" in capsys.readouterr().err
