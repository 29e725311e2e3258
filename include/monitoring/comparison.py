"""Compares the features of two sides and says which have drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from include.contracts.monitoring.drift import FeatureDrift
from include.contracts.monitoring.drift_settings import DriftConfig
from include.monitoring.columns import Column, Row, in_words, pair, pair_what_is_there
from include.monitoring.statistics import Distance, holm, of_categories, of_numbers

#: Both sides of each feature.
Pairs = Mapping[str, tuple[Column, Column]]


def pairs_of(references: Sequence[Sequence[Row]], window: Sequence[Row]) -> dict[str, tuple[Column, Column]]:
    """Return each feature on both sides.

    :param references: each with features of its own: the inputs and the answers of a data set; or one alone with both.
    """
    if len(references) == 1:
        return pair(references[0], window)
    # What a data set does not have says nothing, such as what only some servers find out.
    return {name: both for rows in references for name, both in pair_what_is_there(rows, window).items()}


def compare(pairs: Pairs, settings: DriftConfig) -> list[FeatureDrift]:
    """Return how far each feature has moved, the furthest first.

    Of a run in which none has moved further than is tolerated, at most ``false_alarm_rate`` say of any that it has.
    """
    measured = {name: _distance(*both, tolerated=settings.tolerated_distance) for name, both in pairs.items()}
    adjusted = holm({name: each.p_value for name, each in measured.items()})
    found = [
        FeatureDrift(
            name=name[:200],
            kind=reference.kind,
            distance=min(1.0, measured[name].distance),
            p_value=adjusted[name],
            is_drift=adjusted[name] <= settings.false_alarm_rate,
            reference=in_words(reference),
            requests=in_words(window),
        )
        for name, (reference, window) in pairs.items()
    ]
    return sorted(found, key=lambda each: (not each.is_drift, -each.distance, each.name))


def _distance(reference: Column, window: Column, *, tolerated: float) -> Distance:
    if reference.kind == "number":
        return of_numbers(reference.sample, window.sample, tolerated=tolerated)
    return of_categories(reference.sample, window.sample, len(reference.names), tolerated=tolerated)
