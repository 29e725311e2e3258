"""What the steps of a release have in common: which version of which model they are about, and whom they may ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_serving_service
from model_releases.memory.candidate import parse_candidate_of, read_text
from model_releases.memory.evidence import insist_on_digest, text_sha256
from model_releases.registry import get_registry_service

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from include.contracts.candidate import Candidate
    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService


class ReleaseStep(BaseOperator):
    """A task about one version of a model.

    A DAG says these arguments once, in its ``default_args``; a step that is to go without one of them gets ``None``.

    :param model: name of the model (templated).
    :param version: the version (templated).
    :param candidate_uri: URI of the version's ``candidate.json`` (templated).
    :param candidate_sha256: SHA-256 that it must have, what was judged before; ``None``: any (templated).
    :param serving_conn_id: connection to the serving system (templated).
    :param registry_conn_id: connection to the registry (templated).
    :param store_conn_id: Airflow connection for the model store, where it needs one (templated).
    """

    template_fields: Sequence[str] = (
        "model",
        "version",
        "candidate_uri",
        "candidate_sha256",
        "serving_conn_id",
        "registry_conn_id",
        "store_conn_id",
    )

    def __init__(
        self,
        *,
        model: str,
        version: str,
        candidate_uri: str | None = None,
        candidate_sha256: str | None = None,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str | None = "registry_default",
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.candidate_uri = candidate_uri
        self.candidate_sha256 = candidate_sha256
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render them; a DAG that renders native objects would make a number of the version."""
        super().render_template_fields(context, jinja_env)
        self.version = str(self.version)

    def serving_service(self) -> ServingService:
        """Return the serving system."""
        return get_serving_service(self.serving_conn_id)

    def registry_service(self) -> RegistryService:
        """Return the registry.

        :raises InvalidRequestError: when the task has none.
        """
        if not self.registry_conn_id:
            raise InvalidRequestError(f"Task {self.task_id} needs a registry: give it a `registry_conn_id`.")
        return get_registry_service(self.registry_conn_id)

    def read_candidate(self) -> Candidate:
        """Return what the version's ``candidate.json`` says.

        :raises InvalidRequestError: when it is another version's, or not what it should be.
        :raises ReleaseRefusedError: when it was changed since it was judged.
        :raises ServiceUnavailableError: when it cannot be read.
        """
        if not self.candidate_uri:
            raise InvalidRequestError(f"Task {self.task_id} needs a `candidate_uri`.")
        text = read_text(self.candidate_uri, conn_id=self.store_conn_id)
        if self.candidate_sha256 is not None:
            insist_on_digest(self.candidate_uri, text_sha256(text), str(self.candidate_sha256))
        return parse_candidate_of(self.model, self.version, text, uri=self.candidate_uri)
