"""The application that a plugin mounts into Airflow's API server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from model_releases.config import ModelConfig
from model_releases.releases_page.airflow_runs import AirflowRuns
from model_releases.releases_page.desk import ReleaseDesk
from model_releases.releases_page.reading import Reader
from model_releases.releases_page.routes import router
from model_releases.releases_page.web import add_error_pages, add_headers


def make_app(
    models: Callable[[], Sequence[ModelConfig]],
    *,
    desk: ReleaseDesk | None = None,
) -> FastAPI:
    """Return the application.

    :param models: gives the models of the page; asked at every request.
    :param desk: what reads; by default from the models' own connections and Airflow's database.
    """
    # No schema and no page about it: FastAPI would show them to everybody.
    app = FastAPI(title="Releases", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.models = models
    app.state.desk = desk or ReleaseDesk(reader=Reader(), runs=AirflowRuns())
    app.include_router(router)
    add_headers(app)
    add_error_pages(app)
    return app
