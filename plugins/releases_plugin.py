"""Puts the Releases page into Airflow's UI."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_releases.config import ModelConfig

#: How long a change of a model's YAML may take to be seen.
_MODELS_SECONDS = 10.0


class ReleasesApp:
    """The application, made at its first request.

    Every process of Airflow imports every plugin, each task's too; only the API server ever needs the page.
    """

    def __init__(self) -> None:
        self._models: Sequence[ModelConfig] = ()
        self._models_read_at = float("-inf")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI)."""
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> Any:
        from model_releases.releases_page.app import make_app

        return make_app(self.models)

    def models(self) -> Sequence[ModelConfig]:
        """Return the models of ``include/models``; one whose YAML is wrong is left out."""
        if time.monotonic() - self._models_read_at > _MODELS_SECONDS:
            from model_releases.config import read_model_configs

            self._models = read_model_configs(leave_out_wrong=True)
            self._models_read_at = time.monotonic()
        return self._models


def _href(path: str = "") -> str:
    """Return an address of the page below the path that Airflow is served under."""
    return f"{urlsplit(conf.get('api', 'base_url', fallback='') or '').path.rstrip('/')}/releases/{path}"


class ReleasesPlugin(AirflowPlugin):
    """The page, and its entry in the navigation."""

    name = "releases"
    fastapi_apps = [{"name": "Releases", "app": ReleasesApp(), "url_prefix": "/releases"}]
    external_views = [
        {
            "name": "Releases",
            "href": _href(),
            "destination": "nav",
            "url_route": "releases",
            "nav_top_level": True,
            "icon": _href("static/icon.svg"),
            "icon_dark_mode": _href("static/icon-dark.svg"),
        }
    ]
