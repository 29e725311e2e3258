"""Pictures of an evaluation as SVG: in the report's page they take its colours, as files they bring their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from include.classifier.report import drawing as draw
from include.classifier.report.drawing import Point
from include.classifier.report.tables import CalibrationBin, Difference

#: With more labels than this a confusion matrix has no room for names and counts; each cell still says them on hover.
MOST_NAMED_LABELS = 12


def reliability(bins: Sequence[CalibrationBin], *, who: str, description: str) -> Element:
    """Draw how often a model is right at each confidence, over the number of rows that have it.

    On the dashed line a model is as often right as it says; bars below it are overconfident.

    :param bins: those without rows are left out.
    :param who: ``candidate`` or ``live``, for the colour.
    """
    left, top, side, floor = 44.0, 8.0, 280.0, 56.0
    picture = draw.picture(340, 410, description)

    def x(share: float) -> float:
        return left + share * side

    def y(share: float) -> float:
        return top + (1 - share) * side

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line(picture, (x(0), y(share)), (x(1), y(share)), "grid")
        draw.text(picture, (left - 6, y(share) + 4), f"{share:g}", "end muted")
        draw.text(picture, (x(share), top + side + floor + 22), f"{share:g}", "middle muted")
    base, most = top + side + 8 + floor, max((each.rows for each in bins), default=1)
    for each in bins:
        width = (each.high - each.low) * side - 2
        right = draw.rectangle(picture, x(each.low) + 1, y(each.accuracy), width, each.accuracy * side, f"{who} bar")
        right.set("opacity", "0.75")
        draw.hover(right, str(each))
        height = max(1.5, each.rows / most * floor)
        count = draw.rectangle(picture, x(each.low) + 1, base - height, width, height, f"{who} bar")
        count.set("opacity", "0.4")
        draw.hover(count, str(each))
    draw.line(picture, (x(0), y(0)), (x(1), y(1)), "ideal")
    for share in (0.0, 1.0):
        draw.line(picture, (x(0), y(share)), (x(1), y(share)), "axis")
    draw.line(picture, (x(0), base), (x(1), base), "axis")
    draw.text(picture, (x(0.5), base + 32), "confidence (rows with it: the lower bars)", "middle muted")
    draw.text(picture, (12, y(0.5)), "share that is right", "middle muted").set(
        "transform", f"rotate(-90 12 {y(0.5):g})"
    )
    return picture


def confusion(matrix: NDArray[np.int64], labels: Sequence[str] | Mapping[int, str], *, description: str) -> Element:
    """Draw which labels are taken for which; a cell's shade is its share of the true label's rows.

    :param matrix: rows by true (row) and predicted (column) label, shape ``(n_labels, n_labels)``.
    :param labels: names, by the numbers that stand for them where they are many; default: 1, 2, 3 and so on.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return _matrix(matrix, shares, ["candidate"], labels, description=description, number="{:d}")


def confusion_difference(
    candidate: NDArray[np.int64],
    live: NDArray[np.int64],
    labels: Sequence[str] | Mapping[int, str],
    *,
    description: str,
) -> Element:
    """Draw where the candidate answers otherwise than the live model: ``better`` has more hits or fewer mistakes.

    :param candidate: rows by true (row) and predicted (column) label, shape ``(n_labels, n_labels)``.
    :param live: the same of the live model.
    """
    difference = candidate - live
    gain = np.where(np.eye(len(labels), dtype=bool), difference, -difference)
    shares = gain / max(1, int(np.abs(gain).max()))
    return _matrix(difference, shares, ["worse", "better"], labels, description=description, number="{:+d}")


def differences(rows: Sequence[Difference], *, description: str) -> Element:
    """Draw differences to the live model with their intervals, one below the other on one scale.

    The page has them in its tables (:func:`interval`); this is the picture for whoever wants a file.
    """
    height, extent = 26, scale(rows)
    picture = draw.picture(700, height * len(rows) + 30, description)
    for row, each in enumerate(rows):
        draw.text(picture, (8, height * row + 18), draw.shortened(each.name, 26), "start")
        cell = SubElement(picture, "svg", {"x": "190", "y": str(height * row), "width": "290", "height": str(height)})
        cell.extend(_interval_marks(each, extent, height))
        draw.text(picture, (692, height * row + 18), str(each), "end")
    for share, value in ((0.0, -extent), (0.5, 0.0), (1.0, extent)):
        draw.text(
            picture,
            (190 + 290 * (0.04 + 0.92 * share), height * len(rows) + 16),
            f"{value:+g}" if value else "0",
            "middle muted",
        )
    return picture


def interval(row: Difference, extent: float) -> Element:
    """Draw one difference with its interval, as wide as its cell is.

    :param extent: the scale goes from minus this to plus this.
    """
    height = 22
    picture = Element("svg", {"class": "interval-cell", "width": "100%", "height": str(height), "aria-hidden": "true"})
    picture.extend(_interval_marks(row, extent, height))
    return picture


def scale(rows: Sequence[Difference]) -> float:
    """Return the round number that all intervals lie within, on both sides of 0."""
    furthest = max([0.001, *(abs(bound) for row in rows for bound in (row.low, row.high))])
    magnitude = 10.0 ** np.floor(np.log10(furthest))
    return float(next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= furthest * (1 - 1e-9)))


def learning_curve(curves: Sequence[tuple[str, str, Sequence[Point]]], *, description: str) -> Element:
    """Draw values by training step.

    :param curves: name, ``candidate`` or ``live`` for the colour, and points of step and value.
    """
    left, top, width, height = 44.0, 26.0, 470.0, 190.0
    picture = draw.picture(530, 262, description)
    points = [point for _, _, curve in curves for point in curve]
    last = max(step for step, _ in points) or 1
    ticks = _ticks(max(value for _, value in points))

    def place(point: Point) -> Point:
        return left + point[0] / last * width, top + (1 - point[1] / ticks[-1]) * height

    for value in ticks:
        draw.line(picture, place((0, value)), place((last, value)), "grid" if value else "axis")
        draw.text(picture, (left - 6, place((0, value))[1] + 4), f"{value:g}", "end muted")
    for step in (0, round(last / 2), last):
        draw.text(picture, (place((step, 0))[0], top + height + 18), f"{step:g}", "middle muted")
    draw.text(picture, (left + width / 2, top + height + 34), "training step", "middle muted")
    for number, (name, who, curve) in enumerate(curves):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, curve))
        SubElement(picture, "polyline", {"points": line, "class": f"{who} curve"})
        for point in curve if len(curve) <= 30 else ():
            draw.circle(picture, place(point), 3, who)
        draw.circle(picture, (left + 8 + 180 * number, 10), 4, who)
        draw.text(picture, (left + 18 + 180 * number, 14), name, "start")
    return picture


def _ticks(highest: float) -> list[float]:
    """Return five values at most, from 0 to a round number that is not below the highest."""
    highest = max(highest, 1e-6)
    magnitude = 10.0 ** np.floor(np.log10(highest))
    step = next(size * magnitude for size in (0.25, 0.5, 1, 2.5) if size * magnitude * 4 >= highest * (1 - 1e-9))
    return [float(round(step * number, 10)) for number in range(int(np.ceil(highest / step - 1e-9)) + 1)]


def _matrix(
    numbers: NDArray[np.int64],
    shades: NDArray[np.float64],
    colours: Sequence[str],
    labels: Sequence[str] | Mapping[int, str],
    *,
    description: str,
    number: str,
) -> Element:
    """Draw a matrix with a row for each true and a column for each predicted label.

    :param shades: from 0 to 1 for the last of the colours, from -1 for the first.
    :param number: format of a cell's number.
    """
    by_number = labels if isinstance(labels, Mapping) else dict(enumerate(labels, start=1))
    names, named = list(by_number.values()), len(labels) <= MOST_NAMED_LABELS
    cell = max(30, min(56, 240 // len(labels))) if named else max(7, 360 // len(labels))
    margin, side = (104 if named else 40), cell * len(labels)
    room = 64 if named else 8  # for the last name, which leans to the right
    picture = draw.picture(margin + side + room, margin + side + 8, description)
    for row, column in np.argwhere(numbers):
        value, shade = int(numbers[row, column]), float(shades[row, column])
        x, y = margin + column * cell, margin + row * cell
        box = draw.rectangle(picture, x, y, cell, cell, f"{colours[-1] if shade > 0 else colours[0]} bar")
        box.set("opacity", f"{0.06 + 0.94 * abs(shade):.3f}")
        draw.hover(box, f"true {names[row]}, predicted {names[column]}: {number.format(value)}")
        if named:
            kind = "middle on-dark" if abs(shade) > 0.55 else "middle"
            draw.text(picture, (x + cell / 2, y + cell / 2 + 4), number.format(value), kind)
    draw.rectangle(picture, margin, margin, side, side, "frame")
    for place, name in _axis_names(by_number, named=named):
        middle = margin + (place + 0.5) * cell
        draw.text(picture, (margin - 6, middle + 4), name, "end")
        top = draw.text(picture, (middle, margin - 6), name, "start" if named else "middle")
        if named:
            top.set("transform", f"rotate(-45 {middle:g} {margin - 6})")
    draw.text(picture, (margin - 6, margin - 22), "predicted →" if named else "no. →", "end muted")
    draw.text(picture, (margin - 6, margin - 6), "true ↓" if named else "no. ↓", "end muted")
    return picture


def _axis_names(labels: Mapping[int, str], *, named: bool) -> Iterator[tuple[int, str]]:
    for place, (number, label) in enumerate(labels.items()):
        if named:
            yield place, draw.shortened(label, 13)
        elif place % 5 == 4:
            yield place, str(number)


def _interval_marks(row: Difference, extent: float, height: float) -> Iterator[Element]:
    """Yield the marks in percent of the width, so that the picture takes any."""

    def x(value: float) -> str:
        return f"{(value / extent + 1) * 46 + 4:.2f}%"

    middle = f"{height / 2:g}"
    yield Element("line", {"x1": "50%", "x2": "50%", "y1": "0", "y2": f"{height:g}", "class": "axis"})
    yield Element(
        "line", {"x1": x(row.low), "x2": x(row.high), "y1": middle, "y2": middle, "class": f"interval {row.verdict}"}
    )
    yield Element("circle", {"cx": x(row.difference), "cy": middle, "r": "5", "class": row.verdict})
