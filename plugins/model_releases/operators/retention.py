"""Deletes the files of old versions, so that a model store does not grow for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.contracts.monitoring.capture import CaptureConfig
from include.contracts.monitoring.retention import captured_before
from include.contracts.settings import RetentionConfig
from include.contracts.version.files import reason_of
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks import get_serving_service
from model_releases import ids
from model_releases.config import read_section
from model_releases.memory.active_runs import active_runs, live_at_start, roll_back_under_way
from model_releases.memory.claims import release_version, this_installation
from model_releases.memory.model_store import ModelStore
from model_releases.registry import get_registry_service
from model_releases.rules.retention import ARCHIVE_DELETED_AT, Verdict, decide

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import ServingService
    from model_releases.registry.service import RegistryService

_EVERY_RELEASE = 1_000_000


class RetentionOperator(BaseOperator):
    """Delete the files of a model's old versions from the store, and take what is left of them out of service.

    What is live, the version before it, and whatever a running release uses stays. The registry keeps every record;
    one whose files are gone gets the fact ``archive_deleted_at``. Killed halfway, the next run goes on. Of a store that
    several installations use each deletes what it has made, once none of the others needs it any more. Returns (as
    XCom) ``deleted``, ``captured`` (days and bytes of captured requests), ``bytes`` (deleted, or to be deleted) and
    ``versions``: all with their sizes and why they stay or go.

    :param model: name of the model (templated).
    :param store_uri: folder of the model in the model store (templated).
    :param policy: settings of :class:`~include.contracts.settings.RetentionConfig` (templated).
    :param capture: settings of :class:`~include.contracts.monitoring.capture.CaptureConfig`: captured requests and
        labels of earlier days than its ``retention_days`` go, too, also where nothing is captured any more (templated).
    :param delete: delete, and do not only say what would go: a bool, or a template that renders to one (templated).
    :param release_dag_id: the model's release DAG, whose running releases keep what they use (templated).
    :param other_store_uris: folders of the other models, which must not lie in a version of this one.
    :param serving_conn_id: connection to the serving system.
    :param registry_conn_id: connection to the registry.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    :raises InvalidRequestError: when registry and serving disagree about what is live: nothing is deleted then.
    :raises ServiceUnavailableError: when a service does not answer, or somebody rolls the model back.
    """

    template_fields: Sequence[str] = ("model", "store_uri", "policy", "capture", "delete", "release_dag_id")

    def __init__(
        self,
        *,
        model: str,
        store_uri: str,
        policy: Mapping[str, Any],
        capture: Mapping[str, Any] | None = None,
        delete: bool | str = False,
        release_dag_id: str,
        other_store_uris: Sequence[str] = (),
        serving_conn_id: str = "serving_default",
        registry_conn_id: str = "registry_default",
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.store_uri = store_uri
        self.policy = policy
        self.capture = capture or {}
        self.delete = delete
        self.release_dag_id = release_dag_id
        self.other_store_uris = other_store_uris
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide, say it, and delete."""
        store = ModelStore(self.store_uri, conn_id=self.store_conn_id, other_uris=self.other_store_uris)
        serving = get_serving_service(self.serving_conn_id)
        registry = get_registry_service(self.registry_conn_id)
        delete = str(self.delete).lower() == "true"
        captured = self._captured(store, delete=delete)
        self._wait_for_roll_backs(context)
        verdicts: list[Verdict] = []
        if versions := store.versions():  # without any, nobody need be asked what is in use
            releases = {entry.version: entry for entry in registry.list_releases(self.model, limit=_EVERY_RELEASE)}
            in_use = {version: why for version in versions if (why := store.obstacle(version))}
            in_use |= self._elsewhere(store, [version for version in versions if version not in in_use])
            in_use |= self._in_use(context, serving, registry)
            policy = read_section(RetentionConfig, self.policy, name="retention")
            verdicts = decide(versions, releases, in_use, policy, now=datetime.now(UTC))
        sizes = {verdict.version: store.size_bytes(verdict.version) for verdict in verdicts}
        going = [verdict for verdict in verdicts if verdict.goes]
        self._say(verdicts, sizes, delete=delete)
        if delete:
            for verdict in going:
                self._delete(context, verdict.version, store, serving, registry if verdict.state else None)
        return {
            "deleted": delete,
            "captured": captured,
            "bytes": sum(sizes[verdict.version] for verdict in going),
            "versions": [{**asdict(verdict), "size_bytes": sizes[verdict.version]} for verdict in verdicts],
        }

    def _captured(self, store: ModelStore, *, delete: bool) -> dict[str, int]:
        """Delete captured requests and labels of days that are over; return how many days and bytes."""
        policy = read_section(CaptureConfig, self.capture, name="capture")
        first_kept = datetime.now(UTC).date() - timedelta(days=policy.retention_days)
        try:
            found = captured_before(store.folder, first_kept, delete=delete)
        except OSError as error:
            raise ServiceUnavailableError(
                f"Captured requests of {self.model} cannot be deleted: {reason_of(error)}."
            ) from error
        if found.days:
            word = "deleted" if delete else "would go"
            self.log.info(
                "%s: requests and labels of %d days before %s with %s %s.",
                *(self.model, found.days, first_kept, megabytes(found.bytes), word),
            )
        return {"days": found.days, "bytes": found.bytes}

    def _elsewhere(self, store: ModelStore, versions: Sequence[str]) -> dict[str, str]:
        """Return what belongs to another installation with the same store, or is needed there."""
        here, found = this_installation(), {}
        for version in versions:
            if store.made_elsewhere(version, here):
                if not store.is_taken_over(version, by=here):
                    found[version] = "another installation has made it"
            elif store.is_taken_over(version):
                found[version] = "another installation has taken it over"
        return found

    def _in_use(self, context: Context, serving: ServingService, registry: RegistryService) -> dict[str, str]:
        live, recorded = serving.get_live(self.model), registry.get_live(self.model)
        live_version, recorded_version = (found.version if found else None for found in (live, recorded))
        if live_version != recorded_version:
            raise InvalidRequestError(
                f"Nothing of {self.model} is deleted: the registry says that {recorded_version or 'nothing'} is live, "
                f"serving answers with {live_version or 'nothing'}. Release a version or roll back to one, so that "
                "both agree."
            )
        found: dict[str, str] = {}
        for dag_id in (self.release_dag_id, ids.take_over_dag(self.model)):
            for run in active_runs(context, dag_id):
                found[live_at_start(dag_id, run.run_id)] = f"release {release_version(run)} compares with it"
                found[release_version(run)] = "its release is running"
        if previous := serving.get_previous(self.model):
            found[previous] = "the version before the live one"
        if live_version:
            found[live_version] = "live"
        return found

    def _wait_for_roll_backs(self, context: Context) -> None:
        if run := roll_back_under_way(context, self.model):
            raise ServiceUnavailableError(
                f"{self.model} is being rolled back by hand ({run}). Nothing of it is deleted meanwhile."
            )

    def _delete(
        self,
        context: Context,
        version: str,
        store: ModelStore,
        serving: ServingService,
        registry: RegistryService | None,
    ) -> None:
        if registry is not None:
            # Before the look for roll backs: one that begins now either sees this mark or is seen.
            now = datetime.now(UTC).isoformat(timespec="seconds")
            registry.add_facts(self.model, version, {ARCHIVE_DELETED_AT: now})
            try:
                self._wait_for_roll_backs(context)
            except ServiceUnavailableError:
                registry.add_facts(self.model, version, {ARCHIVE_DELETED_AT: ""})
                raise
        serving.remove(self.model, version)  # refuses what is live
        here = this_installation()
        if store.made_elsewhere(version, here):
            store.let_go(version, here)
            self.log.info("%s %s is left to the installation that has made it.", self.model, version)
            return
        store.delete(version)
        self.log.info("Deleted %s %s.", self.model, version)

    def _say(self, verdicts: Sequence[Verdict], sizes: Mapping[str, int], *, delete: bool) -> None:
        word = "goes" if delete else "would go"
        for verdict in verdicts:
            self.log.info(
                "%s  %9s  %-11s  %-8s  %s",
                verdict.version,
                megabytes(sizes[verdict.version]),
                verdict.state or "unknown",
                word if verdict.goes else "stays",
                verdict.why,
            )
        going = [verdict.version for verdict in verdicts if verdict.goes]
        self.log.info(
            "%s: %d of %d versions with %s %s.",
            self.model,
            len(going),
            len(verdicts),
            megabytes(sum(sizes[version] for version in going)),
            "go" if delete else "would go; nothing is deleted",
        )


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / 1e6:,.1f} MB"
