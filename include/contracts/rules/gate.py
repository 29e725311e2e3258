"""Decides whether a candidate is good enough to be deployed at all; docs/gate.md tells what for and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from include.contracts.candidate import Candidate
from include.contracts.kinds.text_classifier import Comparison, Scores, SliceScores, TextClassifierCandidate
from include.contracts.monitoring.shadow import Shadow
from include.contracts.rules.group_gaps import group_gaps
from include.contracts.rules.non_inferiority import ROUNDING, Bounds, Check, Terms, figure, interval, no_worse
from include.contracts.rules.outdated import outdated_by
from include.contracts.settings import GateConfig

#: Reasons in the line; all of them stand in ``Decision.text``.
_REASONS_IN_LINE = 3

#: Classes or slices that one reason names.
_NAMED_AT_ONCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The gate's word.

    :param accepted: whether the candidate may be deployed.
    :param reasons: one for every condition that it missed; empty when accepted.
    :param line: one line for log, registry and release card, with the first reasons.
    :param text: the same with every reason, and what else there is to tell.
    :param notes: what somebody should look at, though it decides nothing.
    """

    accepted: bool
    reasons: tuple[str, ...]
    line: str
    text: str
    notes: tuple[str, ...] = ()


def decide(
    candidate: TextClassifierCandidate,
    policy: GateConfig,
    *,
    live_version: str | None,
    live_at_start: str | None = None,
) -> Decision:
    """Compare a candidate with its thresholds, the live model and the simple baseline.

    :param live_version: what is live now, ``None`` before the first release.
    :param live_at_start: what was live when the release began; counts where the candidate could not be compared.
    """
    scores, live, baseline = candidate.metrics.candidate, candidate.metrics.live, candidate.metrics.baseline
    comparison = candidate.comparison
    main = _against_live(scores, live, comparison, policy) if live else None
    answers = _changed_answers(candidate.shadow, policy) if live_version else None
    checks = (
        _up_to_date(candidate, live_version=live_version, live_at_start=live_at_start),
        *([main] if main else []),
        *_floors(scores, policy),
        *_class_floors(scores, policy),
        _slice_floor(scores, policy),
        *([_slices_against_live(comparison, policy)] if comparison else []),
        *group_gaps(
            {part.name: part for part in scores.slices},
            policy.equal_groups,
            most=policy.max_group_gap,
            least_rows=policy.min_slice_rows,
        ),
        *_calibration(scores, live, policy),
        _baseline(scores, baseline, policy),
        *(_costs(comparison, policy) if comparison else []),
        *([answers] if answers else []),
    )
    reasons = [check.line for check in checks if not check.passed]
    changed = _data_changes(candidate, policy)
    notes = [changed] if changed and policy.data_change.action == "tell" else []
    reasons += [changed] if changed and not notes else []
    if reasons:
        return rejection(reasons, notes)
    compared = main.line if main else f"macro F1 {scores.macro_f1:.3f}, {_not_compared(live_version)}"
    judged = [compared, f"baseline {baseline.macro_f1:.3f}", *([answers.line] if answers else [])]
    line = f"accepted: {', '.join(judged)}"
    return Decision(accepted=True, reasons=(), line=line, text="; ".join([line, *notes]), notes=tuple(notes))


def rejection(reasons: Sequence[str], notes: Sequence[str] = ()) -> Decision:
    """Return the word that is a no.

    :param reasons: one for every condition that was missed.
    :param notes: what else there is to tell.
    """
    line = "; ".join(_first(reasons, _REASONS_IN_LINE))
    text = "; ".join([*reasons, *notes])
    return Decision(
        accepted=False,
        reasons=tuple(reasons),
        line=f"rejected: {line}",
        text=f"rejected: {text}",
        notes=tuple(notes),
    )


def not_up_to_date(candidate: Candidate, *, live_version: str | None, live_at_start: str | None) -> str | None:
    """Return why a candidate may not take the place of what is live, ``None`` when it may."""
    outdated = outdated_by(candidate, live_version=live_version, live_at_start=live_at_start)
    compared = candidate.compared_version or "nothing"
    return outdated and f"compared with {compared}, but {outdated} is live now; start a new release"


def _up_to_date(candidate: Candidate, *, live_version: str | None, live_at_start: str | None) -> Check:
    reason = not_up_to_date(candidate, live_version=live_version, live_at_start=live_at_start)
    return Check(reason is None, reason or "")


def _against_live(scores: Scores, live: Scores, comparison: Comparison | None, policy: GateConfig) -> Check:
    """Say whether macro F1 is not below the live model's by more than the margin, and how sure that is."""
    terms = Terms(policy.max_regression, policy.confidence, policy.when_inconclusive)
    bounds = None
    if comparison:
        found = comparison.macro_f1
        bounds = Bounds(found.low, found.high, comparison.confidence, comparison.rows)
    return no_worse("macro F1", scores.macro_f1, live.macro_f1, bounds, terms)


def _not_compared(live_version: str | None) -> str:
    return f"not comparable with live {live_version}" if live_version else "first release"


def _floors(scores: Scores, policy: GateConfig) -> Iterator[Check]:
    for name, found, floor in (
        ("accuracy", scores.accuracy, policy.min_accuracy),
        ("macro F1", scores.macro_f1, policy.min_macro_f1),
    ):
        yield Check(found >= floor - ROUNDING, f"{name} {figure(found, floor)}, at least {floor:g} is needed")


def _class_floors(scores: Scores, policy: GateConfig) -> Iterator[Check]:
    found, floors = scores.per_class, policy.min_class_f1
    if not isinstance(floors, dict):
        floors = dict.fromkeys(found, floors)
    missed = []
    for label, floor in floors.items():
        support, f1 = (found[label].support, found[label].f1) if label in found else (0, 0.0)
        if floor and not support:
            missed.append(f"{label!r} (at least {floor:g}) has no evaluation rows")
        elif not f1 >= floor - ROUNDING:
            missed.append(f"{label!r} {figure(f1, floor)} (at least {floor:g})")
    yield Check(not missed, f"F1 of {_listed(missed)}")


def _slice_floor(scores: Scores, policy: GateConfig) -> Check:
    """Say whether a slice lies below its floor: one for all is not held against small slices, one of its own is."""
    floors, parts = policy.min_slice_macro_f1, {part.name: part for part in scores.slices}
    if isinstance(floors, dict):
        missed = [line for name, floor in floors.items() if (line := _missed(parts.get(name), name, floor, policy))]
        return Check(not missed, f"macro F1 of slice {_listed(missed)}")
    missed = [
        f"{part.name!r} {figure(part.macro_f1, floors)}"
        for part in scores.slices
        if part.rows >= policy.min_slice_rows and not part.macro_f1 >= floors - ROUNDING
    ]
    return Check(not missed, f"macro F1 of slice {_listed(missed)}, at least {floors:g} is needed")


def _missed(part: SliceScores | None, name: str, floor: float, policy: GateConfig) -> str | None:
    """Return why a slice misses the floor of its own, ``None`` where it does not."""
    rows = part.rows if part else 0
    if part is None or rows < policy.min_slice_rows:
        missing = f"{rows or 'no'} evaluation rows, {policy.min_slice_rows} are needed to tell"
        return f"{name!r} (at least {floor:g}) has {missing}" if floor else None
    found = f"{name!r} {figure(part.macro_f1, floor)} (at least {floor:g})"
    return None if part.macro_f1 >= floor - ROUNDING else found


def _slices_against_live(comparison: Comparison, policy: GateConfig) -> Check:
    """Say whether a slice has become worse. It has few rows: only one that is shown to have stops a release."""
    margins = policy.max_slice_regression
    default = GateConfig.model_fields["max_slice_regression"].default if isinstance(margins, dict) else margins
    own = margins if isinstance(margins, dict) else {}
    worse = []
    for part in comparison.slices:
        margin = own.get(part.name, default)
        if part.rows >= policy.min_slice_rows and not part.macro_f1.high >= -margin - ROUNDING:
            found = figure(part.macro_f1.difference, -margin, sign="+")
            bounds = interval(part.macro_f1.low, part.macro_f1.high, comparison.confidence, -margin)
            allowed = f", {margin:g} less is allowed" if own else ""
            worse.append(f"{part.name!r} {found} ({bounds}{allowed})")
    line = f"macro F1 of slice {_listed(worse)} against the live model's"
    return Check(not worse, line if own else f"{line}, at most {default:g} less is allowed")


def _data_changes(candidate: TextClassifierCandidate, policy: GateConfig) -> str:
    """Return what of the data has changed by more than is tolerated, empty for nothing."""
    found = candidate.data_changes
    changed = found.above(policy.data_change) if found else []
    if not found or not changed:
        return ""
    told = (
        f"{each.name.replace('_', ' ')} by {figure(each.distance, policy.data_change.limit(each.name))} "
        f"(tolerated {policy.data_change.limit(each.name):g}; {each.live} before, {each.candidate} now)"
        for each in changed
    )
    return f"the data differ from those of {found.version}: {', '.join(told)}"


def _calibration(scores: Scores, live: Scores | None, policy: GateConfig) -> Iterator[Check]:
    error, limit = scores.expected_calibration_error, policy.max_expected_calibration_error
    yield Check(
        error <= limit + ROUNDING,
        f"expected calibration error {figure(error, limit)}, at most {limit:g} is allowed",
    )
    if live:
        limit = live.expected_calibration_error + policy.max_calibration_regression
        yield Check(
            error <= limit + ROUNDING,
            f"expected calibration error {figure(error, limit)}, live {live.expected_calibration_error:.3f}, "
            f"at most {policy.max_calibration_regression:g} more is allowed",
        )


def _baseline(scores: Scores, baseline: Scores, policy: GateConfig) -> Check:
    """Say whether the candidate is better than the baseline, or makes no mistake: then nothing could be better."""
    beaten = scores.macro_f1 > baseline.macro_f1 + ROUNDING or scores.macro_f1 >= 1 - ROUNDING
    return Check(
        not policy.must_beat_baseline or beaten,
        f"macro F1 {figure(scores.macro_f1, baseline.macro_f1)}, "
        f"not above the baseline's {figure(baseline.macro_f1, scores.macro_f1)}",
    )


def _costs(comparison: Comparison, policy: GateConfig) -> Iterator[Check]:
    latency, size = comparison.latency_ms, comparison.size_bytes
    for name, own, live, unit, limit in (
        ("latency", latency.candidate, latency.live, "ms", policy.max_latency_ratio),
        ("size", size.candidate / 1e6, size.live / 1e6, "MB", policy.max_size_ratio),
    ):
        yield Check(
            own <= limit * live,
            f"{name} {own:.1f} {unit}, live {live:.1f} {unit}, at most {limit:g} times as much is allowed",
        )


def _changed_answers(shadow: Shadow | None, policy: GateConfig) -> Check | None:
    """Say whether few enough captured requests get another answer, ``None`` where that is not asked.

    What cannot be told, because there were too few requests or none, is for ``when_inconclusive`` to decide.
    """
    limit, undecided = policy.max_changed_share, policy.when_inconclusive == "release"
    if limit >= 1:
        return None
    allowed = f"at most {limit:g} is allowed"
    if shadow is None or shadow.changed is None:
        why = shadow.why_not if shadow else "the pipeline has not asked for them; release again with section shadow"
        return Check(undecided, f"changed answers are not known, {allowed}, inconclusive: {why}")
    found, high = shadow.changed.share, shadow.changed.high
    bounds = interval(shadow.changed.low, high, shadow.confidence, limit, sign="")
    line = f"changed answers {figure(found, limit)}, {bounds}, {allowed}"
    if shadow.confidence < policy.confidence - ROUNDING:
        return Check(False, f"{line}, {100 * policy.confidence:g} % are asked for; start a new release")
    if found > limit + ROUNDING or high <= limit + ROUNDING:
        return Check(found <= limit + ROUNDING, line)
    return Check(undecided, f"{line}, inconclusive: {shadow.requests} requests are too few to tell")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(_first(names, _NAMED_AT_ONCE))


def _first(names: Sequence[str], number: int) -> list[str]:
    """Return the first ones, and how many more there are."""
    more = len(names) - number
    return [*names[:number], *([f"{more} more"] if more > 0 else [])]
