"""Which candidates the gate lets through, and what it says about the others."""

from __future__ import annotations

from typing import Any

import pytest

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.rules.gate import Decision, decide
from include.contracts.settings import GateConfig
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.config import read_section
from tests import candidates
from tests.candidates import LIVE


def scores(macro_f1: float, **changes: Any) -> dict[str, Any]:
    return candidates.scores(macro_f1, **{"expected_calibration_error": 0.05, **changes})


def candidate(
    own: dict[str, Any], live: float | dict[str, Any] | None = None, baseline: float = 0.5, **comparison: Any
) -> TextClassifierCandidate:
    return candidates.candidate(
        own,
        scores(live) if isinstance(live, float) else live,
        scores(baseline),
        version="20260102000000",
        comparison=candidates.comparison(version=LIVE, **comparison) if comparison else None,
    )


def interval(low: float, high: float, *, difference: float = 0.0) -> dict[str, float]:
    return {"difference": difference, "low": low, "high": high}


def compared(own: float, live: float, low: float, high: float, **comparison: Any) -> TextClassifierCandidate:
    """Return a candidate whose difference to the live model has an interval."""
    return candidate(
        scores(own),
        live,
        **{"rows": 150, "confidence": 0.95, "macro_f1": interval(low, high, difference=own - live)} | comparison,
    )


def found(f1: float, support: int = 9) -> dict[str, Any]:
    return {"precision": f1, "recall": f1, "f1": f1, "support": support}


def part(name: str, rows: int, macro_f1: float) -> dict[str, Any]:
    return {"name": name, "rows": rows, "accuracy": macro_f1, "macro_f1": macro_f1}


def decided(one: TextClassifierCandidate, **policy: Any) -> Decision:
    """Return the decision while what the candidate was compared with is live."""
    return decide(one, GateConfig.model_validate(policy), live_version=one.compared_version)


@pytest.mark.parametrize(
    "own, live, policy, accepted",
    [
        # Thresholds include their own value.
        (scores(0.9), None, {"min_macro_f1": 0.9}, True),
        (scores(0.8999), None, {"min_macro_f1": 0.9}, False),
        (scores(0.9, accuracy=0.85), None, {"min_accuracy": 0.85}, True),
        (scores(0.9, accuracy=0.8499), None, {"min_accuracy": 0.85}, False),
        (scores(0.9, expected_calibration_error=0.1), None, {"max_expected_calibration_error": 0.1}, True),
        (scores(0.9, expected_calibration_error=0.1001), None, {"max_expected_calibration_error": 0.1}, False),
        # The live model is what counts on the same rows; 0.89 - 0.90 is not exactly -0.01.
        (scores(0.89), 0.90, {"max_regression": 0.01}, True),
        (scores(0.8899), 0.90, {"max_regression": 0.01}, False),
        (scores(0.95), 0.90, {"max_regression": 0.0}, True),
        (scores(0.90), 0.90, {"max_regression": 0.0}, True),
        (scores(0.8999), 0.90, {"max_regression": 0.0}, False),
        # The baseline must be beaten, not met, and only if asked for.
        (scores(0.5), None, {"must_beat_baseline": True}, False),
        (scores(0.5001), None, {"must_beat_baseline": True}, True),
        (scores(0.4), None, {"must_beat_baseline": False}, True),
    ],
)
def test_the_candidate_is_accepted_exactly_when_every_condition_holds(
    own: dict[str, Any], live: float | None, policy: dict[str, Any], accepted: bool
) -> None:
    decision = decided(candidate(own, live), **policy)
    assert decision.accepted is accepted
    assert decision.line.startswith("accepted: " if accepted else "rejected: ")
    assert bool(decision.reasons) is not accepted


@pytest.mark.parametrize(
    "own, live, low, high, policy, accepted",
    [
        # The lower bound decides, and lies on the margin at most.
        (0.90, 0.90, -0.0099, 0.012, {}, True),
        (0.90, 0.90, -0.0101, 0.012, {}, False),
        (0.89, 0.90, -0.01, 0.0, {}, True),
        (0.95, 0.90, 0.02, 0.08, {"max_regression": 0}, True),
        (0.95, 0.90, -0.02, 0.12, {"max_regression": 0}, False),
        # The same model again is let through at any margin.
        (0.90, 0.90, 0.0, 0.0, {"max_regression": 0}, True),
        # Inconclusive: the difference goes where the model's owner says so.
        (0.90, 0.90, -0.05, 0.05, {"when_inconclusive": "reject"}, False),
        (0.90, 0.90, -0.05, 0.05, {"when_inconclusive": "release"}, True),
        (0.88, 0.90, -0.05, 0.01, {"when_inconclusive": "release"}, False),
        # Worse beyond doubt.
        (0.80, 0.90, -0.12, -0.08, {"when_inconclusive": "release"}, False),
    ],
)
def test_a_candidate_must_be_shown_to_be_not_worse_than_the_live_model(
    own: float, live: float, low: float, high: float, policy: dict[str, Any], accepted: bool
) -> None:
    assert decided(compared(own, live, low, high), **policy).accepted is accepted


def test_a_rejection_says_by_how_much_and_how_sure_that_is() -> None:
    decision = decided(compared(0.871, 0.893, -0.035, -0.009), max_regression=0.01)
    assert decision.line == (
        "rejected: macro F1 0.871, live 0.893, difference -0.022, 95 % interval -0.035 to -0.009, margin 0.01"
    )


def test_too_few_rows_are_named() -> None:
    line = "macro F1 0.890, live 0.893, difference -0.003, 95 % interval -0.021 to +0.015, margin 0.01, inconclusive"
    assert decided(compared(0.890, 0.893, -0.021, 0.015)).line == (f"rejected: {line}: 150 rows are too few to tell")
    assert decided(compared(0.890, 0.893, -0.021, 0.015), when_inconclusive="release").line.startswith(
        f"accepted: {line}"
    )


def test_a_figure_close_to_its_bound_has_the_decimals_that_tell_them_apart() -> None:
    assert "interval -0.01004 to +0.015" in decided(compared(0.9, 0.9, -0.01004, 0.015)).line
    assert (
        "accuracy 0.8999, at least 0.9 is needed"
        in decided(candidate(scores(0.9, accuracy=0.8999)), min_accuracy=0.9).line
    )


def test_an_interval_with_less_confidence_than_asked_for_does_not_count() -> None:
    one = compared(0.9, 0.9, 0.0, 0.0, confidence=0.9)
    assert decided(one, confidence=0.9).accepted
    assert "95 % are asked for; start a new release" in decided(one, confidence=0.95).line


@pytest.mark.parametrize(("own", "accepted"), [(1.0, True), (0.999, False), (0.001, False)])
def test_a_baseline_without_mistakes_is_met_only_without_mistakes(own: float, accepted: bool) -> None:
    assert decided(candidate(scores(own), baseline=1.0), must_beat_baseline=True).accepted is accepted


def test_documents_without_an_interval_go_by_the_difference_and_say_so() -> None:
    assert decided(candidate(scores(0.89), 0.90), max_regression=0.01).line == (
        "accepted: macro F1 0.890, live 0.900, difference -0.010, margin 0.01, no interval: candidate.json has none, "
        "baseline 0.500"
    )


def test_a_rejection_names_the_first_reasons_and_has_them_all() -> None:
    policy = {"min_accuracy": 0.95, "min_macro_f1": 0.99, "max_expected_calibration_error": 0.01}
    decision = decided(candidate(scores(0.4), 0.8), **policy)
    assert decision.reasons == (
        "macro F1 0.400, live 0.800, difference -0.400, margin 0.01, no interval: candidate.json has none",
        "accuracy 0.900, at least 0.95 is needed",
        "macro F1 0.400, at least 0.99 is needed",
        "expected calibration error 0.050, at most 0.01 is allowed",
        "macro F1 0.400, not above the baseline's 0.500",
    )
    assert decision.line == f"rejected: {'; '.join(decision.reasons[:3])}; 2 more"
    assert decision.text == f"rejected: {'; '.join(decision.reasons)}"


def test_an_acceptance_says_what_it_was_compared_with() -> None:
    assert decided(compared(0.9, 0.88, 0.01, 0.03)).line == (
        "accepted: macro F1 0.900, live 0.880, difference +0.020, 95 % interval +0.010 to +0.030, margin 0.01, "
        "baseline 0.500"
    )
    assert decided(candidate(scores(0.9))).line == "accepted: macro F1 0.900, first release, baseline 0.500"


@pytest.mark.parametrize(
    "floors, reason",
    [
        (0.4, None),
        (0.5, "F1 of 'bad' 0.450 (at least 0.5)"),
        ({"bad": 0.4}, None),
        ({"bad": 0.5, "good": 0.7}, "F1 of 'bad' 0.450 (at least 0.5), 'good' 0.600 (at least 0.7)"),
        ({"rare": 0.1}, "F1 of 'rare' (at least 0.1) has no evaluation rows"),
        ({"unknown": 0.1}, "F1 of 'unknown' (at least 0.1) has no evaluation rows"),
    ],
)
def test_every_class_has_its_floor(floors: Any, reason: str | None) -> None:
    per_class = {"bad": found(0.45), "good": found(0.6)}
    if isinstance(floors, dict):
        per_class["rare"] = found(0.0, support=0)
    decision = decided(candidate(scores(0.9, per_class=per_class)), min_class_f1=floors)
    assert decision.reasons == ((reason,) if reason else ())


def test_of_many_classes_below_their_floor_five_are_named() -> None:
    per_class = {f"label {index}": found(0.1) for index in range(8)}
    (reason,) = decided(candidate(scores(0.9, per_class=per_class)), min_class_f1=0.5).reasons
    assert reason.endswith("'label 4' 0.100 (at least 0.5), 3 more")


def test_slices_have_a_floor_unless_they_are_small() -> None:
    slices = [part("short", 50, 0.5), part("long", 49, 0.1)]
    one = candidate(scores(0.9, slices=slices))
    assert decided(one, min_slice_macro_f1=0.5).accepted
    assert decided(one, min_slice_macro_f1=0.6).reasons == ("macro F1 of slice 'short' 0.500, at least 0.6 is needed",)
    assert len(decided(one, min_slice_macro_f1=0.6, min_slice_rows=49).reasons) == 1
    assert "'long' 0.100" in decided(one, min_slice_macro_f1=0.6, min_slice_rows=49).line


def test_a_slice_that_is_shown_to_be_worse_stops_a_release_and_one_that_may_be_does_not() -> None:
    def one(high: float, rows: int = 50) -> TextClassifierCandidate:
        slices = [{"name": "long", "rows": rows, "macro_f1": interval(-0.2, high, difference=-0.12)}]
        return compared(0.9, 0.9, 0.0, 0.0, slices=slices)

    assert decided(one(-0.04)).accepted
    assert decided(one(-0.06), max_slice_regression=0.1).accepted
    assert decided(one(-0.06, rows=49)).accepted
    assert decided(one(-0.06)).reasons == (
        "macro F1 of slice 'long' -0.120 (95 % interval -0.200 to -0.060) against the live model's, "
        "at most 0.05 less is allowed",
    )


def test_calibration_may_not_become_much_worse() -> None:
    live = scores(0.9, expected_calibration_error=0.02)
    assert decided(candidate(scores(0.9, expected_calibration_error=0.12), live)).accepted
    assert decided(candidate(scores(0.9, expected_calibration_error=0.13), live)).reasons == (
        "expected calibration error 0.130, live 0.020, at most 0.1 more is allowed",
    )


def test_a_model_may_not_be_much_slower_or_larger() -> None:
    def one(milliseconds: float, size: int) -> TextClassifierCandidate:
        return compared(
            0.9,
            0.9,
            0.0,
            0.0,
            latency_ms={"candidate": milliseconds, "live": 10.0},
            size_bytes={"candidate": size, "live": 10_000_000},
        )

    assert decided(one(30.0, 30_000_000)).accepted
    assert decided(one(30.1, 30_000_001)).reasons == (
        "latency 30.1 ms, live 10.0 ms, at most 3 times as much is allowed",
        "size 30.0 MB, live 10.0 MB, at most 3 times as much is allowed",
    )
    assert decided(one(99.0, 99_000_000), max_latency_ratio=10, max_size_ratio="10").accepted


@pytest.mark.parametrize(
    "live_version, reason",
    [
        (LIVE, ""),
        ("20260102000000", ""),  # the candidate itself: its finished release is looked at again
        ("20251230000000", f"compared with {LIVE}, but 20251230000000 is live now; start a new release"),
        (None, ""),  # there is nothing to be worse than, and deploying says so too
    ],
)
def test_only_a_comparison_with_what_is_live_now_counts(live_version: str | None, reason: str) -> None:
    one = compared(0.95, 0.9, 0.01, 0.09)
    decision = decide(one, GateConfig(), live_version=live_version, live_at_start=LIVE)
    assert decision.reasons == ((reason,) if reason else ())


def test_what_could_not_be_compared_may_only_replace_what_was_live_when_it_began() -> None:
    one = candidate(scores(0.9))
    assert decide(one, GateConfig(), live_version=LIVE, live_at_start=LIVE).line == (
        f"accepted: macro F1 0.900, not comparable with live {LIVE}, baseline 0.500"
    )
    for at_start in (None, "20251230000000"):
        assert decide(one, GateConfig(), live_version=LIVE, live_at_start=at_start).line == (
            f"rejected: compared with nothing, but {LIVE} is live now; start a new release"
        )


def test_text_from_templates_is_read_as_what_it_says() -> None:
    settings = {
        "min_accuracy": "0.5",
        "max_regression": 0,
        "must_beat_baseline": "False",
        "min_slice_rows": "20",
        "max_size_ratio": "1.5",
        "confidence": "0.9",
        "min_class_f1": {"bad": "0.5"},
    }
    assert read_section(GateConfig, settings, name="gate") == GateConfig(
        min_accuracy=0.5,
        max_regression=0.0,
        must_beat_baseline=False,
        min_slice_rows=20,
        max_size_ratio=1.5,
        confidence=0.9,
        min_class_f1={"bad": 0.5},
    )


def test_a_policy_without_meaning_is_refused_with_all_that_is_wrong() -> None:
    settings = {
        "min_acuracy": 0.9,
        "min_macro_f1": "",
        "max_regression": 1.5,
        "min_accuracy": True,
        "max_expected_calibration_error": "nan",
        "must_beat_baseline": "maybe",
        "when_inconclusive": "perhaps",
        "min_class_f1": {"bad": 2},
        "min_slice_rows": 1.5,
        "confidence": 1,
        "max_size_ratio": 0,
        "max_latency_ratio": "fast",
    }
    with pytest.raises(InvalidRequestError) as error:
        read_section(GateConfig, settings, name="gate")
    for name in settings:
        assert f"gate.{name}" in str(error.value)


def test_a_slice_may_have_a_floor_of_its_own_and_has_to_hold_it() -> None:
    one = candidate(scores(0.9, slices=[part("German", 50, 0.7), part("short", 49, 0.9), part("long", 500, 0.1)]))
    assert decided(one, min_slice_macro_f1={"German": 0.7}).accepted
    floors = {"German": 0.8, "short": 0.8, "mobile": 0.8, "nobody cares": 0.0}
    assert decided(one, min_slice_macro_f1=floors).reasons == (
        "macro F1 of slice 'German' 0.700 (at least 0.8), 'short' (at least 0.8) has 49 evaluation rows, 50 are needed "
        "to tell, 'mobile' (at least 0.8) has no evaluation rows, 50 are needed to tell",
    )
    assert decided(one, min_slice_macro_f1={"short": 0.8}, min_slice_rows=49).accepted


def test_a_slice_may_have_a_margin_of_its_own_and_the_others_keep_theirs() -> None:
    change = interval(-0.2, -0.06, difference=-0.12)
    slices = [{"name": name, "rows": 50, "macro_f1": change} for name in ("German", "long")]
    one = compared(0.9, 0.9, 0.0, 0.0, slices=slices)
    assert decided(one, max_slice_regression={"German": 0.1, "long": 0.1}).accepted
    assert decided(one, max_slice_regression={"German": 0.1}).reasons == (
        "macro F1 of slice 'long' -0.120 (95 % interval -0.200 to -0.060, 0.05 less is allowed) against the live "
        "model's",
    )
    assert "'German'" in decided(one, max_slice_regression={"German": 0.02, "long": 1.0}).line


def changed(**distances: float) -> TextClassifierCandidate:
    """Return a candidate whose data differ from the live version's."""
    changes = [
        {"name": name, "distance": distance, "live": "before", "candidate": "now"}
        for name, distance in distances.items()
    ]
    return candidates.candidate(scores(0.9), data_changes={"version": LIVE, "changes": changes, "not_compared": ""})


def test_data_that_have_changed_are_told_and_stop_a_release_where_that_is_asked() -> None:
    one = changed(lengths=0.35, classes=0.05)
    told = f"the data differ from those of {LIVE}: lengths by 0.350 (tolerated 0.2; before before, now now)"

    by_default = decided(one)
    assert by_default.accepted and by_default.notes == (told,) and by_default.text.endswith(told)
    assert told not in by_default.line
    asked = decided(one, data_change={"action": "reject"})
    assert asked.reasons == (told,) and asked.notes == ()


def test_data_within_what_is_tolerated_are_not_told() -> None:
    one = changed(lengths=0.2, unknown_words=0.1, columns=0.0)
    assert decided(one, data_change={"action": "reject"}).accepted
    assert decided(one).notes == ()
    assert decided(changed(columns=1.0), data_change={"action": "reject"}).reasons
    assert decided(changed(lengths=0.35), data_change={"action": "reject", "lengths": 0.4}).accepted


def replayed(share: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    """Return section ``shadow`` of a candidate."""
    return candidates.shadow(changed={"share": share, "low": low, "high": high}, **changes)


def with_shadow(section: dict[str, Any] | None, **policy: Any) -> Decision:
    one = candidates.candidate(
        scores(0.9),
        scores(0.9),
        scores(0.5),
        version="20260102000000",
        comparison=candidates.comparison(),
        shadow=section,
    )
    return decided(one, **policy)


@pytest.mark.parametrize(
    ("low", "share", "high", "policy", "accepted"),
    [
        (0.01, 0.02, 0.04, {"max_changed_share": 0.05}, True),
        (0.01, 0.02, 0.05, {"max_changed_share": 0.05}, True),
        (0.01, 0.02, 0.06, {"max_changed_share": 0.05}, False),
        (0.01, 0.02, 0.06, {"max_changed_share": 0.05, "when_inconclusive": "release"}, True),
        (0.04, 0.06, 0.09, {"max_changed_share": 0.05, "when_inconclusive": "release"}, False),
        (0.06, 0.08, 0.11, {"max_changed_share": 0.05, "when_inconclusive": "release"}, False),
        (0.90, 0.95, 0.99, {}, True),
    ],
)
def test_captured_requests_that_get_another_answer_are_judged_where_that_is_asked(
    low: float, share: float, high: float, policy: dict[str, Any], accepted: bool
) -> None:
    assert with_shadow(replayed(share, low, high), **policy).accepted is accepted


def test_the_line_says_how_many_answers_change_and_how_sure_that_is() -> None:
    rejected = with_shadow(replayed(0.02, 0.011, 0.036), max_changed_share=0.03)
    assert rejected.line == (
        "rejected: changed answers 0.020, 95 % interval 0.011 to 0.036, at most 0.03 is allowed, inconclusive: 500 "
        "requests are too few to tell"
    )
    accepted = with_shadow(replayed(0.02, 0.011, 0.036), max_changed_share=0.05)
    assert accepted.line.endswith("changed answers 0.020, 95 % interval 0.011 to 0.036, at most 0.05 is allowed")
    surer = with_shadow(replayed(0.02, 0.011, 0.036), max_changed_share=0.05, confidence=0.99)
    assert "99 % are asked for; start a new release" in surer.line


@pytest.mark.parametrize("section", [None, candidates.shadow(requests=0, why_not="set capture.texts: keep")])
def test_what_nobody_knows_is_for_the_owner_to_decide(section: dict[str, Any] | None) -> None:
    rejected = with_shadow(section, max_changed_share=0.05)
    assert rejected.line.startswith("rejected: changed answers are not known, at most 0.05 is allowed, inconclusive: ")
    assert ("capture.texts: keep" if section else "section shadow") in rejected.line
    assert with_shadow(section, max_changed_share=0.05, when_inconclusive="release").accepted


def test_before_the_first_release_nobody_has_answered_a_request() -> None:
    assert decided(candidate(scores(0.9)), max_changed_share=0.05).accepted
