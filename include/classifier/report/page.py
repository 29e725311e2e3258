"""The evaluation as one HTML page for people: pictures, tables and facts, without a script and without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from include.classifier.data.sources import as_uri
from include.classifier.evaluation.scoring import Evaluation
from include.classifier.metrics import confusion_matrix, most_mistaken
from include.classifier.report import drawing, tables
from include.classifier.report import pictures as figures
from include.contracts.version.files import write_file

if TYPE_CHECKING:
    from jinja2 import Template

#: Where the page lies below a release's folder in the model store.
REPORT = "report/report.html"

#: Curves of the training -> how the report calls and colours them.
CURVES = {
    "loss": ("loss on training rows", "candidate"),
    "validation_log_loss": ("log loss on held-out rows", "live"),
}

#: Of more labels than this, those that are most often mistaken are drawn and listed; ``candidate.json`` has all.
MOST_SHOWN_LABELS = 60

#: The two models that are drawn.
_DRAWN = ("candidate", "live")

_ComparedRow: TypeAlias = tables.MetricRow | tables.ClassRow | tables.SliceRow


class Report(NamedTuple):
    """The page, and its pictures as files of their own.

    :param pictures: file name -> SVG.
    """

    page: str
    pictures: dict[str, bytes]


def make_report(
    found: Evaluation, document: Mapping[str, Any], *, curves: Mapping[str, Sequence[drawing.Point]] | None = None
) -> Report:
    """Draw and write up an evaluation.

    :param document: ``candidate.json`` as it is going to be written.
    :param curves: name (a key of :data:`CURVES`) -> points of training step and value.
    """
    from markupsafe import Markup

    def inline(picture: Element) -> Markup:
        return Markup(drawing.as_text(picture))  # noqa: S704  its names and numbers are escaped by ElementTree

    metrics, comparison, labels = found.metrics, found.comparison, document["labels"]
    shown = most_mistaken(found.confusion, MOST_SHOWN_LABELS)
    compared: dict[str, Sequence[_ComparedRow]] = {
        "metrics": tables.metric_rows(metrics, comparison),
        "slices": tables.slice_rows(metrics, comparison),
        "classes": [row for row in tables.class_rows(metrics, comparison) if row.number - 1 in shown],
    }
    intervals = {name: _intervals(rows) for name, rows in compared.items()}
    confusions, bins = _confusions(found), _calibration(found)
    drawn = {who: matrix[np.ix_(shown, shown)] for who, matrix in confusions.items()}
    numbered = {each + 1: labels[each] for each in shown}
    pictures = dict(_draw(numbered, drawn, bins, [each for group in intervals.values() for each in group], curves))
    page = _template().render(
        document=document,
        live=metrics["live"],
        comparison=comparison,
        worst=document.get("worst_slice"),
        shadow=document.get("shadow"),
        **compared,
        scales={name: figures.scale(group) for name, group in intervals.items()},
        calibration=bins,
        mistakes=tables.mistakes(confusions["candidate"], confusions.get("live"), labels),
        served=list(tables.served_rows(document)),
        training=list(tables.training_facts(document["training"])),
        facts=list(tables.facts(document)),
        pictures={name: inline(picture) for name, picture in pictures.items()},
        interval=lambda change, extent: inline(figures.interval(change, extent)),
        signed=tables.signed,
        numbered=len(labels) > figures.MOST_NAMED_LABELS,
        shown=len(shown),
        style=Markup(drawing.STYLE),  # noqa: S704  our own file
    )
    return Report(page, {f"{name}.svg": drawing.as_file(picture) for name, picture in pictures.items()})


def write_report(page: str, output_uri: str) -> str:
    """Write the page into the model store and return its URI.

    :param output_uri: folder of the release.
    """
    import fsspec

    uri = f"{as_uri(output_uri)}/{REPORT}"
    filesystem, path = fsspec.core.url_to_fs(uri)
    write_file(filesystem, path, page.encode("utf-8"))
    return uri


def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _draw(
    labels: Mapping[int, str],
    confusions: Mapping[str, NDArray[np.int64]],
    bins: Mapping[str, Sequence[tables.CalibrationBin]],
    differences: Sequence[tables.Difference],
    curves: Mapping[str, Sequence[drawing.Point]] | None,
) -> Iterator[tuple[str, Element]]:
    candidate, live = confusions["candidate"], confusions.get("live")
    yield "confusion_matrix", figures.confusion(candidate, labels, description="Confusion matrix of the candidate")
    if live is not None:
        description = "Confusion matrix of the candidate minus that of the live model"
        yield "confusion_difference", figures.confusion_difference(candidate, live, labels, description=description)
    for who, each in bins.items():
        description = f"Reliability diagram: {who}"
        yield f"reliability_{who}", figures.reliability(each, who=who, description=description)
    if differences:
        description = "Differences to the live model with their intervals"
        yield "differences", figures.differences(differences, description=description)
    if drawn := [(*CURVES[name], points) for name, points in (curves or {}).items() if points]:
        yield "learning_curve", figures.learning_curve(drawn, description="Losses by training step")


def _confusions(found: Evaluation) -> dict[str, NDArray[np.int64]]:
    return {
        who: confusion_matrix(found.truth, found.probabilities[who].argmax(axis=1), len(found.confusion))
        for who in _DRAWN
        if who in found.probabilities
    }


def _calibration(found: Evaluation) -> dict[str, list[tables.CalibrationBin]]:
    return {
        who: tables.calibration_bins(found.truth, found.probabilities[who])
        for who in _DRAWN
        if who in found.probabilities
    }


def _intervals(rows: Iterable[_ComparedRow]) -> list[tables.Difference]:
    return [row.change for row in rows if isinstance(row.change, tables.Difference)]
