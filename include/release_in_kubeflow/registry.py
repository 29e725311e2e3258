"""Registers a release from inside a pipeline, in MLflow or in Kubeflow's registry, as the Airflow half does.

Only for pipelines that release without Airflow; under Airflow its own tasks keep the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from include.classifier.tracking import mlflow_client
from include.contracts.candidate import Candidate
from include.contracts.model_registry import releases
from include.contracts.registry_tags import (
    ARCHIVE_TAG,
    FACT_TAG_PREFIX,
    LIVE_ALIAS,
    METRIC_FACT_PREFIX,
    PREVIOUS_ALIAS,
    STATE_TAG,
    VERSION_TAG,
    ReleaseState,
    state_tags,
)
from include.release_in_kubeflow.model_registry import ModelRegistryClient

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


#: Variable of the step that registers: the id of the pipeline run, by which people find it in Kubeflow.
RUN_ID_VARIABLE = "KFP_RUN_ID"
_JUDGED = f"{FACT_TAG_PREFIX}candidate_sha256"


class Registry(Protocol):
    """What the steps need of a registry."""

    def live_package(self, model: str) -> str:
        """Return the URI of the live release's package; empty when there is none."""

    def live_version(self, model: str) -> str:
        """Return the version of the live release; empty when there is none."""

    def judged(self, model: str, version: str) -> str:
        """Return the digest of the document that was judged before as this version; empty when none was."""

    def register(self, candidate: Candidate, *, state: ReleaseState, reason: str = "", **facts: str) -> None:
        """Create the release's entry with its facts, or bring the one that is there up to date.

        :param facts: more than those that the candidate says of itself.
        """

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        """Record a new state. Going live retires the release that was live before."""


def registry_of(tracking_uri: str, registry_uri: str = "") -> Registry:
    """Return where releases are recorded.

    :param tracking_uri: of MLflow, which counts where no other registry is given; empty for none.
    :param registry_uri: of Kubeflow's Model Registry.
    """
    return KubeflowRegistry(registry_uri) if registry_uri else MlflowRegistry(tracking_uri)


class KubeflowRegistry:
    """The releases in one Kubeflow Model Registry.

    :param url: its address.
    """

    def __init__(self, url: str) -> None:
        self._client = ModelRegistryClient(url)

    def live_package(self, model: str) -> str:
        """Return the URI of the live release's package; empty when there is none."""
        return self._live_mark(model, ARCHIVE_TAG)

    def live_version(self, model: str) -> str:
        """Return the version of the live release; empty when there is none."""
        return self._live_mark(model, VERSION_TAG)

    def judged(self, model: str, version: str) -> str:
        """Return the digest of the document that was judged before as this version; empty when none was."""
        entry = self._client.tell(releases.find_release(model, version))
        return "" if entry is None else entry.marks.get(_JUDGED, "")

    def register(self, candidate: Candidate, *, state: ReleaseState, reason: str = "", **facts: str) -> None:
        """Create the release's entry with its facts, or bring the one that is there up to date."""
        tags = _facts(candidate, facts)
        story = releases.register(
            candidate.model,
            candidate.version,
            archive_uri=candidate.archive.uri,
            facts={name.removeprefix(FACT_TAG_PREFIX): value for name, value in tags.items()},
            state=state,
            reason=reason,
        )
        self._client.tell(story)

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        """Record a new state. Going live retires the release that was live before."""
        self._client.tell(releases.set_state(model, version, state, reason=reason))

    def _live_mark(self, model: str, name: str) -> str:
        entry = self._client.tell(releases.find_live(model))
        return "" if entry is None else entry.marks.get(name, "")


class MlflowRegistry:
    """The releases of one MLflow, or nothing at all where no address is given.

    :param tracking_uri: of MLflow; empty for none. Credentials come from MLflow's own environment variables.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._client: MlflowClient | None = mlflow_client(tracking_uri) if tracking_uri else None

    def live_package(self, model: str) -> str:
        """Return the URI of the live release's package; empty when there is none."""
        return self._live_tag(model, ARCHIVE_TAG)

    def live_version(self, model: str) -> str:
        """Return the version of the live release; empty when there is none."""
        return self._live_tag(model, VERSION_TAG)

    def judged(self, model: str, version: str) -> str:
        """Return the digest of the document that was judged before as this version; empty when none was."""
        entry = None if self._client is None else self._find(self._client, model, version)
        return "" if entry is None else entry.tags.get(_JUDGED, "")

    def register(self, candidate: Candidate, *, state: ReleaseState, reason: str = "", **facts: str) -> None:
        """Create the release's entry with its facts, or bring the one that is there up to date.

        :param facts: more than those that the candidate says of itself.
        """
        if self._client is None:
            return
        model, version = candidate.model, candidate.version
        tags = {VERSION_TAG: version, ARCHIVE_TAG: candidate.archive.uri, **_facts(candidate, facts)}
        entry = self._find(self._client, model, version)
        if entry is None:
            entry = self._create(self._client, candidate, tags)
        else:
            for name, value in tags.items():
                self._client.set_model_version_tag(model, entry.version, name, value)
        _tag_state(self._client, entry, state, reason)

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        """Record a new state. Going live retires the release that was live before."""
        if self._client is None or (entry := self._find(self._client, model, version)) is None:
            return
        if state is ReleaseState.LIVE:
            self._go_live(self._client, entry)
        _tag_state(self._client, entry, state, reason)

    def _live_tag(self, model: str, tag: str) -> str:
        number = None if self._client is None else self._aliases(self._client, model).get(LIVE_ALIAS)
        if self._client is None or number is None:
            return ""
        return self._client.get_model_version(model, number).tags.get(tag, "")

    def _create(self, client: MlflowClient, candidate: Candidate, tags: dict[str, str]) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        model, uri = candidate.model, candidate.archive.uri
        try:
            client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # A server refuses `file:` URIs outside its own artifacts, also one on a volume that everybody mounts.
        source = uri.replace("file:", "mounted:", 1) if self._uri.startswith("http") else uri
        return client.create_model_version(
            model, source, run_id=candidate.tracking_run_id or None, tags=tags, await_creation_for=0
        )

    def _go_live(self, client: MlflowClient, entry: ModelVersion) -> None:
        live = self._aliases(client, entry.name).get(LIVE_ALIAS)
        if live not in (None, str(entry.version)):
            client.set_registered_model_alias(entry.name, PREVIOUS_ALIAS, live)
        client.set_registered_model_alias(entry.name, LIVE_ALIAS, str(entry.version))
        for other in client.search_model_versions(
            f"name = '{entry.name}' and tags.`{STATE_TAG}` = '{ReleaseState.LIVE}'"
        ):
            if str(other.version) != str(entry.version):
                _tag_state(client, other, ReleaseState.RETIRED, f"replaced by {entry.tags[VERSION_TAG]}")

    @staticmethod
    def _find(client: MlflowClient, model: str, version: str) -> ModelVersion | None:
        found = client.search_model_versions(f"name = '{model}' and tags.`{VERSION_TAG}` = '{version}'")
        # MLflow has no unique tags; of two, the first one counts.
        return min(found, key=lambda entry: int(entry.version), default=None)

    @staticmethod
    def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
        found = client.search_registered_models(f"name = '{model}'", max_results=1)
        return {alias: str(number) for alias, number in found[0].aliases.items()} if found else {}


def _tag_state(client: MlflowClient, entry: ModelVersion, state: ReleaseState, reason: str) -> None:
    for name, value in state_tags(state, reason).items():
        client.set_model_version_tag(entry.name, entry.version, name, value)


def _facts(candidate: Candidate, more: Mapping[str, str]) -> dict[str, str]:
    metrics = {f"{METRIC_FACT_PREFIX}{name}": repr(value) for name, value in candidate.figures().items()}
    found = candidate.facts() | metrics | {name: value for name, value in more.items() if value}
    return {f"{FACT_TAG_PREFIX}{name}": value for name, value in found.items()}
