"""One request: who asks, what that person may see, and what is there to be seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
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

#: Each asks registry and serving system: a page of all models would take the longer the more there are.
MODELS_ON_A_PAGE = 24


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
        dag_ids = [dag_id for model in self._models for dag_id in (model.release_dag_id, model.roll_back_dag_id)]
        self._permissions = Permissions(user, [*dag_ids, WATCH_DAG])

    def can_roll_back(self, model: ModelConfig) -> bool:
        """Return whether the user may start the DAG that puts releases of a model back."""
        return self._permissions.can_trigger(model.roll_back_dag_id)

    def models(self, *, after: str = "", words: str = "") -> tuple[list[ModelConfig], bool]:
        """Return a page of the models whose release DAG the user may read, by name, and whether more come after it.

        :param after: only models whose names come after this one.
        :param words: only models that have this in their name or description.
        """
        wanted = words.strip().lower()
        meant = sorted(
            (
                each
                for each in self._models
                if each.name > after and wanted in f"{each.name} {each.description}".lower()
            ),
            key=lambda model: model.name,
        )
        # One more is asked about than is shown, and none beyond: an auth manager may ask a server about each.
        readable = (model for model in meant if self._permissions.can_read(model.release_dag_id))
        found = list(islice(readable, MODELS_ON_A_PAGE + 1))
        return found[:MODELS_ON_A_PAGE], len(found) > MODELS_ON_A_PAGE

    def model(self, name: str) -> ModelConfig:
        """Return a model by its name.

        :raises HTTPException: 404, also for one that the user may not see: that it exists is then no news for them.
        """
        for model in self._models:
            if model.name == name and self._permissions.can_read(model.release_dag_id):
                return model
        raise HTTPException(404, "There is no such model here, or you may not read its release DAG.")

    def overviews(self, models: Sequence[ModelConfig], *, is_brief: bool = False) -> list[Overview]:
        """Return how models are, with the runs that the user may see.

        :param is_brief: without what only a model's own page shows.
        """
        dag_ids = [dag_id for model in models for dag_id in (model.release_dag_id, model.roll_back_dag_id)]
        return self.desk.overviews(models, dag_ids=list(filter(self._permissions.can_read, dag_ids)), is_brief=is_brief)

    @property
    def sees_pipelines(self) -> bool:
        """Whether the user may see releases of models without a DAG here, as the DAG that is for all models."""
        return self._permissions.can_read(WATCH_DAG)

    def made_by_pipelines(self) -> list[PipelineRelease]:
        """Return the releases of models without a DAG here.

        :raises HTTPException: 404 for those who may not see them.
        """
        if not self.sees_pipelines:
            raise HTTPException(404, f"They are for those who may read the DAG {WATCH_DAG}.")
        return self.desk.made_by_pipelines(self._models)

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
