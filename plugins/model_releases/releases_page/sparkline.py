"""A small picture of how the main metric went, as the points of an inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 240, 48
_MARGIN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One release.

    :param x: from the left edge, in units of the picture.
    :param y: from its top.
    :param label: what it is, for a pointer that rests on it.
    :param kind: CSS class of its state.
    """

    x: float
    y: float
    label: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline:
    """The picture.

    :param points: oldest first.
    :param description: the same in words.
    """

    points: tuple[Point, ...]
    description: str

    @property
    def path(self) -> str:
        """The line through all points, as SVG's ``points``."""
        return " ".join(f"{point.x:g},{point.y:g}" for point in self.points)


def draw(values: Sequence[tuple[str, str, float]], *, metric: str) -> Sparkline | None:
    """Return the picture of a metric over releases, ``None`` where there are fewer than two.

    :param values: version, CSS class of its state and value of each release, oldest first.
    :param metric: its name in words.
    """
    if len(values) < 2:
        return None
    numbers = [value for *_, value in values]
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    step = (WIDTH - 2 * _MARGIN) / (len(values) - 1)
    points = tuple(
        Point(
            x=round(_MARGIN + step * index, 1),
            y=round(HEIGHT - _MARGIN - (value - low) / span * (HEIGHT - 2 * _MARGIN), 1) if high > low else HEIGHT / 2,
            label=f"{version}: {value:.4f}",
            kind=kind,
        )
        for index, (version, kind, value) in enumerate(values)
    )
    spread = f"lowest {low:.4f}, highest {high:.4f}, newest {numbers[-1]:.4f}"
    description = f"{metric} of the last {len(values)} candidates: {spread}."
    return Sparkline(points=points, description=description)
