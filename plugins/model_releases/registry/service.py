"""What operators need of a registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from include.contracts.registry_tags import ReleaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version of a model as the registry records it.

    :param facts: everything worth keeping about it as flat strings: digests, run ids, base model, metrics.
    :param reason: why it is in this state, in one line.
    :param times: state -> when it last entered it, ISO 8601 in UTC.
    :param url: its page for people, where the registry has one.
    """

    model: str
    version: str
    state: ReleaseState
    archive_uri: str = ""
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[ReleaseState, str] = field(default_factory=dict)
    url: str | None = None


class LabellingRegistry(Protocol):
    """What a registry has besides whose own controller knows InferenceServices by labels."""

    def service_labels(self, model: str, *, environment: str, may_make: bool) -> Mapping[str, str]:
        """Return the labels that the model's InferenceService is to be made with. Safe to repeat.

        :param environment: namespace that it will be in.
        :param may_make: whether the registry gets a record of it; where there is none otherwise, there are no labels.
        """


@runtime_checkable
class RegistryService(Protocol):
    """The record of what was released. The serving system is the truth of what answers.

    :ivar tracking_uri: where training writes its metrics (MLflow), without credentials; empty when there is none.
    """

    tracking_uri: str

    def register(self, release: Release, *, metrics: Mapping[str, float]) -> Release:
        """Create the model version with its facts, or update the one that is there. Safe to repeat."""

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        """Record a new state with its reason and time. Going LIVE retires the version that was live before.

        Harmless for a version that was never registered when the state is FAILED or ROLLED_BACK.
        """

    def add_facts(self, model: str, version: str, facts: Mapping[str, str]) -> None:
        """Write more facts to the record of a version, over those of the same name. Safe to repeat.

        :raises InvalidRequestError: when the version was never registered.
        """

    def get_release(self, model: str, version: str) -> Release | None:
        """Return the record of one version."""

    def get_live(self, model: str) -> Release | None:
        """Return the version that the registry holds to be live."""

    def list_releases(
        self, model: str, *, limit: int = 20, state: ReleaseState | None = None, before: str | None = None
    ) -> Sequence[Release]:
        """Return the newest records first.

        :param limit: at most so many.
        :param state: only those that are in this state now.
        :param before: only those that were registered before this version.
        :raises InvalidRequestError: when ``before`` was never registered.
        """

    def list_made_by_pipelines(self, *, limit: int = 50) -> Sequence[Release]:
        """Return the records of releases that pipelines made without Airflow, of every model, the newest first."""

    def release_url(self, model: str, version: str) -> str | None:
        """Return the page of the version for people, where the registry has one."""

    def get_previous(self, model: str) -> Release | None:
        """Return the version that was live before the one that is."""

    def restore(self, release: Release) -> None:
        """Write a record as another registry has it, with its state and times. Safe to repeat."""

    def restore_live(self, model: str, *, live: str | None, previous: str | None) -> None:
        """Say which versions are live and were before, and nothing else; ``None`` for none. Safe to repeat."""

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button."""
