"""How the data set of a release differs from that of the live version, by what ``dataset.json`` says of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from include.contracts.data.changes import MOST_CHARACTERS, DataChange
from include.contracts.data.profile import Profile
from include.contracts.dataset import Dataset, Split

#: Labels, scripts and columns that a change names.
_MOST_NAMED = 5


def changes_of(candidate: Dataset, live: Dataset) -> Iterator[DataChange]:
    """Yield what ``dataset.json`` of two versions tells: what only one of them has counted is left out."""
    if candidate.columns and live.columns:
        yield _sets("columns", _columns(live), _columns(candidate))
    yield _sets("labels", set(live.labels), set(candidate.labels))
    before, now = live.splits.train, candidate.splits.train
    yield _shares("classes", _classes(before), _classes(now))
    if before.profile and now.profile:
        yield _lengths(before.profile, now.profile)
        yield _shares("scripts", before.profile.scripts, now.profile.scripts)
    yield _rates("missing", _missing(live), _missing(candidate))
    yield _rates("duplicates", _duplicates(live), _duplicates(candidate))


def _columns(dataset: Dataset) -> set[str]:
    return {f"{name} ({' and '.join(sorts) or 'empty'})" for name, sorts in dataset.columns.items()}


def _sets(name: Literal["columns", "labels"], live: set[str], candidate: set[str]) -> DataChange:
    return DataChange(
        name=name, distance=0.0 if live == candidate else 1.0, live=_named(live), candidate=_named(candidate)
    )


def _named(names: set[str]) -> str:
    shown = [each[:50] for each in sorted(names)[:_MOST_NAMED]]
    more = len(names) - len(shown)
    return ", ".join([*shown, *([f"{more:,} more"] if more else [])])[:MOST_CHARACTERS]


def _classes(split: Split) -> dict[str, float]:
    return {label: count / split.rows for label, count in split.label_counts.items()}


def _shares(
    name: Literal["classes", "scripts"], live: Mapping[str, float], candidate: Mapping[str, float]
) -> DataChange:
    """Return the total variation distance of two distributions."""
    distance = sum(abs(live.get(each, 0.0) - candidate.get(each, 0.0)) for each in {*live, *candidate}) / 2
    return DataChange(name=name, distance=min(1.0, distance), live=_in_words(live), candidate=_in_words(candidate))


def _in_words(shares: Mapping[str, float]) -> str:
    found = sorted(shares.items(), key=lambda each: (-each[1], each[0]))[:_MOST_NAMED]
    return ", ".join(f"{name[:40]} {share:.1%}" for name, share in found)[:MOST_CHARACTERS]


def _lengths(live: Profile, candidate: Profile) -> DataChange:
    """Return the Kolmogorov-Smirnov distance at the lengths that are counted."""
    distance = max(abs(before - now) for before, now in zip(live.up_to, candidate.up_to, strict=True))
    return DataChange(name="lengths", distance=distance, live=_quantiles(live), candidate=_quantiles(candidate))


def _quantiles(profile: Profile) -> str:
    least, _, median, _, most = profile.quantiles
    return f"median {median:,} characters, 90 % of the texts {least:,} to {most:,}"


def _rates(name: Literal["missing", "duplicates"], live: float, candidate: float) -> DataChange:
    return DataChange(name=name, distance=abs(live - candidate), live=f"{live:.1%}", candidate=f"{candidate:.1%}")


def _missing(dataset: Dataset) -> float:
    dropped = dataset.dropped
    rows = sum(each.train + each.evaluation for each in (dropped.empty, dropped.unknown_label))
    return rows / max(1, dataset.rows_in)


def _duplicates(dataset: Dataset) -> float:
    dropped = dataset.dropped
    rows = sum(each.train + each.evaluation for each in (dropped.duplicate, dropped.leaked))
    return rows / max(1, dataset.rows_in)
