"""Pictures of a drift report: how far features have moved, and what they were and are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np

from include.classifier.report import drawing as draw
from include.contracts.monitoring.drift import FeatureDrift
from include.monitoring.columns import Column, quantile

#: Bars of a distribution of numbers.
_BINS = 20
_ROW = 26.0


def distances(features: Sequence[FeatureDrift], tolerated: float, *, description: str) -> Element:
    """Draw the distance of each feature on a scale from 0 to 1; the dashed line is what is tolerated."""
    left, width = 190.0, 400.0
    picture = draw.picture(700, _ROW * len(features) + 30, description)
    floor = _ROW * len(features)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * width
        draw.line(picture, (x, 0), (x, floor), "grid" if share else "axis")
        draw.text(picture, (x, floor + 16), f"{share:g}", "middle muted")
    for row, each in enumerate(features):
        top = _ROW * row
        draw.text(picture, (8, top + 18), draw.shortened(each.name, 26), "start")
        kind = "worse" if each.is_drift else "unclear"
        bar = draw.rectangle(picture, left, top + 5, max(1.0, each.distance * width), _ROW - 10, f"{kind} bar")
        draw.hover(bar, f"{each.name}: distance {each.distance:.3f}, p = {each.p_value:.2g}")
        draw.text(picture, (left + width + 12, top + 18), f"{each.distance:.3f}", "start")
    x = left + tolerated * width
    draw.line(picture, (x, 0), (x, floor), "ideal")
    return picture


def distributions(reference: Column, window: Column, *, description: str) -> Element:
    """Draw the shares of a feature's values, the reference beside the requests."""
    names, shares = _bins(reference, window) if reference.kind == "number" else _shares(reference, window)
    left, top, width, height = 44.0, 8.0, 330.0, 130.0
    turned = reference.kind == "category"
    picture = draw.picture(390, top + height + (84 if turned else 30), description)
    most = max(0.01, *(float(side.max()) for side in shares))
    for part in (0.0, 0.5, 1.0):
        y = top + (1 - part) * height
        draw.line(picture, (left, y), (left + width, y), "grid" if part else "axis")
        draw.text(picture, (left - 6, y + 4), f"{part * most:.0%}", "end muted")
    step = width / len(names)
    for place, name in enumerate(names):
        for number, (who, side) in enumerate(zip(("live", "candidate"), shares, strict=True)):
            tall = float(side[place]) / most * height
            x = left + place * step + 1 + number * (step / 2 - 1)
            bar = draw.rectangle(picture, x, top + height - tall, max(0.5, step / 2 - 1), tall, f"{who} bar")
            draw.hover(bar, f"{name}: {side[place]:.1%} {('before', 'requests')[number]}")
        middle = left + (place + 0.5) * step
        if turned:
            label = draw.text(picture, (middle, top + height + 12), draw.shortened(name, 12), "end")
            label.set("transform", f"rotate(-45 {middle:g} {top + height + 12:g})")
        elif place % 5 == 0:
            draw.text(picture, (left + place * step, top + height + 16), name.partition(" ")[0], "start muted")
    return picture


def _bins(reference: Column, window: Column) -> tuple[list[str], list[np.ndarray]]:
    """Return equal steps that nearly all values of both sides lie in; what lies outside counts at the ends."""
    sides = reference.sample, window.sample
    low = min(quantile(side, 0.01) for side in sides)
    high = max(quantile(side, 0.99) for side in sides)
    high = high if high > low else low + 1
    edges = np.linspace(low, high, _BINS + 1)
    found = [
        np.histogram(np.clip(side.values, low, high), edges, weights=side.weights)[0] / side.weights.sum()
        for side in sides
    ]
    return [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)], found


def _shares(reference: Column, window: Column) -> tuple[list[str], list[np.ndarray]]:
    found = [side.sample.shares(len(reference.names)) for side in (reference, window)]
    there = [place for place in range(len(reference.names)) if any(side[place] > 0 for side in found)]
    return [reference.names[place] for place in there], [side[there] for side in found]
