"""Puts the Releases page into Airflow's UI. The only place that knows both the page and the models of this project."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from model_releases import ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_releases.releases_page.settings import PageModel

#: How long a change of a model's YAML may take to be seen.
_MODELS_SECONDS = 10.0


class ReleasesApp:
    """The application, made at its first request.

    Every process of Airflow imports every plugin, each task's too; only the API server ever needs the page.
    """

    def __init__(self) -> None:
        self._models: Sequence[PageModel] = ()
        self._models_read_at = float("-inf")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI)."""
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> Any:
        from model_releases.releases_page.app import make_app

        return make_app(self.models)

    def models(self) -> Sequence[PageModel]:
        """Return the models of ``include/models``; one whose YAML is wrong is left out."""
        if time.monotonic() - self._models_read_at > _MODELS_SECONDS:
            self._models = self._read_models()
            self._models_read_at = time.monotonic()
        return self._models

    @staticmethod
    def _read_models() -> list[PageModel]:
        from include.models.model_config import read_model_configs
        from model_releases.releases_page.settings import PageModel

        return [
            PageModel(
                name=config.name,
                description=config.description,
                release_dag_id=ids.release_dag(config.name),
                store_uri=config.store_uri,
                serving_conn_id=config.connection("serving"),
                registry_conn_id=config.connection("registry"),
                store_conn_id=config.store_conn_id,
            )
            for config in read_model_configs(leave_out_wrong=True)
        ]


def _href() -> str:
    """Return the page's address below the path that Airflow is served under."""
    return f"{urlsplit(conf.get('api', 'base_url', fallback='') or '').path.rstrip('/')}/releases/"


class ReleasesPlugin(AirflowPlugin):
    """The page, and its entry in the navigation."""

    name = "releases"
    fastapi_apps = [{"name": "Releases", "app": ReleasesApp(), "url_prefix": "/releases"}]
    external_views = [
        {"name": "Releases", "href": _href(), "destination": "nav", "url_route": "releases", "nav_top_level": True}
    ]
