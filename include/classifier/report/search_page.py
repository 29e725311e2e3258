"""What a search for better settings has found, as a picture and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from include.classifier.report import drawing as draw
from include.classifier.report.tables import signed

_LEFT, _TOP, _WIDTH, _HEIGHT = 58.0, 14.0, 560.0, 220.0

_TITLES = {"macro_f1": "macro F1", "log_loss": "log loss"}


def trial_picture(document: Mapping[str, Any]) -> Element:
    """Draw the value of each trial, the best so far as a line, and that of the present settings as a dashed one.

    :param document: ``search.json``.
    """
    trials = [trial for trial in document["trials"] if trial["value"] is not None]
    title = _TITLES[document["objective"]]
    picture = draw.picture(
        _LEFT + _WIDTH + 20, _TOP + _HEIGHT + 48, f"{title} of {len(trials)} trials of a search for {document['model']}"
    )
    values = [trial["value"] for trial in trials if trial["state"] == "finished"]
    low, high = _range(values)
    last = max(1, max(trial["number"] for trial in document["trials"]))

    def place(number: float, value: float) -> draw.Point:
        inside = min(max(value, low), high)
        return _LEFT + number / last * _WIDTH, _TOP + (1 - (inside - low) / (high - low)) * _HEIGHT

    for step in range(5):
        value = low + (high - low) * step / 4
        draw.line(picture, place(0, value), place(last, value), "grid" if step else "axis")
        draw.text(picture, (_LEFT - 6, place(0, value)[1] + 4), f"{value:.3g}", "end muted")
    for number in sorted({0, last // 2, last}):
        draw.text(picture, (place(number, low)[0], _TOP + _HEIGHT + 18), str(number), "middle muted")
    below = (_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 36)
    draw.text(picture, below, f"trial; {title} on the rows held out of the training data", "middle muted")
    _draw_present(picture, trials, place, last)
    line = " ".join("{:.1f},{:.1f}".format(*place(number, value)) for number, value in _best_so_far(document))
    SubElement(picture, "polyline", {"points": line, "class": "candidate curve", "style": "fill: none"})
    for trial in trials:
        kind = _kind(trial, document["best"])
        mark = draw.circle(picture, place(trial["number"], trial["value"]), 5 if kind != "unclear" else 3, kind)
        draw.hover(mark, f"trial {trial['number']}, {trial['state']}: {trial['value']:.4f}")
    return picture


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the bounds of the picture: those of the finished trials; what was pruned may lie far below."""
    margin = (max(values) - min(values)) * 0.1 or 0.01
    return min(values) - margin, max(values) + margin


def _draw_present(picture: Element, trials: Sequence[Mapping[str, Any]], place: Any, last: int) -> None:
    for trial in trials:
        if trial["number"] == 0 and trial["state"] == "finished":
            draw.line(picture, place(0, trial["value"]), place(last, trial["value"]), "ideal")


def _best_so_far(document: Mapping[str, Any]) -> list[tuple[int, float]]:
    choose = max if document["objective"] == "macro_f1" else min
    points: list[tuple[int, float]] = []
    for trial in document["trials"]:
        if trial["state"] == "finished":
            before = [points[-1][1]] if points else []
            points.append((trial["number"], choose([*before, trial["value"]])))
    return points


def _kind(trial: Mapping[str, Any], best: int) -> str:
    if trial["number"] == best:
        return "better"
    if trial["number"] == 0:
        return "live"
    return "candidate" if trial["state"] == "finished" else "unclear"


def make_page(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the page, and its picture as a file of its own.

    :param document: ``search.json``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    picture = trial_picture(document)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    best = next(trial for trial in document["trials"] if trial["number"] == document["best"])
    page = environment.get_template("search.html").render(
        document=document,
        best=best,
        names=list(document["space"]),
        title=_TITLES[document["objective"]],
        signed=signed,
        picture=Markup(draw.as_text(picture)),  # noqa: S704  escaped by ElementTree
        style=Markup(draw.STYLE),  # noqa: S704  our own file
    )
    return page, draw.as_file(picture).decode()
