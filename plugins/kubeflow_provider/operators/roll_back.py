"""Puts an earlier release back by hand: chooses it, and records who did it and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kubeflow_provider.exceptions import CheckFailedError, InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks import REGISTRY_HOOKS, SERVING_HOOKS, get_service
from kubeflow_provider.release_record import read_candidate
from kubeflow_provider.states import ReleaseState

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import RegistryService, Release, ServingService

#: What a person writes for the release before the live one.
PREVIOUS = "previous"

#: States of versions that have been live: each of them was tested on the endpoint once.
_HAVE_BEEN_LIVE = frozenset({ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.ROLLED_BACK})
_ACTIVE_RUNS = ["queued", "running"]


class ChooseReleaseOperator(BaseOperator):
    """Choose the release to put back, and refuse what cannot work before anything is touched.

    Returns (as XCom) ``version``, ``live_version`` (what is live now) and ``candidate_uri`` (the chosen release's
    ``candidate.json``).

    :param model: name of the model (templated).
    :param version: version to put back, or ``previous`` for the one that was live before (templated).
    :param store_uri: folder of the model in the model store (templated).
    :param release_dag_id: DAG whose running release would be disturbed (templated).
    :param serving_conn_id: connection to the serving system (templated).
    :param registry_conn_id: connection to the registry (templated).
    :param store_conn_id: Airflow connection for the model store, where it needs one (templated).
    :raises InvalidRequestError: when the version is live already, never was, or its archive is gone.
    :raises ServiceUnavailableError: while a release of the model is running.
    """

    template_fields: Sequence[str] = (
        "model",
        "version",
        "store_uri",
        "release_dag_id",
        "serving_conn_id",
        "registry_conn_id",
        "store_conn_id",
    )

    def __init__(
        self,
        *,
        model: str,
        version: str,
        store_uri: str,
        release_dag_id: str,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str = "registry_default",
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.store_uri = store_uri
        self.release_dag_id = release_dag_id
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Choose."""
        if context["ti"].get_dr_count(dag_id=self.release_dag_id, states=_ACTIVE_RUNS):
            raise ServiceUnavailableError(
                f"A release of {self.model} is running ({self.release_dag_id}). Wait for its end, or mark it failed: "
                "it then puts back by itself what was live."
            )
        serving: ServingService = get_service(self.serving_conn_id, SERVING_HOOKS)
        registry: RegistryService = get_service(self.registry_conn_id, REGISTRY_HOOKS)
        live = serving.get_live(self.model)
        live_version = live.version if live else ""
        release = self._choose(serving, registry, live_version)
        candidate_uri = f"{self.store_uri}/{release.version}/candidate.json"
        read_candidate(candidate_uri, model=self.model, version=release.version, conn_id=self.store_conn_id)
        self.log.info(
            "%s %s will be put back in the place of %s.", self.model, release.version, live_version or "nothing"
        )
        return {"version": release.version, "live_version": live_version, "candidate_uri": candidate_uri}

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
        if release.state not in _HAVE_BEEN_LIVE:
            raise InvalidRequestError(
                f"{self.model} {version} is {release.state.value} and was never live. A roll back only puts back what "
                "was; start a release for anything else."
            )
        return release


class RecordRollBackOperator(BaseOperator):
    """Record that a release was put back by hand: by whom, and why.

    :param model: name of the model (templated).
    :param version: version that is live again (templated).
    :param rolled_back_version: version that was live before; empty when none was (templated).
    :param reason: why, in the words of whoever did it (templated).
    :param serving_conn_id: connection to the serving system (templated).
    :param registry_conn_id: connection to the registry (templated).
    :raises CheckFailedError: when another version is live than the one that was put back.
    """

    template_fields: Sequence[str] = (
        "model",
        "version",
        "rolled_back_version",
        "reason",
        "serving_conn_id",
        "registry_conn_id",
    )

    def __init__(
        self,
        *,
        model: str,
        version: str,
        rolled_back_version: str,
        reason: str,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str = "registry_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.rolled_back_version = rolled_back_version
        self.reason = reason
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id

    def execute(self, context: Context) -> None:
        """Record it."""
        serving: ServingService = get_service(self.serving_conn_id, SERVING_HOOKS)
        registry: RegistryService = get_service(self.registry_conn_id, REGISTRY_HOOKS)
        live = serving.get_live(self.model)
        if live is None or live.version != self.version:
            raise CheckFailedError("live version", expected=self.version, got=live.version if live else "none")
        by = f"by {context['dag_run'].triggering_user_name or 'somebody without a name'}: {self.reason or 'no reason'}"
        registry.set_state(self.model, self.version, ReleaseState.LIVE, reason=f"put back {by}")
        if self.rolled_back_version:
            registry.set_state(
                self.model,
                self.rolled_back_version,
                ReleaseState.ROLLED_BACK,
                reason=f"rolled back to {self.version} {by}",
            )
        self.log.info("%s %s is live again, put back %s.", self.model, self.version, by)


def _newest_retired(registry: RegistryService, model: str, live_version: str) -> str | None:
    """Return the newest version that was live once and is not now, where the serving system keeps none."""
    for release in registry.list_releases(model, limit=50):
        if release.state is ReleaseState.RETIRED and release.version != live_version:
            return release.version
    return None
