"""Keeps what a release has become from being written over: ``pre_execute`` of its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kubeflow_provider.outages import patient
from model_releases.registry import get_registry_service
from model_releases.rules.sealed import refuse_judged, refuse_released

if TYPE_CHECKING:
    from airflow.sdk import Context


class RefuseSealed:
    """Refuse a task that somebody cleared after its version was sealed, before it has changed anything.

    What writes a version's files may run until the gate has judged them; what follows, until users have had them.

    :param model: name of the model.
    :param version: the version (templated).
    :param registry_conn_id: connection to the registry, which knows what became of the version.
    :param writes: whether the task writes files of the version.
    :param then: what is looked at next.
    """

    def __init__(
        self,
        *,
        model: str,
        version: str,
        registry_conn_id: str,
        writes: bool = False,
        then: Callable[[Context], None] | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.registry_conn_id = registry_conn_id
        self.writes = writes
        self.then = then

    def __call__(self, context: Context) -> None:
        """Let the task go on, or refuse it.

        :raises VersionSealedError: with what to do instead.
        """
        version = str(context["task"].render_template(self.version, context))
        registry = patient(get_registry_service(self.registry_conn_id))
        if self.writes:
            refuse_judged(context, self.model, version, registry)
        else:
            refuse_released(self.model, version, registry)
        if self.then is not None:
            self.then(context)
