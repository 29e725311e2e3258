"""Recurring runs: schedules of Kubeflow's own.

The server has no way to change one, does not mind two of the same name, and takes no id of a client. So one is known
by its name in its experiment, and says in its description, by a digest, what it was asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.hooks._kubeflow_pipelines.kept.experiments import find_experiment, get_or_create_experiment
from kubeflow_provider.hooks._kubeflow_pipelines.kept.versions import source_of
from kubeflow_provider.hooks._kubeflow_pipelines.listing import list_documents
from kubeflow_provider.hooks._kubeflow_pipelines.runs import created_at
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.http.client import HttpClient
from kubeflow_provider.kubernetes.settings import ClusterSettings
from kubeflow_provider.pipelines import patch
from kubeflow_provider.pipelines.recurring_runs import RecurringRun, RecurringRunRequest

log = logging.getLogger(__name__)

#: The server's database keeps so many characters, and makes a schedule that it does not know of for more.
_LONGEST_DESCRIPTION = 255
_MARK = re.compile(r"\n?\[airflow asked for (?P<digest>[0-9a-f]{16})\]$")
#: Pauses before a recurring run is looked for that may be under way, in seconds.
_SETTLE_PAUSES = (1.0, 2.0, 4.0)
#: What of a recurring run can differ, and how a task says it.
_FIELDS = {
    "trigger": "cron, interval, start_time or end_time",
    "pipeline_version_reference": "the pipeline or its version",
    "pipeline_spec": "the pipeline",
    "runtime_config": "parameters",
    "max_concurrency": "max_concurrency",
    "no_catchup": "catchup",
}
#: The first server that looks for the newest version at each run, instead of when the recurring run is made.
_FOLLOWS_NEWEST = (2, 5)
_KEEPS_RUNS = (2, 16)


class _Server(Protocol):
    @property
    def version(self) -> str | None: ...


class RecurringRuns:
    """The part of a pipeline service that is about recurring runs.

    :ivar client: of the server.
    :ivar settings: of the connection.
    """

    client: HttpClient
    settings: PipelinesSettings

    @property
    def server(self) -> _Server:
        """Version of the server."""
        raise NotImplementedError

    @property
    def _namespace(self) -> str | None:
        raise NotImplementedError

    def create_recurring_run(self, request: RecurringRunRequest, *, replace: bool = False) -> RecurringRun:
        """Make a recurring run, or return the one that was made of the same request. Safe to repeat.

        One that is there stays as enabled, or as paused, as it is.

        :param replace: whether others of its name in its experiment are deleted, once it is there. Their runs go on.
        :raises InvalidRequestError: when the server refuses it, or another one has its name and is not to be replaced.
        :raises ServiceUnavailableError: when the server cannot make it now. Asking again is safe.
        """
        request.check()
        _described(request.description, _digest({}))  # its length, before anything is uploaded
        body = self._recurring_run_body(request)
        same, others = self._namesakes(body)
        if not same:
            if others and not replace:
                raise InvalidRequestError(_difference(others[0], body))
            same = self._made(body)
        else:
            log.info("Recurring run %s is there already.", request.display_name)
        # Of two that were made at the same moment everybody keeps the same one.
        kept, *twice = sorted(same, key=lambda row: (row.get("created_at", ""), row["recurring_run_id"]))
        for row in [*twice, *(others if replace else [])]:
            log.info("Recurring run %s (%s) is replaced.", row["display_name"], row["recurring_run_id"])
            self.delete_recurring_run(row["recurring_run_id"])
        return self._read_recurring_run(kept)

    def get_recurring_run(self, recurring_run_id: str) -> RecurringRun | None:
        """Return the recurring run, ``None`` when the server does not know it (any more)."""
        try:
            return self._read_recurring_run(api.get_recurring_run(recurring_run_id).send(self.client))
        except InvalidRequestError as error:
            if error.http_status != 404:
                raise
            return None

    def find_recurring_runs(self, display_name: str, *, experiment: str) -> list[RecurringRun]:
        """Return the recurring runs of this name in an experiment, the newest first. Names are not unique."""
        experiment_id = find_experiment(self.client, experiment, namespace=self._namespace)
        rows = self._named(display_name, experiment_id) if experiment_id else []
        return [self._read_recurring_run(row) for row in rows]

    def enable_recurring_run(self, recurring_run_id: str) -> None:
        """Have a recurring run start runs again. Safe to repeat.

        :raises InvalidRequestError: when there is none.
        """
        api.enable_recurring_run(recurring_run_id).send(self.client)

    def disable_recurring_run(self, recurring_run_id: str) -> None:
        """Have a recurring run start no more runs; those that go on do so. Safe to repeat.

        :raises InvalidRequestError: when there is none.
        """
        api.disable_recurring_run(recurring_run_id).send(self.client)

    def delete_recurring_run(self, recurring_run_id: str, *, keep_runs: bool = True) -> None:
        """Delete a recurring run. Harmless when it is gone.

        :param keep_runs: whether those of its runs that go on do so. Servers before 2.16 end them all the same.
        """
        if keep_runs and self._is_older_than(_KEEPS_RUNS):
            log.warning(
                "This Kubeflow is older than 2.16: runs of recurring run %s that go on end with it.", recurring_run_id
            )
        try:
            api.delete_recurring_run(recurring_run_id, keep_runs=keep_runs).send(self.client)
        except InvalidRequestError as error:
            if error.http_status != 404:
                raise

    def _recurring_run_body(self, request: RecurringRunRequest) -> dict[str, Any]:
        settings = ClusterSettings.from_mapping(request.cluster)
        spec = patch.apply(request.pipeline, settings, server_version=self.server.version)
        body: dict[str, Any] = {
            "display_name": request.display_name,
            "experiment_id": get_or_create_experiment(self.client, request.experiment, namespace=self._namespace),
            "trigger": request.schedule.to_trigger(),
            "max_concurrency": str(request.max_concurrency),
            "no_catchup": not request.catchup,
        }
        if request.follows_newest:
            body |= self._newest_of(request, is_changed=spec != request.pipeline)
        else:
            body |= source_of(self.client, request, spec, namespace=self._namespace)
        body["runtime_config"] = {"parameters": dict(request.parameters)}
        if root := settings.pipeline_root or self.settings.pipeline_root:
            body["runtime_config"]["pipeline_root"] = root
        if settings.service_account:
            body["service_account"] = settings.service_account
        return body | {
            "mode": "ENABLE" if request.is_enabled else "DISABLE",
            "description": _described(request.description, _digest(body)),
        }

    def _newest_of(self, request: RecurringRunRequest, *, is_changed: bool) -> dict[str, Any]:
        """Return the reference of a pipeline without one of its versions."""
        reference = request.pipeline.reference or {}
        if is_changed:
            raise InvalidRequestError(
                f"Cluster settings change pipeline {request.pipeline.name!r}, and each run is to take its newest "
                "version as the server has it then. Name the pipeline_version that is to be changed, or leave the "
                "settings out."
            )
        if self._is_older_than(_FOLLOWS_NEWEST):
            log.warning(
                "This Kubeflow is older than 2.5: all runs take the version of pipeline %s that is the newest now.",
                request.pipeline.name,
            )
        return {"pipeline_version_reference": {"pipeline_id": reference["pipeline_id"]}}

    def _is_older_than(self, version: tuple[int, int]) -> bool:
        told = self.server.version
        return told is not None and tuple(int(part) for part in told.split(".")[:2]) < version

    def _named(self, display_name: str, experiment_id: str) -> list[dict[str, Any]]:
        filter = api.where("display_name", "EQUALS", display_name)
        rows = list_documents(
            self.client,
            {"experiment_id": experiment_id},
            filter=filter,
            ask=api.list_recurring_runs,
            key="recurringRuns",
        )
        # The database does not tell upper case from lower case.
        return [row for row in rows if row["display_name"] == display_name]

    def _namesakes(self, body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the recurring runs of this name that were asked for in the same words, and the others."""
        same: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for row in self._named(body["display_name"], body["experiment_id"]):
            mark = _MARK.search(row.get("description", ""))
            (same if mark and mark["digest"] == _digest(body) else others).append(row)
        return same, others

    def _made(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Make it, and return what there is of it now: somebody else may have made another at the same moment."""
        try:
            made = api.create_recurring_run(body).send(self.client)
        except ServiceUnavailableError as error:
            return self._fate(body, error)
        log.info("Recurring run %s is made: %s.", body["display_name"], made["recurring_run_id"])
        return self._namesakes(body)[0] or [made]

    def _fate(self, body: Mapping[str, Any], error: ServiceUnavailableError) -> list[dict[str, Any]]:
        """Return what became of a POST that failed.

        :raises ServiceUnavailableError: the same one, when it came to nothing as far as can be seen.
        """
        if not error.was_sent or error.http_status == 429:
            raise error
        # What the server has answered it has finished with.
        for pause in [0.0] if error.http_status == 500 else _SETTLE_PAUSES:
            time.sleep(pause)
            if found := self._namesakes(body)[0]:
                return found
        raise error

    def _read_recurring_run(self, document: Mapping[str, Any]) -> RecurringRun:
        recurring_run_id = document["recurring_run_id"]
        return RecurringRun(
            recurring_run_id=recurring_run_id,
            display_name=document.get("display_name", ""),
            is_enabled=document.get("status") == "ENABLED",
            experiment_id=document.get("experiment_id", ""),
            description=_MARK.sub("", document.get("description", "")),
            trigger=document.get("trigger", {}),
            url=self.settings.recurring_run_url(recurring_run_id),
            created_at=created_at(document),
        )


def _digest(body: Mapping[str, Any]) -> str:
    """Return what tells two requests apart; as what one begins, and what people read of it, is not counted."""
    asked = {name: value for name, value in body.items() if name not in ("mode", "description")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _described(description: str, digest: str) -> str:
    mark = f"[airflow asked for {digest}]"
    text = f"{description}\n{mark}" if description else mark
    if len(text) > _LONGEST_DESCRIPTION:
        longest = _LONGEST_DESCRIPTION - len(mark) - 1
        raise InvalidRequestError(
            f"description: Kubeflow keeps {longest} characters of it, and this one has {len(description)}."
        )
    return text


def _difference(row: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Return what to tell of another recurring run that has the name."""
    differ = [words for field, words in _FIELDS.items() if _shown(row.get(field)) != _shown(body.get(field))]
    how = f"it differs in {', '.join(dict.fromkeys(differ))}" if differ else "it was not made of this request"
    return (
        f"There is a recurring run {body['display_name']!r} in this experiment already ({row['recurring_run_id']}), "
        f"and {how}. Kubeflow changes none: set replace=True to have a new one take its place, or give another "
        "display_name."
    )


def _shown(value: Any) -> Any:
    """Return a value as the server shows it: without what is empty."""
    if isinstance(value, Mapping):
        value = {name: item for name, item in value.items() if item not in ("", None, [], {})}
    return value or None
