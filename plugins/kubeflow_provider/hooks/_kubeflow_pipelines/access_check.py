"""What the connection form's Test button finds out: that the server answers, and lets the caller do what tasks do."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, PermissionDeniedError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient

#: No server has a pipeline of this id.
_NOBODY = "00000000-0000-0000-0000-000000000000"


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
    """Ask for a run of a pipeline that there is not: the server looks at the permission before it looks for that."""
    body = {
        "display_name": "Airflow's connection test",
        "experiment_id": experiment["experiment_id"],
        "pipeline_version_reference": {"pipeline_id": _NOBODY, "pipeline_version_id": _NOBODY},
    }
    try:
        api.create_run(body).send(client)
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            f"Runs can be looked at, but not started: {error}", http_status=error.http_status
        ) from error
    except KubeflowProviderError as error:
        # The server's word for a version that it does not find is 500; some say 404.
        if not isinstance(error, InvalidRequestError) and error.http_status != 500:
            return "whether runs may be started could not be found out"
    return "runs may be started"


def hint_at_address(base_url: str, error: KubeflowProviderError) -> str:
    """Return what to look at first when something else than the API may have answered, empty when nothing else has."""
    if error.http_status is None:
        return ""
    if not urlsplit(base_url).path:
        return " host has no path: on a Kubeflow platform the API is at https://.../pipeline."
    if error.http_status == 404:
        return (
            " Is the path right? It is /pipeline at a Kubeflow platform's gateway; the API server itself, such as "
            "http://ml-pipeline.kubeflow.svc:8888, has none."
        )
    return ""
