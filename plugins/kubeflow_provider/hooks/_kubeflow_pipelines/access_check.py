"""What the connection form's Test button finds out: that the server answers, and lets the caller do what tasks do."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kubeflow_provider.exceptions import KubeflowProviderError, PermissionDeniedError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient

#: A parameter that is not given, by whose name the refusal of a run is known to be for that.
_MISSING = "not-given-by-airflows-connection-test"
#: A pipeline that no server starts: its parameter has no value, and its one task names a component that there is not.
_NOT_TO_BE_STARTED = {
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.5.0",
    "pipelineInfo": {"name": "airflows-connection-test"},
    "root": {
        "inputDefinitions": {"parameters": {_MISSING: {"parameterType": "STRING"}}},
        "dag": {"tasks": {"none": {"taskInfo": {"name": "none"}, "componentRef": {"name": "comp-none"}}}},
    },
}


def check_access(client: HttpClient, *, namespace: str | None) -> str:
    """Look at experiments, pipelines and runs, and find out whether a run may be started, without starting one.

    :param namespace: ``None`` for a single-user server, which lets everybody do everything.
    :return: what has been found out, as the end of a sentence; empty where there is nothing to say.
    :raises KubeflowProviderError: naming what the caller may not do.
    """
    experiments = api.list_experiments(namespace=namespace, page_size=1).send(client).get("experiments", [])
    api.list_pipelines(namespace=namespace, page_size=1).send(client)
    api.list_runs(namespace=namespace, page_size=1).send(client)
    if namespace is None:
        return ""
    if not experiments:
        return "; whether runs may be started is not known before there is an experiment"
    return f"; {_try_to_start(client, experiments[0])}"


def _try_to_start(client: HttpClient, experiment: dict[str, Any]) -> str:
    """Ask for a run that lacks a parameter: the server looks at the permission first, and at parameters next.

    There is no question for it that only reads: the server asks Kubernetes about ``runs`` (SubjectAccessReview) when a
    run is to be made, and its own ``/apis/v2beta1/auth`` knows viewers only.
    """
    body = {
        "display_name": "Airflow's connection test",
        "experiment_id": experiment["experiment_id"],
        "pipeline_spec": _NOT_TO_BE_STARTED,
        "runtime_config": {"parameters": {}},
    }
    try:
        api.create_run(body).send(client)
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            f"Runs can be looked at, but not started: {error}", http_status=error.http_status
        ) from error
    except KubeflowProviderError as error:
        if _MISSING in str(error):
            return "runs may be started"
    return "whether runs may be started could not be found out"


def hint_at_address(base_url: str, error: KubeflowProviderError) -> str:
    """Return what to look at first when something else than the API may have answered, empty when nothing else has."""
    if error.http_status is None:
        return ""
    if not urlsplit(base_url).path:
        return " The address (host) has no path: on a Kubeflow platform the API is at https://.../pipeline."
    if error.http_status == 404:
        return (
            " Is the path right? It is /pipeline at a Kubeflow platform's gateway; the API server itself, such as "
            "http://ml-pipeline.kubeflow.svc:8888, has none."
        )
    return ""
