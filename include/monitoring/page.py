"""The drift report as one HTML page for people: pictures and tables, without a script and without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from include.classifier.report import drawing
from include.contracts.monitoring.drift import DriftDocument
from include.contracts.monitoring.drift_settings import DriftConfig
from include.monitoring import pictures
from include.monitoring.comparison import Pairs

if TYPE_CHECKING:
    from markupsafe import Markup

#: Features whose distributions are drawn, the furthest first.
_MOST_DRAWN = 24


def make_page(found: DriftDocument, pairs: Pairs, settings: DriftConfig) -> str:
    """Draw and write up a comparison."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def inline(picture: Element) -> Markup:
        return Markup(drawing.as_text(picture))  # noqa: S704  its names and numbers are escaped by ElementTree

    drawn = {
        each.name: inline(pictures.distributions(*pairs[each.name], description=f"Distribution of {each.name}"))
        for each in found.features[:_MOST_DRAWN]
        if each.name in pairs
    }
    overview = pictures.distances(
        found.features, settings.tolerated_distance, description="Distance of each feature, and what is tolerated"
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        found=found,
        settings=settings,
        overview=inline(overview),
        pictures=drawn,
        style=Markup(drawing.STYLE),  # noqa: S704  our own file
    )
