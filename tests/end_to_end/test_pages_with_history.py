"""The pages with years of releases on PostgreSQL: every query has an index, and none looks at more rows than before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.scale import LIMIT, at_most, make_worlds
from model_releases.releases_page.routes import router
from tests.postgresql import PostgresqlServer

# The first test makes both Airflows, which takes minutes on a busy machine.
pytestmark = [pytest.mark.airflow, pytest.mark.postgresql, pytest.mark.long, pytest.mark.timeout(1800)]

#: More of each model than a page shows of one.
MODELS, FEW, MANY = ("model-000", "model-001", "model-002"), 80, 2000


@pytest.fixture(scope="module")
def figures(postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """Return what each page costs with few releases, and with many."""
    histories = {name: dict.fromkeys(MODELS, count) for name, count in (("few", FEW), ("many", MANY))}
    yield [world.pages(0) for world in make_worlds(postgresql, tmp_path_factory.mktemp("history"), histories)]


def test_every_page_is_asked_for(figures: list[dict[str, Any]]) -> None:
    routes = [route for route in router.routes if "GET" in route.methods and "static" not in route.path]  # type: ignore[attr-defined]
    assert len(routes) >= 9
    for found in figures:
        assert len([path for path in found if "?" not in path and path.startswith("/")]) == len(routes)
        assert all(found[path]["queries"] for path in ("/", "/models/model-000", "watch", "tasks"))


def test_no_query_reads_a_table_that_grows_from_end_to_end(figures: list[dict[str, Any]]) -> None:
    assert [line for found in figures for each in found.values() for line in each["whole"]] == []


def test_what_people_open_daily_looks_at_no_more_rows_than_before(figures: list[dict[str, Any]]) -> None:
    few, many = figures
    daily = [thing for thing in few if at_most(thing)]
    assert {"/", "/models/model-000", "/models/model-000/compare"} <= {*daily}
    grown = {
        thing: (few[thing]["visited"], many[thing]["visited"], many[thing]["plans"])
        for thing in daily
        if many[thing]["visited"] > LIMIT * few[thing]["visited"] + 10
    }
    assert grown == {}
