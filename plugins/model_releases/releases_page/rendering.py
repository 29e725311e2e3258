"""Templates: escaped throughout, and strict about names, so that a typing error is no empty cell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from include.contracts.registry_tags import ReleaseState
from model_releases.cards.release_card import curl_line
from model_releases.releases_page.comparison import metric_table
from model_releases.releases_page.history import main_metric, shown_state, time_of

#: Stands where a number is missing.
NONE = "\N{EN DASH}"
_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))


@cache
def environment() -> Environment:
    """Return the environment of the page's templates."""
    found = Environment(
        loader=PackageLoader("model_releases.releases_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "moment": moment,
        "ago": ago,
        "score": score,
        "signed": signed,
        "as_time": time_of,
        "shown": shown_state,
        "curl": curl_line,
        "main_metric": main_metric,
        "metrics": metric_table,
        "segment": lambda text: quote(str(text), safe=""),
        "query": lambda values: urlencode({name: value for name, value in values.items() if value}),
    }
    found.globals["live_mark"] = shown_state(ReleaseState.LIVE)
    return found


def render(template: str, **values: Any) -> str:
    """Return a page."""
    return environment().get_template(template).render(**values)


def moment(time: datetime | None) -> Markup:
    """Return a time for people and machines."""
    if time is None:
        return Markup("")
    utc = time.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M UTC")
    )


def ago(time: datetime, *, now: datetime | None = None) -> str:
    """Say in its largest unit how long ago something was."""
    passed = (now or datetime.now(UTC)) - time
    for name, unit in _UNITS:
        if passed >= unit:
            count = passed // unit
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def score(value: float | None) -> str:
    """Write a metric, a dash where there is none."""
    return NONE if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """Write a difference of metrics with its sign, a dash where there is none."""
    return NONE if value is None else f"{value:+.4f}"
