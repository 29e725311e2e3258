"""Releases in Kubeflow's own Model Registry, over its REST API."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from airflow.sdk import BaseHook, Connection

from include.contracts.model_registry import releases, services
from include.contracts.model_registry.calls import MarkLostError, RegistryRefusalError, Story, T
from include.contracts.model_registry.releases import Entry
from include.contracts.registry_tags import (
    ARCHIVE_TAG,
    METRIC_FACT_PREFIX,
    REASON_TAG,
    ReleaseState,
    facts_of,
    record_tags,
    times_of,
)
from include.contracts.rules.addresses import parsed
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.server_words import without_logins
from model_releases.registry.model_registry_client import SERVICE, ModelRegistryClient
from model_releases.registry.one_at_a_time import one_at_a_time
from model_releases.registry.service import Release
from model_releases.registry.tracking import tracking_address

_NAME = r"([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)"
#: Host of a Kubernetes Service: its name and namespace, each of which can be a label.
_IN_A_CLUSTER = re.compile(rf"{_NAME}\.{_NAME}\.svc(?:\.|$)")
_PAGE = "registered-models/{model_id}/versions/{version_id}"


class ModelRegistryHook(BaseHook):
    """Implements :class:`~model_releases.registry.service.RegistryService` with Kubeflow's Model Registry.

    A model is a registered model, a release a model version that has its name, its package the version's model
    artifact. State, reason and facts are custom properties, beside those of others; nothing is ever deleted. How it is
    kept there says :mod:`include.contracts.model_registry`.

    The server has no compare-and-set. Writers of one model on this machine follow one another; where another one gets
    in between, the mark that is lost is written again, three times at most.

    :param model_registry_conn_id: Airflow connection. Its host is the registry's address; logins are those of Kubeflow
        Pipelines. Extras: ``ui_url`` (for links), ``tracking_uri`` (an MLflow for training's metrics).
    :param connection: the connection itself where the caller has it already.
    """

    conn_name_attr = "model_registry_conn_id"
    default_conn_name = "registry_default"
    conn_type = "kubeflow_model_registry"
    hook_name = SERVICE

    def __init__(
        self, model_registry_conn_id: str = default_conn_name, *, connection: Connection | None = None
    ) -> None:
        super().__init__()
        self.model_registry_conn_id = model_registry_conn_id
        fields = ConnectionFields(connection or self.get_connection(model_registry_conn_id))
        self._page = _read_page(fields)
        self._tracking_uri = fields.text("tracking_uri")
        self._client = ModelRegistryClient(fields)
        fields.check()
        #: What this process knows of the connection's credentials.
        self.access = self._client.access

    @property
    def tracking_uri(self) -> str:
        """Where training writes its metrics, without credentials; empty where that is nowhere."""
        return tracking_address(self.model_registry_conn_id, self._tracking_uri) if self._tracking_uri else ""

    def get_conn(self) -> ModelRegistryClient:
        """Return the client of the API."""
        return self._client

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button."""
        try:
            version = self._client.find_version()
            _ = self.tracking_uri
        except Exception as error:  # whatever it is, the form is the place to show it
            return False, without_logins(str(error))
        return True, f"{SERVICE} answers at {self._client.url} (API {version})."

    # Registry

    def register(self, release: Release, *, metrics: Mapping[str, float]) -> Release:
        """Create the model version with its facts, or update the one that is there. Safe to repeat.

        Metrics are kept among the facts, as ``metric.<name>``. A version that has been live is no candidate again.
        """
        facts = {**release.facts, **{f"{METRIC_FACT_PREFIX}{name}": repr(value) for name, value in metrics.items()}}
        entered = releases.register(
            release.model,
            release.version,
            archive_uri=release.archive_uri,
            facts=facts,
            state=release.state,
            reason=release.reason,
        )
        return self._release(self._write(release.model, entered))

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        """Record a new state with its reason and time. Safe to repeat.

        Going LIVE retires the version that was live before. A live version that fails, or is rolled back, hands back
        to the previous one.

        :raises InvalidRequestError: when the version was never registered, unless it is FAILED or ROLLED_BACK.
        """
        self._write(model, releases.set_state(model, version, state, reason=reason))

    def add_facts(self, model: str, version: str, facts: Mapping[str, str]) -> None:
        """Write more facts to the record of a version; an empty one takes the fact away. Safe to repeat.

        :raises InvalidRequestError: when the version was never registered.
        """
        self._write(model, releases.add_facts(model, version, facts))

    def get_release(self, model: str, version: str) -> Release | None:
        """Return the record of one version."""
        return self._found(self._tell(releases.find_release(model, version)))

    async def aget_release(self, model: str, version: str) -> Release | None:
        """Like :meth:`get_release`, without blocking the event loop."""
        return self._found(await self._atell(releases.find_release(model, version)))

    def get_live(self, model: str) -> Release | None:
        """Return the version that the registry holds to be live."""
        return self._found(self._tell(releases.find_live(model)))

    async def aget_live(self, model: str) -> Release | None:
        """Like :meth:`get_live`, without blocking the event loop."""
        return self._found(await self._atell(releases.find_live(model)))

    def list_releases(
        self, model: str, *, limit: int = 20, state: ReleaseState | None = None, before: str | None = None
    ) -> Sequence[Release]:
        """Return the newest records first.

        :param limit: at most so many.
        :param state: only those that are in this state now.
        :param before: only those that were registered before this version.
        :raises InvalidRequestError: when ``before`` was never registered.
        """
        found = self._tell(releases.list_releases(model, limit=limit, state=state, before=before))
        return [self._release(entry) for entry in found]

    async def alist_releases(
        self, model: str, *, limit: int = 20, state: ReleaseState | None = None, before: str | None = None
    ) -> Sequence[Release]:
        """Like :meth:`list_releases`, without blocking the event loop."""
        found = await self._atell(releases.list_releases(model, limit=limit, state=state, before=before))
        return [self._release(entry) for entry in found]

    def list_made_by_pipelines(self, *, limit: int = 50) -> Sequence[Release]:
        """Return the records of releases that pipelines made without Airflow, of every model, the newest first."""
        return [self._release(entry) for entry in self._tell(releases.list_made_by_pipelines(limit=limit))]

    def release_url(self, model: str, version: str) -> str | None:
        """Return the page of the version, where the connection says how pages are found."""
        release = self.get_release(model, version) if self._page else None
        return release.url if release else None

    def service_labels(self, model: str, *, environment: str, may_make: bool) -> Mapping[str, str]:
        """Return the labels by which the registry's own controller knows the InferenceService of a model.

        :param environment: namespace that it will be in.
        :param may_make: whether the registry gets a record of it; where there is none otherwise, there are no labels.
        :raises InvalidRequestError: when the model was never registered.
        """
        labels = self._write(model, services.service_labels(model, environment=environment, may_make=may_make))
        place = _IN_A_CLUSTER.match(parsed(self._client.url).hostname or "")
        # Ids are those of this registry: a cluster may have several.
        return labels | (services.whose(*place.groups()) if labels and place else {})

    # Taking over another registry's records

    def get_previous(self, model: str) -> Release | None:
        """Return the version that was live before."""
        return self._found(self._tell(releases.find_previous(model)))

    def restore(self, release: Release) -> None:
        """Write a record as another registry has it, with its state and times. Safe to repeat."""
        marks = record_tags(
            version=release.version,
            archive_uri=release.archive_uri,
            state=release.state,
            reason=release.reason,
            facts=release.facts,
            times=release.times,
        )
        model, version = release.model, release.version
        self._write(model, releases.restore(model, version, archive_uri=release.archive_uri, marks=marks))

    def restore_live(self, model: str, *, live: str | None, previous: str | None) -> None:
        """Say which versions are live and were before, and nothing else. Safe to repeat."""
        self._write(model, releases.point(model, live=live or "", previous=previous or ""))

    # How it is asked

    def _tell(self, story: Story[T]) -> T:
        try:
            return self._client.tell(story)
        except RegistryRefusalError as error:
            raise InvalidRequestError(str(error)) from error
        except MarkLostError as error:
            raise ServiceUnavailableError(f"{SERVICE} at {self._client.url}: {error}") from error

    async def _atell(self, story: Story[T]) -> T:
        try:
            return await self._client.atell(story)
        except RegistryRefusalError as error:
            raise InvalidRequestError(str(error)) from error

    def _write(self, model: str, story: Story[T]) -> T:
        with one_at_a_time(f"{self._client.url} {model}"):
            return self._tell(story)

    def _found(self, entry: Entry | None) -> Release | None:
        return None if entry is None else self._release(entry)

    def _release(self, entry: Entry) -> Release:
        marks = entry.marks
        page = self._page.replace("{model_id}", str(entry.model["id"]))
        return Release(
            model=str(entry.model["name"]),
            version=str(entry.version["name"]),
            state=entry.state,
            archive_uri=marks.get(ARCHIVE_TAG, ""),
            reason=marks.get(REASON_TAG, ""),
            facts=facts_of(marks),
            times=times_of(marks),
            url=page.replace("{version_id}", str(entry.version["id"])) or None,
        )


def _read_page(fields: ConnectionFields) -> str:
    """Return the address of a version's page, with places for the two ids; empty for none."""
    page = fields.text("ui_url").rstrip("/")
    parts = parsed(page)
    if page and not (parts.scheme in ("http", "https") and parts.hostname and not parts.username):
        fields.problems.append("ui_url: the address of the registry's pages is needed, http or https, without a user")
    return page if "{version_id}" in page or not page else f"{page}/{_PAGE}"
