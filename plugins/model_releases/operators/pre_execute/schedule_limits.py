"""Holds back a release that nobody asked for and that is not due: ``pre_execute`` of its first task."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.monitoring.labels import LABELLED_REQUESTS
from include.contracts.queries import query_names
from include.contracts.schedule import ScheduleConfig
from include.contracts.version.files import reason_of
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks import get_pipeline_service
from model_releases.addresses import refuse_shown, with_secrets
from model_releases.memory import xcoms
from model_releases.memory.run_trigger import Trigger
from model_releases.registry import get_registry_service
from model_releases.rules.schedule_limits import Situation, announced_rows, reason_to_wait
from model_releases.versions import as_of, version_time

if TYPE_CHECKING:
    from airflow.sdk import Context

    from model_releases.registry.service import Release

#: Counts training rows: ``--data`` and ``--output-uri``, to which it writes ``[{"uri": …, "rows": …}]``. Of dated data
#: it counts what came ``--since`` a day, and says so with ``"is_new": true``.
ROWS_MODULE = "include.classifier.data.source_rows"

_ROWS_TIMEOUT_SECONDS = 1800

log = logging.getLogger(__name__)


class ReleaseBrakes:
    """Skip the release when it is not due, with the reason in one line. By hand it passes at once, a *Clear* included.

    The task that it stands before needs the model's assets as ``inlets``, to see their events.

    :param schedule: section of the model's YAML.
    :param model: name of the model.
    :param data: the data settings as JSON (templated).
    :param store_uri: folder of the model in the model store.
    :param cluster: ``cluster`` section of the model's YAML, for the pod that counts rows.
    :param pipelines_conn_id: connection to the pipeline service, which counts rows.
    :param registry_conn_id: connection to the registry, which knows the releases.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    """

    def __init__(
        self,
        *,
        schedule: ScheduleConfig,
        model: str,
        data: str,
        store_uri: str,
        cluster: Mapping[str, Any] | None = None,
        pipelines_conn_id: str = "pipelines_default",
        registry_conn_id: str = "registry_default",
        store_conn_id: str | None = None,
    ) -> None:
        self.schedule = schedule
        self.model = model
        self.data = data
        self.store_uri = store_uri
        self.cluster = cluster or {}
        self.pipelines_conn_id = pipelines_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def __call__(self, context: Context) -> None:
        """Let the release go on, or skip it.

        :raises AirflowSkipException: when it is not due.
        """
        trigger = Trigger.of(context["dag_run"])
        if trigger is Trigger.MANUAL or _was_cleared(context):
            return
        reason = reason_to_wait(self.schedule, self._situation(context, trigger))
        if reason is None:
            log.info("Started by %s: the release of %s is due.", _STARTED_BY[trigger], self.model)
            return
        log.info("Started by %s, and not due: %s.", _STARTED_BY[trigger], reason)
        context["ti"].xcom_push(key=xcoms.NOT_DUE, value=reason)
        raise AirflowSkipException(f"Not due: {reason}.")

    def _situation(self, context: Context, trigger: Trigger) -> Situation:
        registry = get_registry_service(self.registry_conn_id)
        newest = registry.list_releases(self.model, limit=1)
        live = registry.get_live(self.model)
        live_time = version_time(live.version) if live else None

        def new_rows() -> int | None:
            announced = announced_rows([event.extra for event in _events(context, live_time)])
            return announced if announced is not None else self._counted_rows(context, live)

        return Situation(
            trigger=trigger,
            now=datetime.now(UTC),
            asked=context["dag_run"].run_after,
            last=version_time(newest[0].version) if newest else None,
            live=live_time,
            waiting=_waiting(context),
            events_since=lambda time: len(_events(context, time)),
            new_rows=new_rows,
        )

    def _counted_rows(self, context: Context, live: Release | None) -> int | None:
        """Count the rows of the sources as they are now, and compare with what the live model's release read."""
        dataset = self._read(live.facts["dataset_uri"]) if live and "dataset_uri" in live.facts else None
        if dataset is None:
            log.warning("What the live %s was trained on is not known any more: its rows are no brake.", self.model)
            return None
        uri = f"{self.store_uri}/source-rows.json"
        pipelines = get_pipeline_service(self.pipelines_conn_id)
        data = context["task"].render_template(self.data, context)
        settings = json.loads(data)
        named = [one for field in ("train", "evaluation", "allowed_sources") for one in settings.get(field, ())]
        refuse_shown(pipelines, with_secrets(named))
        pipelines.run_module(
            ROWS_MODULE,
            {
                "data": data,
                "output-uri": uri,
                "as-of": as_of(context["dag_run"]),
                "timezone": self.schedule.timezone,
                "since": (dataset.get("window") or {}).get("last", ""),
            },
            timeout_seconds=_ROWS_TIMEOUT_SECONDS,
            cluster=self.cluster,
        )
        counted = self._read(uri)
        if counted is None:
            raise ServiceUnavailableError(f"{uri} is not there, though {ROWS_MODULE} has written it.")
        before, now = _rows(_counted(dataset)), _rows(counted)
        if now.keys() != before.keys():
            log.info("The live %s was trained on other sources: their rows are no brake.", self.model)
            return None
        if query_names(now):
            log.info("Rows of queries are not counted before they are run: they are no brake.")
            return None
        # Of dated data the rows of later days were counted, of other sources all there are.
        for source in counted:
            if source.get("is_new"):
                before[str(source["uri"])] = 0
        return sum(now.values()) - sum(before.values())

    def _read(self, uri: str) -> Any:
        """Return a JSON document of the model store, ``None`` when there is none."""
        from airflow.sdk import ObjectStoragePath

        try:
            return json.loads(ObjectStoragePath(uri, conn_id=self.store_conn_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ServiceUnavailableError(f"{uri} cannot be read: {reason_of(error)}.") from error
        except json.JSONDecodeError as error:
            raise InvalidRequestError(f"{uri} is not JSON: {error.msg} in line {error.lineno}.") from error


_STARTED_BY = {Trigger.SCHEDULED: "the schedule", Trigger.ASSET: "new data"}


def _rows(sources: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return source -> its rows; the addresses of a dated source are one."""
    rows: Counter[str] = Counter()
    for source in sources:
        rows[str(source.get("named") or source["uri"])] += int(source["rows"])
    return rows


def _counted(dataset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the training sources whose rows are counted: labels that arrive are no new data by themselves."""
    return [each for each in dataset["sources"] if each["split"] == "train" and each.get("named") != LABELLED_REQUESTS]


def _was_cleared(context: Context) -> bool:
    """Return whether a person has asked for this task once more: *Clear* allows it as many tries again."""
    return (context["ti"].max_tries or 0) > (context["task"].retries or 0)


def _waiting(context: Context) -> int:
    """Return how many runs of this DAG are queued: only one runs at a time, and each was asked for after this one."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return RuntimeTaskInstance.get_dr_count(dag_id=context["dag"].dag_id, states=["queued"])


def _events(context: Context, after: datetime | None) -> list[Any]:
    """Return the events of the task's assets since a time, ``None`` for all."""
    inlets: Iterable[Any] = context["task"].inlets
    found: list[Any] = []
    for asset in inlets:
        events = context["inlet_events"][asset]
        found += events if after is None else events.after(after.isoformat())
    return found
