"""Puts together what the page shows, from the registry, the serving system and Airflow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from include.contracts.registry_tags import PIPELINE_RUN_FACT, ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service, get_serving_service
from kubeflow_provider.services import PipelineService, ServingService
from model_releases.config import ModelConfig
from model_releases.registry import get_registry_service
from model_releases.registry.service import RegistryService, Release
from model_releases.releases_page.airflow_runs import AirflowRun, AirflowRuns
from model_releases.releases_page.history import (
    HistoryPage,
    HistoryRow,
    PipelineRelease,
    main_metric,
    merged,
    registered_row,
    run_of,
    shown_state,
    unregistered_row,
)
from model_releases.releases_page.reading import Reader, Reading
from model_releases.releases_page.sparkline import Sparkline, draw

#: Releases on one page of the history.
PAGE_SIZE = 25
#: Releases in the picture of the main metric: on a model's page, and on the page of all models.
_PICTURE_SIZE, _SMALL_PICTURE_SIZE = 50, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A model at this moment. What could not be read says so itself.

    :param live: the record of the version that the registry holds to be live.
    :param traffic: version -> percent, the live version first.
    :param recent: the newest records.
    :param runs: of the release DAG and of the one that puts releases back, which are under way.
    :param has_pool: whether the pool is there that the tasks of its DAGs take slots of.
    """

    model: ModelConfig
    live: Reading
    traffic: Reading
    recent: Reading
    endpoint: Reading = field(default_factory=Reading)
    runs: Sequence[AirflowRun] = field(default_factory=tuple)
    has_pool: bool = True

    @property
    def live_version(self) -> str | None:
        """The version that users reach; where the serving system does not say, what the registry holds."""
        if self.traffic.is_known:
            return next(iter(self.traffic.value), None)
        return self.live.value.version if self.live.value else None

    @property
    def is_split(self) -> bool:
        """True while a rollout goes on in steps."""
        return len(self.traffic.value or ()) > 1

    @property
    def releasing(self) -> AirflowRun | None:
        """The release that is under way."""
        return next((run for run in self.runs if run.dag_id == self.model.release_dag_id), None)

    @property
    def disagreement(self) -> tuple[str | None, str | None] | None:
        """What the registry and the serving system hold to be live, where they differ."""
        if not (self.live.is_known and self.traffic.is_known):
            return None
        recorded, served = self.live.value.version if self.live.value else None, self.live_version
        return None if recorded == served else (recorded, served)

    @property
    def is_new(self) -> bool:
        """True for a model that was never released, as far as the registry says, and is not being released."""
        return self.recent.is_known and not (self.recent.value or self.live_version or self.runs)

    @property
    def problems(self) -> list[tuple[str, Reading]]:
        """What could not be read, with the reason."""
        parts = {"registry": [self.live, self.recent], "serving system": [self.traffic, self.endpoint]}
        return [
            (name, next(reading for reading in readings if reading.problem))
            for name, readings in parts.items()
            if any(reading.problem for reading in readings)
        ]

    @property
    def picture(self) -> Sparkline | None:
        """The main metric over the newest releases that were evaluated."""
        values = [
            (release.version, shown_state(release.state).kind, value)
            for release in reversed(self.recent.value or ())
            if (value := main_metric(release)) is not None
        ]
        return draw(values, metric=self.model.main_metric)


class ReleaseDesk:
    """Reads what the page shows.

    :param reader: asks in bounded time.
    :param runs: Airflow's part.
    :param get_registry: connection id -> registry.
    :param get_serving: connection id -> serving system.
    :param get_pipelines: connection id -> pipeline service.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        runs: AirflowRuns,
        get_registry: Callable[[str], RegistryService] | None = None,
        get_serving: Callable[[str], ServingService] | None = None,
        get_pipelines: Callable[[str], PipelineService] | None = None,
    ) -> None:
        self._reader = reader
        self._runs = runs
        self._get_registry = get_registry or get_registry_service
        self._get_serving = get_serving or get_serving_service
        self._get_pipelines = get_pipelines or get_pipeline_service

    def overviews(
        self, models: Sequence[ModelConfig], *, dag_ids: Collection[str], is_brief: bool = False
    ) -> list[Overview]:
        """Return how the models are, all asked side by side.

        :param dag_ids: DAGs whose runs the user may see.
        :param is_brief: with fewer of the newest releases, and without the address.
        """
        answers = self._reader.read_all(
            {(model.name, *part): ask for model in models for part, ask in self._questions(model, is_brief).items()}
        )
        active = self._runs.active(dag_ids)
        missing = self._runs.missing_pools({model.tasks.pool for model in models if model.tasks.pool})
        return [
            Overview(
                model=model,
                **{part[0]: answers[model.name, *part] for part in self._questions(model, is_brief)},
                runs=[run for run in active if run.dag_id in (model.release_dag_id, model.roll_back_dag_id)],
                has_pool=model.tasks.pool not in missing,
            )
            for model in models
        ]

    def history(
        self, overview: Overview, *, state: ReleaseState | None, before: str | None
    ) -> tuple[HistoryPage, Reading]:
        """Return one page of a model's history, with how the registry answered.

        :param state: only releases in this state.
        :param before: only releases that were registered before this version.
        """
        model = overview.model
        reading = overview.recent
        if state or before:
            ask = partial(self._list, model, limit=PAGE_SIZE + 1, state=state, before=before)
            reading = self._reader.read((model.name, "history", state, before), ask)
        if not reading.is_known:
            return HistoryPage(), reading
        found: Sequence[Release] = reading.value[: PAGE_SIZE + 1]
        page, has_more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
        known = self._known_runs(page)
        rows = [self._row(release, overview, known) for release in page]
        oldest = page[-1].version if has_more else None
        if state in (None, ReleaseState.FAILED):
            failed = self._runs.failed(model.release_dag_id, after=oldest, before=before)
            rows = merged(rows, self._unregistered(model, failed, page))
        return HistoryPage(rows=rows, older=oldest), reading

    def made_by_pipelines(self, models: Sequence[ModelConfig]) -> list[PipelineRelease]:
        """Return the releases that pipelines made without Airflow of other models than these, the newest first.

        They stand in the registries of these models, or in the usual one; one that does not answer is left out.
        """
        registries = {model.connection("registry") for model in models} or {"registry_default"}
        questions: dict[Hashable, Callable[[], Any]] = {
            (conn_id, "made by pipelines"): partial(self._made_by_pipelines, conn_id) for conn_id in registries
        }
        found = [release for reading in self._reader.read_all(questions).values() for release in reading.value or ()]
        found.sort(key=lambda release: release.version, reverse=True)
        known = {model.name for model in models}
        return [
            PipelineRelease(
                model=release.model,
                sha256=release.facts.get("archive_sha256", ""),
                row=registered_row(
                    release, None, live_version=None, pipeline_url=self._run_page("pipelines_default", release)
                ),
            )
            for release in found
            if release.model not in known
        ]

    def release(self, model: ModelConfig, version: str) -> Reading:
        """Return the record of one version."""
        return self._reader.read(
            (model.name, "release", version),
            lambda: self._get_registry(model.connection("registry")).get_release(model.name, version),
        )

    def row(self, overview: Overview, release: Release) -> HistoryRow:
        """Return the row of one release."""
        return self._row(release, overview, self._known_runs([release]))

    def is_paused(self, model: ModelConfig) -> bool | None:
        """Tell whether a run that puts a release back would wait; ``None`` when Airflow does not know its DAG."""
        return self._runs.is_paused(model.roll_back_dag_id)

    def start_roll_back(self, model: ModelConfig, version: str, reason: str, user: Any) -> str:
        """Start the DAG that puts a version back, in the user's name, and return the run's id."""
        run_id = self._runs.trigger(
            model.roll_back_dag_id, conf={"model": model.name, "version": version, "reason": reason}, user=user
        )
        self._reader.forget()
        return run_id

    def _questions(self, model: ModelConfig, is_brief: bool) -> Mapping[tuple[str, int], Callable[[], Any]]:
        """Return what an overview asks: the name of its field, with how many are wanted, and what asks."""
        name, newest = model.name, _SMALL_PICTURE_SIZE if is_brief else _PICTURE_SIZE

        def registry() -> RegistryService:
            return self._get_registry(model.connection("registry"))

        def serving() -> ServingService:
            return self._get_serving(model.connection("serving"))

        questions: dict[tuple[str, int], Callable[[], Any]] = {
            ("live", 1): lambda: registry().get_live(name),
            ("recent", newest): lambda: self._list(model, limit=newest),
            ("traffic", 1): lambda: serving().get_traffic(name),
        }
        return questions if is_brief else {**questions, ("endpoint", 1): lambda: serving().endpoint_url(name)}

    def _list(self, model: ModelConfig, **condition: Any) -> Sequence[Release]:
        return self._get_registry(model.connection("registry")).list_releases(model.name, **condition)

    def _made_by_pipelines(self, conn_id: str) -> Sequence[Release]:
        return self._get_registry(conn_id).list_made_by_pipelines()

    def _run_page(self, conn_id: str, release: Release) -> str | None:
        """Return the page of the pipeline run that made a release, where Kubeflow's address is known here.

        :param conn_id: connection that leads to where the pipeline ran.
        """
        if not (run_id := release.facts.get(PIPELINE_RUN_FACT)):
            return None
        pages = self._reader.read((conn_id, "pages of runs"), lambda: self._get_pipelines(conn_id).run_url)
        try:
            return pages.value(run_id) if pages.is_known else None
        except InvalidRequestError:  # the connection's fields
            return None

    def _known_runs(self, releases: Sequence[Release]) -> dict[tuple[str, str], AirflowRun]:
        wanted: dict[str, set[str]] = {}
        for release in releases:
            if run := run_of(release.facts):
                wanted.setdefault(run[0], set()).add(run[1])
        return {
            (dag_id, run_id): run
            for dag_id, run_ids in wanted.items()
            for run_id, run in self._runs.known(dag_id, run_ids).items()
        }

    def _row(self, release: Release, overview: Overview, known: Mapping[tuple[str, str], AirflowRun]) -> HistoryRow:
        run = run_of(release.facts)
        return registered_row(
            release,
            known.get(run) if run else None,
            live_version=overview.live_version,
            # What Airflow has started leaves the address itself.
            pipeline_url=None if run else self._run_page(overview.model.connection("pipelines"), release),
        )

    def _unregistered(
        self, model: ModelConfig, failed: Sequence[AirflowRun], page: Sequence[Release]
    ) -> list[HistoryRow]:
        """Return the rows of failed runs that the registry has not heard of."""
        known = {release.version for release in page}
        return [unregistered_row(run) for run in failed if run.version not in known]
