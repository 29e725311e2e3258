"""One request: who asks, what that person may see, and what is there to be seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from model_releases.config import ModelConfig
from model_releases.ids import WATCH_DAG
from model_releases.registry.service import Release
from model_releases.releases_page.desk import Overview, ReleaseDesk
from model_releases.releases_page.history import PipelineRelease
from model_releases.releases_page.permissions import Permissions
from model_releases.releases_page.rendering import render
from model_releases.releases_page.web import PageLinks


class Visit:
    """A request of somebody who is signed in to Airflow.

    :param request: the request.
    :param user: as Airflow's auth manager knows it; without one there is no visit (HTTP 401).
    """

    def __init__(self, request: Request, user: GetUserDep) -> None:
        self.user = user
        self.links = PageLinks.of(request)
        self.desk: ReleaseDesk = request.app.state.desk
        self._models: Sequence[ModelConfig] = request.app.state.models()
        self._permissions = Permissions(user)

    def can_roll_back(self, model: ModelConfig) -> bool:
        """Return whether the user may start the DAG that puts releases of a model back."""
        return self._permissions.can_trigger(model.roll_back_dag_id)

    def models(self) -> list[ModelConfig]:
        """Return the models whose release DAG the user may read."""
        return [model for model in self._models if self._permissions.can_read(model.release_dag_id)]

    def model(self, name: str) -> ModelConfig:
        """Return a model by its name.

        :raises HTTPException: 404, also for one that the user may not see: that it exists is then no news for them.
        """
        for model in self._models:
            if model.name == name and self._permissions.can_read(model.release_dag_id):
                return model
        raise HTTPException(404, "There is no such model here, or you may not read its release DAG.")

    def overviews(self, models: Sequence[ModelConfig]) -> list[Overview]:
        """Return how models are, with the runs that the user may see."""
        dag_ids = [dag_id for model in models for dag_id in (model.release_dag_id, model.roll_back_dag_id)]
        return self.desk.overviews(models, dag_ids=list(filter(self._permissions.can_read, dag_ids)))

    def made_by_pipelines(self) -> list[PipelineRelease]:
        """Return the releases of models without a DAG here, for those who may see the DAG that is for all models."""
        may_see = self._permissions.can_read(WATCH_DAG)
        return self.desk.made_by_pipelines(self._models) if may_see else []

    def release(self, model: ModelConfig, version: str) -> Release:
        """Return the record of a version.

        :raises HTTPException: 404 where there is none, 503 where the registry does not say.
        """
        check_version(version)
        reading = self.desk.release(model, version)
        if reading.value is not None:
            release: Release = reading.value
            return release
        if reading.is_known:
            raise HTTPException(404, f"{model.name} {version} is not in the registry.")
        raise HTTPException(503, f"The registry could not be read: {reading.problem}. Try again in a moment.")

    def html(self, template: str, **values: Any) -> HTMLResponse:
        """Return a page."""
        return HTMLResponse(render(template, links=self.links, **values))

    def html_of(self, overview: Overview, template: str, **values: Any) -> HTMLResponse:
        """Return a page about one model, with what the user may do to it."""
        may = {"can_roll_back": self.can_roll_back(overview.model), "is_paused": self.desk.is_paused(overview.model)}
        return self.html(template, overview=overview, **may, **values)


def check_version(version: str) -> None:
    """Refuse what is no version before it becomes a part of a path or a query.

    :raises HTTPException: 404.
    """
    if not re.fullmatch(r"[0-9]{14}", version):
        raise HTTPException(404, "A version has 14 digits, such as 20261121030000.")


VisitDep = Annotated[Visit, Depends(Visit)]
