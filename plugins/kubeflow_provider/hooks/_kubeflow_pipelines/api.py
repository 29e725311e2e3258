"""The calls of Kubeflow Pipelines' REST API, version v2beta1, and nothing else.

A call is a value: the same one goes out from a task (:meth:`Call.send`) and from a trigger (:meth:`Call.asend`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from kubeflow_provider.exceptions import OutageError, ServiceUnavailableError
from kubeflow_provider.http.client import HttpClient

_V2 = "/apis/v2beta1"
#: Version and mode of the server; needs no login.
HEALTH_PATH = f"{_V2}/healthz"

#: The server cuts larger pages down to 200 rows.
LARGEST_PAGE = 100


def _is_passing(error: BaseException) -> bool:
    # 500 is this server's word for many a lasting condition, a run whose workflow is gone among them.
    is_refused = isinstance(error, OutageError) and error.refusal is not None
    return isinstance(error, ServiceUnavailableError) and error.http_status != 500 and not is_refused


#: Short: a task that is stopped has five seconds to stop its run.
_AGAIN: dict[str, Any] = {
    "retry": retry_if_exception(_is_passing),
    "stop": stop_after_attempt(3),
    "wait": wait_exponential(multiplier=0.25, max=1),
    "reraise": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Parameters are as in :meth:`kubeflow_provider.http.client.HttpClient.request`.

    :param is_repeatable: whether it may go out again after a failure that passes although it changes something,
        because the second one changes nothing more; the client repeats nothing but GETs by itself.
    :param is_open: whether it needs no login.
    """

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    json: Any = None
    files: Any = None
    expect: Literal["json", "text"] = "json"
    is_repeatable: bool = False
    is_open: bool = False

    def send(self, client: HttpClient) -> Any:
        """Ask, and return the answer."""
        if self.is_repeatable:
            return Retrying(**_AGAIN)(client.request, self.method, self.path, **self._options())
        return client.request(self.method, self.path, **self._options())

    async def asend(self, client: HttpClient) -> Any:
        """Like :meth:`send`, without blocking the event loop."""
        if self.is_repeatable:
            return await AsyncRetrying(**_AGAIN)(client.arequest, self.method, self.path, **self._options())
        return await client.arequest(self.method, self.path, **self._options())

    def _options(self) -> dict[str, Any]:
        names = ("params", "json", "files", "expect", "is_open")
        return {name: getattr(self, name) for name in names}


def where(key: str, operation: str, value: str) -> str:
    """Return a filter for one field, for the query parameter ``filter``.

    The server decodes the filter once more than HTTP does, so it is encoded once more as well: the plus sign in the
    run id of a DAG run would arrive as a space.

    :param key: field, for example ``display_name``.
    :param operation: for example ``EQUALS``; the database compares without regard to case.
    """
    return _filter({"key": key, "operation": operation, "string_value": value})


def where_in(key: str, values: Sequence[str]) -> str:
    """Like :func:`where`, for a field that holds one of some values.

    A hundred run ids make a request line of about 6,000 characters; the gateways in front of Kubeflow take 8,000 and
    more.
    """
    return _filter({"key": key, "operation": "IN", "string_values": {"values": list(values)}})


def _filter(predicate: Mapping[str, Any]) -> str:
    return quote(json.dumps({"predicates": [predicate]}, separators=(",", ":")))


def get_health() -> Call:
    """Version and mode of the server; needs no permission."""
    return Call(method="GET", path=HEALTH_PATH, is_open=True)


def list_experiments(
    *, namespace: str | None, filter: str | None = None, page_size: int = LARGEST_PAGE, page_token: str | None = None
) -> Call:
    """Experiments of a namespace."""
    query = {"namespace": namespace, "filter": filter, "page_size": page_size, "page_token": page_token}
    return Call(method="GET", path=f"{_V2}/experiments", params=query)


def create_experiment(*, name: str, namespace: str | None) -> Call:
    """Make an experiment; 409 where there is one of that name."""
    body = {"display_name": name} | ({"namespace": namespace} if namespace else {})
    return Call(method="POST", path=f"{_V2}/experiments", json=body, is_repeatable=True)


def get_pipeline_by_name(*, name: str, namespace: str | None) -> Call:
    """Pipeline of that name."""
    return Call(method="GET", path=f"{_V2}/pipelines/names/{quote(name, safe='')}", params={"namespace": namespace})


def get_pipeline(pipeline_id: str) -> Call:
    """Pipeline of that id; 404 where there is none."""
    return Call(method="GET", path=f"{_V2}/pipelines/{quote(pipeline_id, safe='')}")


def list_pipelines(*, namespace: str | None, page_size: int = LARGEST_PAGE) -> Call:
    """Pipelines of a namespace."""
    return Call(method="GET", path=f"{_V2}/pipelines", params={"namespace": namespace, "page_size": page_size})


def create_pipeline(*, name: str, namespace: str | None) -> Call:
    """Make a pipeline that has no version yet; 409 where there is one of that name.

    Servers before 2.14 know no field ``name``; later ones make the name of the display name where it is missing.
    """
    body = {"display_name": name} | ({"namespace": namespace} if namespace else {})
    return Call(method="POST", path=f"{_V2}/pipelines", json=body, is_repeatable=True)


def list_versions(
    *, pipeline_id: str, filter: str | None = None, sort_by: str | None = None, page_size: int = 10
) -> Call:
    """Versions of a pipeline; each comes with its whole specification, so ask for few."""
    query = {"filter": filter, "sort_by": sort_by, "page_size": page_size}
    return Call(method="GET", path=f"{_V2}/pipelines/{quote(pipeline_id, safe='')}/versions", params=query)


def get_version(pipeline_id: str, version_id: str) -> Call:
    """Version of that id; 404 where there is none."""
    path = f"{_V2}/pipelines/{quote(pipeline_id, safe='')}/versions/{quote(version_id, safe='')}"
    return Call(method="GET", path=path)


def upload_version(*, pipeline_id: str, name: str, content: bytes) -> Call:
    """Make a version of a file; 409 where there is one of that name."""
    return Call(
        method="POST",
        path=f"{_V2}/pipelines/upload_version",
        params={"pipelineid": pipeline_id, "name": name},
        files={"uploadfile": ("pipeline.yaml", content, "application/yaml")},
        is_repeatable=True,
    )


def create_run(body: Mapping[str, Any]) -> Call:
    """Start a run. Not safe to repeat: see :mod:`kubeflow_provider.hooks._kubeflow_pipelines.submission`."""
    return Call(method="POST", path=f"{_V2}/runs", json=body)


def get_run(run_id: str) -> Call:
    """One run; 404 where there is none. Servers from 3.0 on tell its tasks where they are asked for them only."""
    return Call(method="GET", path=f"{_V2}/runs/{quote(run_id, safe='')}", params={"view": "FULL"})


def list_runs(
    *,
    namespace: str | None = None,
    experiment_id: str | None = None,
    filter: str | None = None,
    page_size: int = LARGEST_PAGE,
    page_token: str | None = None,
) -> Call:
    """Runs of an experiment or a namespace, the newest first."""
    query = {
        "namespace": namespace,
        "experiment_id": experiment_id,
        "filter": filter,
        "sort_by": "created_at desc",
        "page_size": page_size,
        "page_token": page_token,
    }
    return Call(method="GET", path=f"{_V2}/runs", params=query)


def terminate_run(run_id: str) -> Call:
    """Ask a run to stop; 400 where it is over."""
    return Call(method="POST", path=f"{_V2}/runs/{quote(run_id, safe='')}:terminate", is_repeatable=True)


def retry_run(run_id: str) -> Call:
    """Run the steps of a failed run again that did not succeed; 409 where it has not failed."""
    return Call(method="POST", path=f"{_V2}/runs/{quote(run_id, safe='')}:retry")


def archive_run(run_id: str) -> Call:
    """Take a run out of the lists that people see."""
    return Call(method="POST", path=f"{_V2}/runs/{quote(run_id, safe='')}:archive", is_repeatable=True)


def delete_run(run_id: str) -> Call:
    """Delete a run with its workflow; 404 where there is none."""
    return Call(method="DELETE", path=f"{_V2}/runs/{quote(run_id, safe='')}", is_repeatable=True)


def create_recurring_run(body: Mapping[str, Any]) -> Call:
    """Make a recurring run. Not safe to repeat: names are not unique, and the server takes no id of a client."""
    return Call(method="POST", path=f"{_V2}/recurringruns", json=body)


def get_recurring_run(recurring_run_id: str) -> Call:
    """One recurring run; 404 where there is none."""
    return Call(method="GET", path=f"{_V2}/recurringruns/{quote(recurring_run_id, safe='')}")


def list_recurring_runs(
    *,
    namespace: str | None = None,
    experiment_id: str | None = None,
    filter: str | None = None,
    page_size: int = LARGEST_PAGE,
    page_token: str | None = None,
) -> Call:
    """Recurring runs of an experiment or a namespace, the newest first. The answer calls them ``recurringRuns``."""
    query = {
        "namespace": namespace,
        "experiment_id": experiment_id,
        "filter": filter,
        "sort_by": "created_at desc",
        "page_size": page_size,
        "page_token": page_token,
    }
    return Call(method="GET", path=f"{_V2}/recurringruns", params=query)


def enable_recurring_run(recurring_run_id: str) -> Call:
    """Have a recurring run start runs; 500 where somebody has taken its ScheduledWorkflow away."""
    path = f"{_V2}/recurringruns/{quote(recurring_run_id, safe='')}:enable"
    return Call(method="POST", path=path, is_repeatable=True)


def disable_recurring_run(recurring_run_id: str) -> Call:
    """Have a recurring run start no more runs; 500 where somebody has taken its ScheduledWorkflow away."""
    path = f"{_V2}/recurringruns/{quote(recurring_run_id, safe='')}:disable"
    return Call(method="POST", path=path, is_repeatable=True)


def delete_recurring_run(recurring_run_id: str, *, keep_runs: bool) -> Call:
    """Delete a recurring run; 404 where there is none.

    Kubernetes takes those of its runs with it that go on, unless it is told otherwise; servers before 2.16 do not read
    the parameter.
    """
    return Call(
        method="DELETE",
        path=f"{_V2}/recurringruns/{quote(recurring_run_id, safe='')}",
        params={"propagation_policy": "ORPHAN" if keep_runs else None},
        is_repeatable=True,
    )


def get_pod_log(*, run_id: str, pod_name: str, namespace: str | None, created: str) -> Call:
    """What a pod has said, from the server of the UI: of the pod itself or, when it is gone, of the archive."""
    query = {"podname": pod_name, "runid": run_id, "podnamespace": namespace, "createdat": created}
    return Call(method="GET", path="/k8s/pod/logs", params=query, expect="text")


def get_node_log(*, run_id: str, pod_name: str) -> Call:
    """What a pod has said, from the API server. The status is always 200; an error stands at the body's end."""
    path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes/{quote(pod_name, safe='')}/log"
    return Call(method="GET", path=path, expect="text")
