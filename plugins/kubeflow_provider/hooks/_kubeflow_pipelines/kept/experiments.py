"""Finds an experiment by its name, or makes it."""

from __future__ import annotations

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient


def find_experiment(client: HttpClient, name: str, *, namespace: str | None) -> str | None:
    """Return the id of the experiment with exactly this name, ``None`` when there is none."""
    call = api.list_experiments(namespace=namespace, filter=api.where("display_name", "EQUALS", name))
    for row in call.send(client).get("experiments", []):
        if row["display_name"] == name:
            return str(row["experiment_id"])
    return None


def get_or_create_experiment(client: HttpClient, name: str, *, namespace: str | None) -> str:
    """Return the experiment's id; somebody else may make it at the same moment.

    :raises InvalidRequestError: when the name is taken by one that differs in upper and lower case only.
    """
    if found := find_experiment(client, name, namespace=namespace):
        return found
    try:
        return str(api.create_experiment(name=name, namespace=namespace).send(client)["experiment_id"])
    except InvalidRequestError as error:
        if error.http_status != 409:
            raise
        if found := find_experiment(client, name, namespace=namespace):
            return found
        raise InvalidRequestError(
            f"Experiment {name!r} cannot be made: Kubeflow does not tell upper case from lower case, and there is one "
            "that differs in this only. Use its spelling.",
            http_status=409,
        ) from error
