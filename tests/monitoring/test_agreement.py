"""Whether what was measured before releases foretells what users get: a planted contrary measure is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from include.contracts.monitoring.drift import Agreement, DriftDocument, LiveAccuracy
from include.monitoring.agreement import agreement, measured_of
from include.monitoring.drift import main
from include.monitoring.statistics import wilson
from tests import candidates
from tests.monitoring.support import MODEL, VERSION, request, write

VERSIONS = [f"202611{day:02}000000" for day in range(1, 9)]
ROWS = 2000


def labelled(version: str, share: float, rows: int = ROWS, slice: str = "") -> LiveAccuracy:
    right = round(share * rows)
    low, high = wilson(right, rows, confidence=0.95)
    return LiveAccuracy(version=version, slice=slice, rows=rows, right=right, low=low, high=high)


def look(online: list[float], measured: list[float], *, rows: int = ROWS, tolerated: float = 0.05) -> Agreement:
    return agreement(
        [labelled(version, share, rows) for version, share in zip(VERSIONS, online, strict=False)],
        {version: (share, rows) for version, share in zip(VERSIONS, measured, strict=False)},
        live=VERSIONS[len(online) - 1],
        tolerated=tolerated,
    )


BETTER_AND_BETTER = [0.70, 0.75, 0.79, 0.83, 0.87, 0.90, 0.92, 0.94]


def test_a_measure_that_foretells_what_users_get_correlates() -> None:
    found = look([share - 0.02 for share in BETTER_AND_BETTER], BETTER_AND_BETTER)

    assert found.correlation == pytest.approx(1.0, abs=0.01)
    assert found.low is not None and found.low > 0.8
    assert not found.is_contrary and not found.is_lower and found.why_not == ""


def test_a_planted_measure_that_says_the_contrary_is_found() -> None:
    found = look(BETTER_AND_BETTER[::-1], BETTER_AND_BETTER)

    assert found.high is not None and found.high < 0
    assert found.is_contrary


def test_versions_that_are_as_good_are_seldom_said_to_be_contrary() -> None:
    random = np.random.default_rng(1)
    said = 0
    for _ in range(25):
        measured, online = random.binomial(ROWS, 0.9, (2, 8)) / ROWS
        said += look(online.tolist(), measured.tolist()).is_contrary
    assert said <= 2


def test_of_too_few_versions_or_rows_nothing_is_said() -> None:
    few = look(BETTER_AND_BETTER[:4], BETTER_AND_BETTER[:4])
    assert few.correlation is None and few.why_not == "4 versions have enough labels, 5 are needed"
    of_few_rows = look(BETTER_AND_BETTER[::-1][:5], [0.90, 0.91, 0.91, 0.92, 0.92], rows=50)
    assert of_few_rows.low is not None and of_few_rows.low < 0 < (of_few_rows.high or 0)


def test_a_live_version_that_is_worse_than_it_was_measured_is_found() -> None:
    assert look([0.9, 0.80], [0.9, 0.92]).is_lower
    assert not look([0.9, 0.88], [0.9, 0.92]).is_lower  # tolerated
    assert not look([0.9, 0.80], [0.9, 0.92], rows=60).is_lower  # it may be chance
    assert not look([0.80, 0.9], [0.92, 0.9]).is_lower  # another version than the live one
    (*_, ours) = look([0.9, 0.80], [0.9, 0.92]).versions
    assert (ours.measured, ours.online) == (0.92, 0.8)
    assert ours.low < -0.12 < ours.high < -0.05


def test_slices_and_versions_whose_files_are_gone_are_left_out(tmp_path: Path) -> None:
    for version, document in (
        (VERSIONS[0], candidates.document(version=VERSIONS[0])),
        (VERSIONS[1], {"no": "candidate"}),
    ):
        (tmp_path / version).mkdir()
        (tmp_path / version / "candidate.json").write_text(json.dumps(document), encoding="utf-8")

    measured = measured_of(tmp_path.as_uri(), VERSIONS[:3])

    assert measured == {VERSIONS[0]: (0.9, 150)}
    accuracy = [labelled(VERSIONS[0], 0.9), labelled(VERSIONS[0], 0.5, slice="label bad"), labelled(VERSIONS[1], 0.9)]
    found = agreement(accuracy, measured, live=VERSIONS[1], tolerated=0.05)
    assert [each.version for each in found.versions] == [VERSIONS[0]]


def test_the_daily_comparison_reports_it(tmp_path: Path) -> None:
    store, random = tmp_path / "store" / MODEL, np.random.default_rng(1)
    first = datetime(2026, 11, 2, tzinfo=UTC)
    answers = ["good" if random.random() < 0.6 else "bad" for _ in range(300)]
    write(
        store,
        [
            request(number, first + timedelta(minutes=number), ["some text"], labels=[answer], confidences=[0.9])
            for number, answer in enumerate(answers)
        ],
    )
    labels = store / "labels" / "2026-11-03"
    labels.mkdir(parents=True)
    lines = [
        {"schema_version": 1, "id": f"request-{number}", "label": "good", "at": "2026-11-03T00:00:00Z", "origin": "f"}
        for number in range(300)
    ]
    (labels / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (store / VERSION).mkdir()
    document = candidates.document(candidates.scores(accuracy=0.92), version=VERSION, model=MODEL)
    (store / VERSION / "candidate.json").write_text(json.dumps(document), encoding="utf-8")

    assert _compare(store, first + timedelta(days=2)) == 0

    file = store / "drift" / "20261104000000" / "drift.json"
    found = DriftDocument.parse(file.read_text(encoding="utf-8"), where=str(file))
    assert found.agreement is not None and found.agreement.is_lower
    page = Path(found.report_uri.removeprefix("file://")).read_text(encoding="utf-8")
    assert "The live version is worse than it was measured" in page
    assert "1 versions have enough labels, 5 are needed" in page


def _compare(store: Path, as_of: datetime) -> int:
    return main(
        [
            *("--model", MODEL, "--version", VERSION, "--store-uri", store.as_uri()),
            *("--settings", json.dumps({"reference": "first_requests"}), "--as-of", as_of.isoformat()),
            *("--candidate-uri", f"{store.as_uri()}/{VERSION}/candidate.json"),
        ]
    )
