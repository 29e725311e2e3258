"""Two releases beside each other."""

from __future__ import annotations

from include.contracts.registry_tags import ReleaseState
from model_releases.registry.service import Release
from model_releases.releases_page.comparison import compare


def record(version: str, **facts: str) -> Release:
    return Release(model="reviews", version=version, state=ReleaseState.RETIRED, facts=facts)


def test_more_is_better_for_some_metrics_and_worse_for_others() -> None:
    one = record("1", **{"metric.candidate.macro_f1": "0.9", "metric.candidate.log_loss": "0.3"})
    other = record("2", **{"metric.candidate.macro_f1": "0.8", "metric.candidate.log_loss": "0.2"})
    verdicts = {row.name: row.verdict for row in compare(one, other).metrics}
    assert verdicts == {"macro F1": "worse", "log loss": "better", "accuracy": "", "calibration error": ""}
    assert {row.verdict for row in compare(one, one).metrics if row.difference is not None} == {"same"}


def test_a_model_of_other_metrics_is_compared_by_these() -> None:
    metrics = {"main_metrics": "recall:higher,seconds:lower"}
    one = record("1", **metrics, **{"metric.candidate.recall": "0.9", "metric.candidate.seconds": "3"})
    other = record("2", **metrics, **{"metric.candidate.recall": "0.8", "metric.candidate.seconds": "2"})
    assert {row.name: row.verdict for row in compare(one, other).metrics} == {"recall": "worse", "seconds": "better"}
    # One that was released as a text classifier once has these as well.
    assert [row.name for row in compare(one, record("0")).metrics][:3] == ["recall", "seconds", "macro F1"]


def test_facts_that_differ_are_kept_apart_from_those_that_do_not() -> None:
    found = compare(record("1", base="a", seed="1", old="x"), record("2", base="b", seed="1", new="y"))
    assert [(row.name, row.one, row.other) for row in found.different] == [
        ("base", "a", "b"),
        ("new", "", "y"),
        ("old", "x", ""),
    ]
    assert [row.name for row in found.same] == ["seed"]


def test_it_says_whether_both_were_measured_on_the_same_data() -> None:
    assert compare(record("1", dataset_sha256="a"), record("2", dataset_sha256="a")).same_rows is True
    assert compare(record("1", dataset_sha256="a"), record("2", dataset_sha256="b")).same_rows is False
    assert compare(record("1", dataset_sha256="a"), record("2")).same_rows is None
