"""Writes a release into the registry: when it becomes a candidate, and when it is live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from include.contracts.documents import DocumentError
from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import KubeflowProviderError
from model_releases.exceptions import CheckFailedError
from model_releases.links import RegistryLink
from model_releases.memory import xcoms
from model_releases.memory.outcome import dag_run_url
from model_releases.memory.release_record import make_record, run_facts
from model_releases.memory.released import RELEASE_SHA256, TAKEN_OVER_FROM, leave
from model_releases.operators.base import ReleaseStep
from model_releases.rules.replaceable import TWIN_OF, describe_pin, refuse_pinned, rolled_back_twin
from model_releases.rules.sealed import refuse_released

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.contracts.candidate import Candidate
    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService, Release

#: So many earlier releases are looked through for versions that may still be served.
_PRUNE_HORIZON = 50


class RegisterOperator(ReleaseStep):
    """Register the candidate with its facts: digests, base model, code revision, runs and metrics. Safe to repeat.

    :param pipeline_run_id: run that made it (templated); default: the id that a task before this one left.
    :raises ReleaseRefusedError: when a person has taken this version back: clearing its tasks is no way around that.
    """

    template_fields = (*ReleaseStep.template_fields, "pipeline_run_id")
    operator_extra_links = (RegistryLink(),)
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        pipeline_run_id: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline_run_id = pipeline_run_id

    def execute(self, context: Context) -> dict[str, str]:
        """Register it and return its facts."""
        candidate = self.read_candidate()
        registry = self.registry_service()
        refuse_pinned(self.model, self.version, registry)
        facts, reason = run_facts(context), "registered"
        if self.pipeline_run_id:
            facts["pipeline_run_id"] = self.pipeline_run_id
        if origin := facts.get(TAKEN_OVER_FROM):
            reason = f"taken over from {origin}"
        if twin := rolled_back_twin(candidate, registry):
            facts[TWIN_OF] = twin.version
            reason = f"registered; made exactly as {twin.version}, which was {describe_pin(twin)}"
            self.log.warning("%s %s is %s.", self.model, self.version, reason)
        record = make_record(candidate, state=ReleaseState.CANDIDATE, reason=reason, **facts)
        release = registry.register(record, metrics=candidate.figures())
        url = registry.release_url(self.model, self.version)
        if url:
            context["ti"].xcom_push(key=xcoms.REGISTRY_URL, value=url)
        self.log.info("%s %s is registered as %s. %s", self.model, self.version, release.state.value, url or "")
        return dict(release.facts)


class ReleaseOperator(ReleaseStep):
    """Mark the version as live, tell whoever waits for its asset, and take old versions out of service.

    Every asset in ``outlets`` gets an event with the release's facts, so that what is scheduled on it never sees a
    model that was not tested. Beside ``candidate.json`` it leaves what another installation needs to take the version
    over, see :mod:`model_releases.memory.released`.

    :param keep_versions: versions that stay in service: the live one, the one to go back to, then the newest.
    :raises CheckFailedError: when another version is live than the one that was tested.
    :raises VersionSealedError: when the version was live once and is not any more.
    """

    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        keep_versions: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep_versions = keep_versions

    def execute(self, context: Context) -> dict[str, str]:
        """Record it, announce it, and return what was announced."""
        candidate = self.read_candidate()
        serving = self.serving_service()
        registry = self.registry_service()
        known = registry.get_release(self.model, self.version)
        if known is not None and known.state is not ReleaseState.LIVE:
            refuse_pinned(self.model, self.version, registry)
            if known.state.has_been_live:  # one whose record broke off before its state was written has not
                refuse_released(self.model, self.version, registry)
        live = serving.get_live(self.model)
        if live is None or live.version != self.version:
            raise CheckFailedError("live version", expected=self.version, got=live.version if live else "none")

        endpoint = serving.endpoint_url(self.model)
        registry.set_state(self.model, self.version, ReleaseState.LIVE, reason="passed every test")
        registry.add_facts(self.model, self.version, {"endpoint": endpoint})
        facts = self._announce(context, candidate, endpoint)
        if known is not None and self.candidate_sha256 is not None:
            self._leave_document(context, known, registry)
        self._prune(serving, registry)
        self.log.info("%s %s is live at %s.", self.model, self.version, facts["endpoint"])
        return facts

    def _announce(self, context: Context, candidate: Candidate, endpoint: str) -> dict[str, str]:
        record = make_record(candidate, state=ReleaseState.LIVE, **run_facts(context))
        metrics = {name: repr(value) for name, value in candidate.figures().items()}
        facts = {
            "model": self.model,
            "version": self.version,
            "endpoint": endpoint,
            "archive_uri": candidate.archive.uri,
            **record.facts,
            **metrics,
        }
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = dict[str, Any](facts)
        return facts

    def _leave_document(self, context: Context, release: Release, registry: RegistryService) -> None:
        try:
            uri = str(self.candidate_uri)
            sha256 = leave(release, uri, dag_run_url=dag_run_url(context), conn_id=self.store_conn_id)
            registry.add_facts(self.model, self.version, {RELEASE_SHA256: sha256})
        except (DocumentError, KubeflowProviderError, OSError) as error:
            # The new version is live and good; nobody here needs the document.
            self.log.warning(
                "%s %s cannot be taken over by another installation until this task was cleared: %s",
                self.model,
                self.version,
                error,
            )
            return
        self.log.info("Another installation takes it over with SHA-256 %s.", sha256)

    def _prune(self, serving: ServingService, registry: RegistryService) -> None:
        """Keep the newest retired versions up to the limit. Others were never live: they all go."""
        kept = {self.version, serving.get_previous(self.model)} - {None}
        for release in registry.list_releases(self.model, limit=_PRUNE_HORIZON):
            if release.version in kept:
                continue
            if release.state is ReleaseState.RETIRED and len(kept) < self.keep_versions:
                kept.add(release.version)
                continue
            try:
                serving.remove(self.model, release.version)
            except KubeflowProviderError as error:
                # The new version is live and good; a leftover is no reason to roll it back.
                self.log.warning("%s %s is still in service: %s", self.model, release.version, error)
