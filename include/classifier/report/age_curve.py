"""What an older model loses on newer data, as a picture and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from include.classifier.report import drawing as draw
from include.classifier.report.tables import signed

_LEFT, _TOP, _WIDTH, _HEIGHT = 52.0, 14.0, 560.0, 220.0


def age_curve(points: Sequence[Mapping[str, Any]], *, description: str) -> Element:
    """Draw macro F1 by age, each with its interval; what is shown to be worse than the newest has its own colour.

    :param points: of ``staleness.json``, the newest version first.
    """
    picture = draw.picture(_LEFT + _WIDTH + 20, _TOP + _HEIGHT + 48, description)
    oldest = max(point["age_days"] for point in points) or 1
    lowest = min(point["macro_f1_interval"]["low"] for point in points)
    floor = int(lowest * 10) / 10
    floor = min(floor, 0.9)

    def place(age: float, value: float) -> draw.Point:
        return _LEFT + age / oldest * _WIDTH, _TOP + (1 - (value - floor) / (1 - floor)) * _HEIGHT

    for step in range(5):
        value = floor + (1 - floor) * step / 4
        draw.line(picture, place(0, value), place(oldest, value), "grid" if step else "axis")
        draw.text(picture, (_LEFT - 6, place(0, value)[1] + 4), f"{value:.3g}", "end muted")
    for share in (0.0, 0.5, 1.0):
        middle = (place(oldest * share, floor)[0], _TOP + _HEIGHT + 18)
        draw.text(picture, middle, f"{oldest * share:.3g}", "middle muted")
    below = (_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 36)
    draw.text(picture, below, "days older than the newest version; macro F1 on the same rows", "middle muted")
    line = " ".join("{:.1f},{:.1f}".format(*place(point["age_days"], point["macro_f1"])) for point in points)
    SubElement(picture, "polyline", {"points": line, "class": "unclear curve"})
    for number, point in enumerate(points):
        kind = "worse" if point["is_worse"] else "unclear" if number else "candidate"
        bounds, age = point["macro_f1_interval"], point["age_days"]
        draw.line(picture, place(age, bounds["low"]), place(age, bounds["high"]), f"interval {kind}")
        mark = draw.circle(picture, place(age, point["macro_f1"]), 5, kind)
        draw.hover(mark, f"{point['version']}: {point['macro_f1']:.4f} ({bounds['low']:.4f} to {bounds['high']:.4f})")
    return picture


def make_page(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the page, and its picture as a file of its own.

    :param document: ``staleness.json``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    picture = age_curve(document["points"], description=f"Macro F1 of versions of {document['model']} by age")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("age_curve.html").render(
        document=document,
        signed=signed,
        picture=Markup(draw.as_text(picture)),  # noqa: S704  escaped by ElementTree
        style=Markup(draw.STYLE),  # noqa: S704  our own file
    )
    return page, draw.as_file(picture).decode()
