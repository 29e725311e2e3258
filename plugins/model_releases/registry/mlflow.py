"""Releases in an MLflow model registry: in-process on a SQLite file, or on a server."""

from __future__ import annotations

import contextlib
import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from include.contracts.registry_tags import (
    ARCHIVE_TAG,
    FACT_TAG_PREFIX,
    LIVE_ALIAS,
    METRIC_FACT_PREFIX,
    PIPELINE_TRIGGER,
    PREVIOUS_ALIAS,
    REASON_TAG,
    STATE_TAG,
    TRACKING_RUN_FACT,
    TRIGGER_FACT,
    VERSION_TAG,
    ReleaseState,
    facts_of,
    record_tags,
    times_of,
)
from include.contracts.rules.addresses import parsed
from kubeflow_provider.access import Access, access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from kubeflow_provider.server_words import without_logins
from model_releases.registry.mlflow_entries import (
    aliases_of,
    entries_of,
    newest_entries,
    number_of,
    pointed,
    set_tag,
    state_of,
    tag_state,
)
from model_releases.registry.mlflow_environment import PASSWORD, environment, settings_of
from model_releases.registry.service import Release
from model_releases.registry.tracking import tracking_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException

#: Nobody asks MLflow for rights of single things.
_OPERATION = "use the registry"
#: Words of MLflow's client.
_NO_ANSWER = "failed with exception"
_LEAVING_SERVICE = frozenset({ReleaseState.FAILED, ReleaseState.ROLLED_BACK, ReleaseState.REJECTED})
_NOT_YET_LIVE = frozenset({ReleaseState.REGISTERED, ReleaseState.CANDIDATE})


class MlflowHook(BaseHook):
    """Implements :class:`~model_releases.registry.service.RegistryService` with MLflow's registered models.

    A model is a registered model, a release one of its model versions. MLflow numbers versions 1, 2, 3 by itself; the
    release's own version is a tag, as are its state, reason and facts. The alias ``champion`` is the live release,
    ``previous`` the one before it.

    :param mlflow_conn_id: Airflow connection. Extras: ``tracking_uri`` (``sqlite:////absolute/path.db`` or the URL of
        a server), ``token``. A server may instead ask for the connection's login and password.
    :param connection: the connection itself where the caller has it already.
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "registry_default"
    conn_type = "mlflow"
    hook_name = "MLflow"

    def __init__(self, mlflow_conn_id: str = default_conn_name, *, connection: Connection | None = None) -> None:
        super().__init__()
        self.mlflow_conn_id = mlflow_conn_id
        self._connection = connection

    # Connection

    @cached_property
    def _fields(self) -> ConnectionFields:
        fields = ConnectionFields(self._connection or self.get_connection(self.mlflow_conn_id))
        fields.check()
        for secret in (fields.text("token"), unquote(parsed(fields.text("tracking_uri")).password or "")):
            if secret:
                mask_secret(secret)
        return fields

    @cached_property
    def _access(self) -> Access:
        return access_for(self._fields)

    @property
    def tracking_uri(self) -> str:
        """Where training writes its metrics, without credentials."""
        return tracking_address(self.mlflow_conn_id, self._fields.text("tracking_uri"))

    @property
    def _is_server(self) -> bool:
        return self.tracking_uri.startswith("http")

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        # Both announce every step of every migration of a new database.
        for noisy in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with self._database_lock():
            return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @contextlib.contextmanager
    def _database_lock(self) -> Iterator[None]:
        """Let one process at a time make the tables: two first releases at once would trip over each other."""
        if self._is_server:
            yield
            return
        database = Path(unquote(self.tracking_uri.removeprefix("sqlite:///")))
        database.parent.mkdir(parents=True, exist_ok=True)
        with database.with_name(f"{database.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _session(self) -> Iterator[MlflowClient]:
        """Give the client its credentials for the time of a call, and turn its errors into ours."""
        from mlflow.exceptions import MlflowException

        with environment(settings_of(self._fields)):
            try:
                yield self._client
            except MlflowException as error:
                # A traceback would show its words as they are.
                raise self._access.judge(self._translated(error), _OPERATION) from None
        self._access.accept(_OPERATION)

    def _translated(self, error: MlflowException) -> KubeflowProviderError:
        status = error.get_http_status_code()
        text = f"Registry {self.tracking_uri}: {without_logins(error.message)}"
        if status in (401, 403):
            hint = f"{text} Check login, password or token of {self.mlflow_conn_id!r}."
            is_password = status == 401 and PASSWORD in settings_of(self._fields)
            return (WrongPasswordError if is_password else PermissionDeniedError)(hint, http_status=status)
        if 400 <= status < 500 and status not in (408, 429):
            return InvalidRequestError(text)
        # No answer at all is a 500 as well.
        return ServiceUnavailableError(text, http_status=None if _NO_ANSWER in error.message else status)

    def get_conn(self) -> MlflowClient:
        """Return MLflow's client. Against a server it has no credentials outside this hook's own methods."""
        with self._session() as client:
            return client

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button."""
        try:
            with self._session() as client:
                client.search_registered_models(max_results=1)
        except Exception as error:  # whatever it is, the form is the place to show it
            return False, without_logins(str(error))
        return True, f"MLflow answers at {self.tracking_uri}."

    # Registry

    def register(self, release: Release, *, metrics: Mapping[str, float]) -> Release:
        """Create the model version with its facts, or update the one that is there. Safe to repeat.

        Metrics are kept among the facts, as ``metric.<name>``. A version that has been live is no candidate again.
        """
        facts = {**release.facts, **{f"{METRIC_FACT_PREFIX}{name}": repr(value) for name, value in metrics.items()}}
        tags = {f"{FACT_TAG_PREFIX}{name}": value for name, value in facts.items()}
        with self._session() as client:
            entry = self._find(client, release.model, release.version)
            if entry is None:
                entry = self._create(client, release, tags)
            elif entry.tags.get(ARCHIVE_TAG) != release.archive_uri:
                raise InvalidRequestError(
                    f"{release.model} {release.version} is registered already, with another archive: "
                    f"{entry.tags.get(ARCHIVE_TAG)}."
                )
            else:
                for name, value in tags.items():
                    set_tag(client, release.model, entry.version, name, value)
            if not (state_of(entry).has_been_live and release.state in _NOT_YET_LIVE):
                self._enter(client, entry, release.state, release.reason)
            return self._release(client.get_model_version(release.model, entry.version))

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        """Record a new state with its reason and time. Safe to repeat.

        Going LIVE retires the version that was live before. A live version that fails, or is rolled back, hands
        that alias back to the previous one.

        :raises InvalidRequestError: when the version was never registered, unless it is FAILED or ROLLED_BACK.
        """
        with self._session() as client:
            entry = self._find(client, model, version)
            if entry is not None:
                self._enter(client, entry, state, reason)
            elif state not in (ReleaseState.FAILED, ReleaseState.ROLLED_BACK):
                raise InvalidRequestError(f"{model} {version} cannot be {state.value}: it was never registered.")

    def add_facts(self, model: str, version: str, facts: Mapping[str, str]) -> None:
        """Write more facts to the record of a version, over those of the same name. Safe to repeat.

        :raises InvalidRequestError: when the version was never registered.
        """
        with self._session() as client:
            entry = self._find(client, model, version)
            if entry is None:
                raise InvalidRequestError(f"{model} {version} cannot have more facts: it was never registered.")
            for name, value in facts.items():
                set_tag(client, model, entry.version, f"{FACT_TAG_PREFIX}{name}", value)

    def get_release(self, model: str, version: str) -> Release | None:
        """Return the record of one version."""
        with self._session() as client:
            entry = self._find(client, model, version)
            return None if entry is None else self._release(entry)

    def get_live(self, model: str) -> Release | None:
        """Return the version that the registry holds to be live."""
        return self._get_pointed(model, LIVE_ALIAS)

    def list_releases(
        self, model: str, *, limit: int = 20, state: ReleaseState | None = None, before: str | None = None
    ) -> Sequence[Release]:
        """Return the newest records first.

        :param limit: at most so many.
        :param state: only those that are in this state now.
        :param before: only those that were registered before this version.
        :raises InvalidRequestError: when ``before`` was never registered.
        """
        condition = f" and tags.`{STATE_TAG}` = '{state.value}'" if state else ""
        with self._session() as client:
            last = None if before is None else self._find(client, model, before)
            if before is not None and last is None:
                raise InvalidRequestError(f"{model} {before} was never registered, so nothing comes before it.")
            below = None if last is None else int(last.version)
            found = newest_entries(client, model, wanted=limit, condition=condition, below=below)
            return [self._release(entry) for entry in found]

    def list_made_by_pipelines(self, *, limit: int = 50) -> Sequence[Release]:
        """Return the records of releases that pipelines made without Airflow, of every model, the newest first."""
        made = f"tags.`{FACT_TAG_PREFIX}{TRIGGER_FACT}` = '{PIPELINE_TRIGGER}'"
        with self._session() as client:
            found = client.search_model_versions(made, max_results=limit, order_by=["creation_timestamp DESC"])
            return [self._release(entry) for entry in found if VERSION_TAG in entry.tags]

    def release_url(self, model: str, version: str) -> str | None:
        """Return the page of the version on the server; a file has none."""
        release = self.get_release(model, version) if self._is_server else None
        return release.url if release else None

    # Taking over another registry's records

    def get_previous(self, model: str) -> Release | None:
        """Return the version that was live before."""
        return self._get_pointed(model, PREVIOUS_ALIAS)

    def restore(self, release: Release) -> None:
        """Write a record as another registry has it, with its state and times. Safe to repeat."""
        tags = record_tags(
            version=release.version,
            archive_uri=release.archive_uri,
            state=release.state,
            reason=release.reason,
            facts=release.facts,
            times=release.times,
        )
        with self._session() as client:
            entry = self._find(client, release.model, release.version) or self._create(client, release, tags)
            for name, value in tags.items():
                if entry.tags.get(name) != value:
                    set_tag(client, release.model, entry.version, name, value)

    def restore_live(self, model: str, *, live: str | None, previous: str | None) -> None:
        """Say which versions are live and were before, and nothing else. Safe to repeat."""
        with self._session() as client:
            for alias, version in ((PREVIOUS_ALIAS, previous), (LIVE_ALIAS, live)):
                entry = self._find(client, model, version) if version else None
                if entry is not None:
                    client.set_registered_model_alias(model, alias, number_of(entry))
                elif alias in aliases_of(client, model):
                    client.delete_registered_model_alias(model, alias)

    # How it is kept in MLflow

    def _get_pointed(self, model: str, alias: str) -> Release | None:
        with self._session() as client:
            entry = pointed(client, model, alias)
            return None if entry is None else self._release(entry)

    def _find(self, client: MlflowClient, model: str, version: str) -> ModelVersion | None:
        if not version.isalnum():
            raise InvalidRequestError(f"{version!r} is no version of a release; it looks like 20261121030000.")
        found = list(entries_of(client, model, f" and tags.`{VERSION_TAG}` = '{version}'"))
        return found[-1] if found else None

    def _create(self, client: MlflowClient, release: Release, tags: Mapping[str, str]) -> ModelVersion:
        if not any(True for _ in client.search_registered_models(f"name = '{release.model}'", max_results=1)):
            from mlflow.exceptions import MlflowException

            try:
                client.create_registered_model(release.model)
            except MlflowException as error:  # somebody else was quicker
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        created = client.create_model_version(
            release.model,
            self._source(release.archive_uri),
            run_id=release.facts.get(TRACKING_RUN_FACT) or None,
            tags={VERSION_TAG: release.version, ARCHIVE_TAG: release.archive_uri, **tags},
            await_creation_for=0,
        )
        # MLflow has no unique tags: of two callers at once both get a version, and the first one counts.
        entry = self._find(client, release.model, release.version) or created
        if number_of(entry) != number_of(created):
            client.delete_model_version(release.model, created.version)
        return entry

    def _source(self, archive_uri: str) -> str:
        """Return what MLflow shows as the version's source.

        A server refuses every ``file:`` URI outside its own artifacts (``_validate_source_run`` in its handlers), also
        one on a volume that everybody mounts.
        """
        return archive_uri.replace("file:", "mounted:", 1) if self._is_server else archive_uri

    def _release(self, entry: ModelVersion) -> Release:
        tags = entry.tags
        page = f"{self.tracking_uri}/#/models/{entry.name}/versions/{entry.version}" if self._is_server else None
        return Release(
            model=entry.name,
            version=tags[VERSION_TAG],
            state=state_of(entry),
            archive_uri=tags.get(ARCHIVE_TAG, ""),
            reason=tags.get(REASON_TAG, ""),
            facts=facts_of(tags),
            times=times_of(tags),
            url=page,
        )

    def _enter(self, client: MlflowClient, entry: ModelVersion, state: ReleaseState, reason: str) -> None:
        if state is ReleaseState.LIVE:
            self._go_live(client, entry, reason)
            return
        if state in _LEAVING_SERVICE:
            self._leave_service(client, entry)
        tag_state(client, entry, state, reason)

    def _go_live(self, client: MlflowClient, entry: ModelVersion, reason: str) -> None:
        # In this order a repeat after a crash anywhere in between ends in the same record.
        number, live = number_of(entry), aliases_of(client, entry.name).get(LIVE_ALIAS)
        if live not in (None, number):
            client.set_registered_model_alias(entry.name, PREVIOUS_ALIAS, live)
        client.set_registered_model_alias(entry.name, LIVE_ALIAS, number)
        tag_state(client, entry, ReleaseState.LIVE, reason)
        version = entry.tags[VERSION_TAG]
        for other in entries_of(client, entry.name, f" and tags.`{STATE_TAG}` = '{ReleaseState.LIVE.value}'"):
            if number_of(other) != number:
                tag_state(client, other, ReleaseState.RETIRED, f"replaced by {version}")

    def _leave_service(self, client: MlflowClient, entry: ModelVersion) -> None:
        number, aliases = number_of(entry), aliases_of(client, entry.name)
        previous = aliases.get(PREVIOUS_ALIAS)
        was_live = aliases.get(LIVE_ALIAS) == number
        if was_live and previous not in (None, number):
            client.set_registered_model_alias(entry.name, LIVE_ALIAS, previous)
            reason = f"put back after {entry.tags[VERSION_TAG]}"
            tag_state(client, client.get_model_version(entry.name, previous), ReleaseState.LIVE, reason)
        elif was_live:
            client.delete_registered_model_alias(entry.name, LIVE_ALIAS)
        if was_live or previous == number:
            client.delete_registered_model_alias(entry.name, PREVIOUS_ALIAS)
