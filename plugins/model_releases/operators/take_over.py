"""Takes a release over from another installation: finds out whether it may be, and carries its gate along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import ModelVersion
from model_releases import ids
from model_releases.links import ReportLink, report_page_url
from model_releases.memory import xcoms
from model_releases.memory.claims import this_installation
from model_releases.memory.evidence import insist
from model_releases.memory.live import find_live
from model_releases.memory.model_store import ModelStore
from model_releases.memory.released import TAKEN_OVER_FROM, carried_facts, read_release
from model_releases.operators.base import ReleaseStep, unreachable
from model_releases.rules.replaceable import has_been_live

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.contracts.candidate import Candidate
    from include.contracts.version.released import ReleaseDocument
    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService


class _TakeOverStep(ReleaseStep):
    """A task about a version that another installation has released.

    :param store_uri: folder of the model in the model store, which both installations have in common (templated).
    :param release_sha256: SHA-256 of the release's ``release.json``, as a person has seen it there (templated).
    """

    template_fields = (*ReleaseStep.template_fields, "store_uri", "release_sha256")

    def __init__(self, *, store_uri: str, release_sha256: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store_uri = store_uri
        self.release_sha256 = release_sha256

    def read_release(self) -> tuple[ReleaseDocument, Candidate]:
        """Return what is known of the release, and its candidate.

        :raises InvalidRequestError: when they are not there, or not what they should be.
        :raises ReleaseRefusedError: when they are not what a person has seen, and what was judged.
        :raises ServiceUnavailableError: when they cannot be read.
        """
        sha256 = str(self.release_sha256)
        document = read_release(self.store_uri, self.model, self.version, sha256=sha256, conn_id=self.store_conn_id)
        self.candidate_sha256 = document.candidate_sha256
        return document, self.read_candidate()


class CheckTakeOverOperator(_TakeOverStep):
    """Find out whether a release of another installation may be taken over, before anything is touched.

    Returns (as XCom) ``version`` and ``live_version``, which it is to replace (empty when nothing is live).

    :param allow_older: whether a version may replace a newer one: a bool, or a template of one (templated).
    :param settings: ``serving`` section of the model's YAML (templated).
    :raises InvalidRequestError: when it is live already, was live here before, was made here, is older than what is
        live, lies elsewhere than in this store, or cannot be served here.
    :raises ReleaseRefusedError: when it is not what the person has seen who asks for it.
    :raises ServiceUnavailableError: when a service or the store does not answer.
    """

    template_fields = (*_TakeOverStep.template_fields, "allow_older", "settings")

    def __init__(
        self, *, allow_older: bool | str = False, settings: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.allow_older = allow_older
        self.settings = settings or {}

    def execute(self, context: Context) -> dict[str, str]:
        """Find out."""
        serving = self.serving_service()
        registry = self.registry_service()
        if problems := [
            *unreachable(self.serving_conn_id, serving.test_connection),
            *unreachable(self.registry_conn_id, registry.test_connection),
        ]:
            raise ServiceUnavailableError(" ".join(["Nothing was touched.", *problems]))
        document, candidate = self.read_release()
        self._refuse_elsewhere(candidate)
        present = find_live(serving, registry, self.model, settings=self.settings)
        live = present.version if present else ""
        self._refuse_known(registry, live)
        self._check_servable(serving, candidate)
        self.log.info(
            "%s %s was released by %s at %s; here it is to replace %s.",
            self.model,
            self.version,
            document.dag_run_url or "another installation",
            document.created_at,
            live or "nothing",
        )
        return {"version": self.version, "live_version": live}

    def _refuse_elsewhere(self, candidate: Candidate) -> None:
        """Make sure that what is deployed lies in the version's folder: an archive is code."""
        folder = f"{self.store_uri}/{self.version}/"
        archive = candidate.archive.uri if candidate.archive.lies_in_store else ""
        for uri in (archive, candidate.report_uri):
            if uri and (not uri.startswith(folder) or ".." in uri.split("/")):
                raise InvalidRequestError(
                    f"{self.candidate_uri} names {uri}, which does not lie in {folder}: both installations must reach "
                    "the store under one address (`store:` of the model's YAML, or `MODEL_STORE`)."
                )

    def _refuse_known(self, registry: RegistryService, live: str) -> None:
        name = f"{self.model} {self.version}"
        if self.version == live:
            raise InvalidRequestError(f"{name} is live here already.")
        known = registry.get_release(self.model, self.version)
        if known is not None and has_been_live(known):
            raise InvalidRequestError(
                f"{name} has been live here and is {known.state.value}. Put it back with the DAG "
                f"{ids.roll_back_dag(self.model)}, or `make roll-back VERSION={self.version}`."
            )
        if known is not None and not known.facts.get(TAKEN_OVER_FROM):
            raise InvalidRequestError(
                f"{name} was made by this installation, where it is {known.state.value}: start a release instead."
            )
        if self.version < live and str(self.allow_older).lower() != "true":
            raise InvalidRequestError(
                f"{name} is older than {live}, which is live here. To replace that all the same, tick `allow_older` "
                "(`ALLOW_OLDER=true` of make)."
            )

    def _check_servable(self, serving: ServingService, candidate: Candidate) -> None:
        serving.check_candidate(
            ModelVersion(
                model=self.model,
                version=self.version,
                archive_uri=candidate.archive.uri,
                archive_sha256=candidate.archive.sha256,
                settings=candidate.served_with(self.settings),
            )
        )


class CarryOverOperator(_TakeOverStep):
    """Carry the gate of another installation along: make sure that every file is what was judged there.

    It stands in the place of :class:`~model_releases.operators.gate.GateOperator` and leaves the same XComs for the
    steps after it, with ``carried``: what the registry keeps of the release there. A file in the version's folder says
    from now on that it is needed here, so that the other installation does not delete it.

    :raises InvalidRequestError: when a file is gone, or not what it should be.
    :raises ReleaseRefusedError: when a file was changed.
    """

    operator_extra_links = (ReportLink(),)
    ui_color = "#f6e8c3"

    def execute(self, context: Context) -> None:
        """Look at every file, and let none of them be deleted."""
        document, candidate = self.read_release()
        insist(candidate, str(self.candidate_uri), document.evidence, conn_id=self.store_conn_id)
        decision = f"taken over, {document.gate}"
        ModelStore(self.store_uri, conn_id=self.store_conn_id).take_over(self.version, this_installation())
        self.log.info("%s %s is what was judged there: %s.", self.model, self.version, document.gate)
        ti = context["ti"]
        ti.xcom_push(key=xcoms.JUDGED, value=document.evidence.to_json())
        ti.xcom_push(key=xcoms.DECISION, value=decision)
        ti.xcom_push(key=xcoms.GATE, value=document.gate)
        ti.xcom_push(key=xcoms.CARRIED, value=dict(carried_facts(document, str(self.release_sha256))))
        ti.xcom_push(key=xcoms.REPORT_URL, value=report_page_url(candidate))
