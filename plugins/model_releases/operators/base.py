"""What the steps of a release have in common: which version of which model they are about, and whom they may ask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kubeflow_provider.access import recall
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_serving_service
from kubeflow_provider.operators.cancelling import cancel_from_signal_handler
from kubeflow_provider.outages import patient
from kubeflow_provider.states import TASK_GIVEN_UP
from kubeflow_provider.triggers.base import ask_state
from model_releases import ids
from model_releases.memory import xcoms
from model_releases.memory.evidence import read_judged
from model_releases.registry import get_registry_service

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

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
    _was_accepted = False

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
        ti = context.get("ti")
        # Whoever deployed the candidate was let in: a refusal of this task's first request is not the very first.
        self._was_accepted = bool(ti and ti.xcom_pull(task_ids=ids.DEPLOY_CANDIDATE, key=xcoms.ENDPOINT))

    def serving_service(self) -> ServingService:
        """Return the serving system; whatever it is asked waits while it is away."""
        service = get_serving_service(self.serving_conn_id)
        if self._was_accepted:
            recall(service)
        return patient(service)

    def registry_service(self) -> RegistryService:
        """Return the registry, which waits likewise.

        :raises InvalidRequestError: when the task has none.
        """
        if not self.registry_conn_id:
            raise InvalidRequestError(f"Task {self.task_id} needs a registry: give it a `registry_conn_id`.")
        return patient(get_registry_service(self.registry_conn_id))

    def read_candidate(self) -> Candidate:
        """Return what the version's ``candidate.json`` says.

        :raises InvalidRequestError: when it is another version's, or not what it should be.
        :raises ReleaseRefusedError: when it was changed since it was judged.
        :raises ServiceUnavailableError: when it cannot be read.
        """
        if not self.candidate_uri:
            raise InvalidRequestError(f"Task {self.task_id} needs a `candidate_uri`.")
        sha256 = None if self.candidate_sha256 is None else str(self.candidate_sha256)
        return read_judged(self.model, self.version, uri=self.candidate_uri, sha256=sha256, conn_id=self.store_conn_id)


class ReversibleStep(ReleaseStep):
    """A step that leaves something in the serving system that must not stay when a user ends the task for good.

    After a "clear", and when only the worker goes down, the next try needs it. While the task is deferred its trigger
    does the same.
    """

    _ti: RuntimeTaskInstanceProtocol | None = None
    _is_killed = False

    @abstractmethod
    def take_back(self, service: ServingService) -> None:
        """Take it out of the serving system; safe to repeat."""

    def begin(self, context: Context) -> None:
        """Remember whose task this is, before anything is changed."""
        self._ti = context["ti"]

    def on_kill(self) -> None:
        """Take back what was brought about if nobody goes on with it."""
        self._is_killed = True
        cancel_from_signal_handler(self._take_back_if_given_up)

    def after_change(self) -> None:
        """Take a change back that was under way when the task was killed, and has come after all."""
        if self._is_killed:
            self._take_back_if_given_up()

    def _take_back_if_given_up(self) -> None:
        if self._ti is not None and ask_state(self._ti) in TASK_GIVEN_UP:
            # A signal handler has seconds, not the patience of `serving_service`.
            self.take_back(get_serving_service(self.serving_conn_id))


def unreachable(conn_id: str | None, test_connection: Callable[[], tuple[bool, str]]) -> list[str]:
    """Return the problem with a connection, if there is one."""
    works, message = test_connection()
    return [] if works else [f"Connection {conn_id!r}: {message}"]
