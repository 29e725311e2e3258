"""Puts an earlier release back by hand: chooses it, and records who did it and why."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

from include.contracts.registry_tags import ReleaseState
from include.contracts.version.files import reason_of
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases import ids
from model_releases.exceptions import CheckFailedError
from model_releases.memory.active_runs import deployment_under_way
from model_releases.memory.candidate import parse_candidate_of, read_text
from model_releases.memory.evidence import text_sha256
from model_releases.memory.live import find_live
from model_releases.operators.base import ReleaseStep
from model_releases.rules.replaceable import (
    PUT_BACK_BY,
    PUT_BACK_REASON,
    ROLLED_BACK_BY,
    ROLLED_BACK_REASON,
    ROLLED_BACK_TO,
)
from model_releases.rules.retention import ARCHIVE_DELETED_AT

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService, Release

#: What a person writes for the release before the live one.
PREVIOUS = "previous"

#: Whom Airflow names for a run of ``airflow dags test``, which is how `make roll-back` runs.
_NOBODY = frozenset({"", "dag_test"})


class ChooseReleaseOperator(ReleaseStep):
    """Choose the release to put back, and refuse what cannot work before anything is touched.

    Returns (as XCom) ``version``, ``live_version`` (what is live now), ``candidate_uri`` (the chosen release's
    ``candidate.json``) and ``candidate_sha256`` (its digest, which every later step insists on).

    :param store_uri: folder of the model in the model store (templated).
    :param release_dag_id: the model's release DAG, which must not be changing what is served now (templated).
    :raises InvalidRequestError: when the version is live already, never was, or its archive is gone.
    :raises ServiceUnavailableError: while a release is changing what is served. One that still trains or waits for an
        approval does not count: its candidate is refused later, because another version is live by then.
    """

    template_fields = (*ReleaseStep.template_fields, "store_uri", "release_dag_id")

    def __init__(
        self,
        *,
        store_uri: str,
        release_dag_id: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.store_uri = store_uri
        self.release_dag_id = release_dag_id

    def execute(self, context: Context) -> dict[str, str]:
        """Choose."""
        if run_id := deployment_under_way(context, self.release_dag_id, ids.take_over_dag(self.model)):
            raise ServiceUnavailableError(
                f"A release of {self.model} is being deployed right now ({run_id}). Wait for "
                "its end, or mark the task that hangs as failed: the release then puts back what was live. A run whose "
                "process is gone has to be marked as failed itself."
            )
        serving = self.serving_service()
        registry = self.registry_service()
        present = find_live(serving, registry, self.model)
        live = present.version if present else ""
        release = self._choose(serving, registry, live)
        candidate_uri = f"{self.store_uri}/{release.version}/candidate.json"
        digest = self._check_archive(release, candidate_uri)
        self.log.info("%s %s will be put back in the place of %s.", self.model, release.version, live or "nothing")
        return {
            "version": release.version,
            "live_version": live,
            "candidate_uri": candidate_uri,
            "candidate_sha256": digest,
        }

    def _check_archive(self, release: Release, candidate_uri: str) -> str:
        """Make sure that there is something to put back, as it was released, and return its document's digest.

        The whole digest of the archive is checked when it is deployed.
        """
        name = f"{self.model} {release.version}"
        if when := release.facts.get(ARCHIVE_DELETED_AT):
            raise InvalidRequestError(
                f"{name} cannot be put back: its archive was deleted at {when}, when enough newer releases were there "
                "(`retention`). Train it again; the registry says what it was made from."
            )
        self._size_in_store(name, candidate_uri)
        text = read_text(candidate_uri, conn_id=self.store_conn_id)
        found = text_sha256(text)
        if (judged := release.facts.get("candidate_sha256", found)) != found:
            raise InvalidRequestError(
                f"{name} will not be put back, because it was changed since it was released: {candidate_uri} has "
                f"SHA-256 {found}, {judged} was released. Restore it from a back-up."
            )
        candidate = parse_candidate_of(self.model, release.version, text, uri=candidate_uri)
        digest = release.facts.get("archive_sha256") or candidate.archive.sha256
        for uri, expected in candidate.archive.sizes().items():
            size = self._size_in_store(name, uri)
            if size != expected or digest != candidate.archive.sha256:
                raise InvalidRequestError(
                    f"{name} will not be put back, because it was changed since it was released: {uri} has {size} "
                    f"bytes of {expected}, and SHA-256 {candidate.archive.sha256} is announced, {digest} was released."
                )
        return found

    def _size_in_store(self, name: str, uri: str) -> int:
        from airflow.sdk import ObjectStoragePath

        try:
            return int(ObjectStoragePath(uri, conn_id=self.store_conn_id or None).stat().st_size)
        except FileNotFoundError as error:
            raise InvalidRequestError(
                f"{name} cannot be put back: {uri} is gone. Restore it from a back-up, or train it again."
            ) from error
        except OSError as error:
            raise ServiceUnavailableError(f"{uri} cannot be read: {reason_of(error)}.") from error

    def _choose(self, serving: ServingService, registry: RegistryService, live_version: str) -> Release:
        version = str(self.version).strip()
        if version == PREVIOUS:
            version = serving.get_previous(self.model) or _newest_retired(registry, self.model, live_version) or ""
            if not version:
                raise InvalidRequestError(f"{self.model} has no release before {live_version or 'the first one'}.")
        if version == live_version:
            raise InvalidRequestError(f"{self.model} {version} is live already.")
        release = registry.get_release(self.model, version)
        if release is None:
            known = ", ".join(entry.version for entry in registry.list_releases(self.model, limit=10))
            raise InvalidRequestError(
                f"{self.model} {version} is not in the registry; the newest there are {known or 'none'}."
            )
        if not release.state.has_been_live and ReleaseState.LIVE not in release.times:
            raise InvalidRequestError(
                f"{self.model} {version} is {release.state.value} and was never live. A roll back only puts back what "
                "was; start a release for anything else."
            )
        return release


class RecordRollBackOperator(ReleaseStep):
    """Record that a release was put back by hand: by whom, and why.

    :param rolled_back_version: version that was live before; empty when none was (templated).
    :param reason: why, in the words of whoever did it (templated).
    :raises CheckFailedError: when another version is live than the one that was put back.
    """

    template_fields = (*ReleaseStep.template_fields, "rolled_back_version", "reason")

    def __init__(
        self,
        *,
        rolled_back_version: str,
        reason: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rolled_back_version = rolled_back_version
        self.reason = reason

    def execute(self, context: Context) -> None:
        """Record it."""
        serving = self.serving_service()
        registry = self.registry_service()
        live = serving.get_live(self.model)
        if live is None or live.version != self.version:
            raise CheckFailedError("live version", expected=self.version, got=live.version if live else "none")
        who, why = triggering_user(context["dag_run"]), str(self.reason).strip()
        by = f"by {who}: {why or 'no reason'}"
        # Facts first: a version is pinned as soon as its state says that it was rolled back.
        registry.add_facts(self.model, self.version, {PUT_BACK_BY: who, PUT_BACK_REASON: why})
        if self.rolled_back_version:
            self._pin(registry, who, why)
        registry.set_state(self.model, self.version, ReleaseState.LIVE, reason=f"put back {by}")
        if self.rolled_back_version:
            registry.set_state(
                self.model,
                self.rolled_back_version,
                ReleaseState.ROLLED_BACK,
                reason=f"rolled back to {self.version} {by}",
            )
        self.log.info("%s %s is live again, put back %s.", self.model, self.version, by)

    def _pin(self, registry: RegistryService, who: str, why: str) -> None:
        if registry.get_release(self.model, self.rolled_back_version) is None:
            self.log.warning(
                "%s %s was live and is not in the registry: nobody will know there that it was rolled back.",
                self.model,
                self.rolled_back_version,
            )
            return
        facts = {ROLLED_BACK_BY: who, ROLLED_BACK_REASON: why, ROLLED_BACK_TO: self.version}
        registry.add_facts(self.model, self.rolled_back_version, facts)


def triggering_user(dag_run: Any) -> str:
    """Return who started a DAG run: the user of Airflow, or of this machine for a run in a terminal."""
    name = dag_run.triggering_user_name or ""
    if name not in _NOBODY:
        return str(name)
    if not name:
        return "somebody without a name"
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"uid {os.getuid()}"


def _newest_retired(registry: RegistryService, model: str, live_version: str) -> str | None:
    """Return the newest version that was live before and still has its files, where the serving system keeps none."""
    for release in registry.list_releases(model, limit=50):
        has_files = not release.facts.get(ARCHIVE_DELETED_AT)
        if release.state is ReleaseState.RETIRED and has_files and release.version != live_version:
            return release.version
    return None
