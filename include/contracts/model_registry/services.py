"""What the registry knows of the InferenceService of a model, where somebody wants that.

Kubeflow's registry has records of InferenceServices, and a controller that finds theirs by labels. Left alone it would
make the record when it first sees a service, and label the service with the record's id: KServe gives labels to pods,
so a live model would get new pods for it. With a record that was there before the service, and its id among the labels
that the service is made with, the controller changes no label.

The version that is live stands in the record, not in a label: labels stay what they were when the service was made.
"""

from __future__ import annotations

from typing import Any

from include.contracts.model_registry.calls import (
    CONFLICT,
    NOT_FOUND,
    Call,
    Document,
    Refused,
    RegistryRefusalError,
    Story,
)
from include.contracts.model_registry.settling import settled
from include.contracts.model_registry.things import MODELS, find_model, mark, marks_of
from include.contracts.registry_tags import SERVICE_MARK

#: Of labels that the registry's controller reads. With others it would not find its records.
LABEL_PREFIX = "modelregistry.kubeflow.org/"
_MODEL_LABEL, _RECORD_LABEL = f"{LABEL_PREFIX}registered-model-id", f"{LABEL_PREFIX}inference-service-id"
_ENVIRONMENTS, _SERVICES = "/serving_environments", "/inference_services"
_DEPLOYED, _UNDEPLOYED = "DEPLOYED", "UNDEPLOYED"


@settled
def service_labels(model: str, *, environment: str, may_make: bool) -> Story[dict[str, str]]:
    """Return the labels that the model's InferenceService is to be made with. Safe to repeat.

    :param environment: where it will be, a Kubernetes namespace.
    :param may_make: whether its record may be made; where there is none otherwise, there are no labels.
    :raises RegistryRefusalError: when the model was never registered.
    """
    known = yield from find_model(model)
    if known is None:
        raise RegistryRefusalError(f"{model} has no labels of the registry: it was never registered.")
    record = _record_of(known)
    if not record and not may_make:
        return {}
    if not record:
        record = yield from _make_record(known, environment)
        yield from mark(MODELS, known, {SERVICE_MARK: record})
    return {_MODEL_LABEL: str(known["id"]), _RECORD_LABEL: record}


def whose(name: str, namespace: str) -> dict[str, str]:
    """Return the labels that say which registry the ids of the others are of.

    :param name: of its Kubernetes Service. :param namespace: of that.
    """
    return {f"{LABEL_PREFIX}name": name, f"{LABEL_PREFIX}namespace": namespace}


def follow(model: Document, version: Document | None) -> Story[None]:
    """Let the record of the model's InferenceService, if there is one, say which version is live.

    :param version: ``None``: none is.
    """
    if not (record := _record_of(model)):
        return
    body: dict[str, Any] = {"desiredState": _UNDEPLOYED if version is None else _DEPLOYED}
    body |= {} if version is None else {"modelVersionId": str(version["id"])}
    # Without properties in it, what the controller has written stays.
    yield Call(method="PATCH", path=f"{_SERVICES}/{record}", body=body, refusals=NOT_FOUND)


def _record_of(model: Document) -> str:
    """Return the id of the record, empty where there is none, or somebody has written there what is no id."""
    record = marks_of(model).get(SERVICE_MARK, "")
    return record if record.isascii() and record.isdigit() else ""


def _make_record(model: Document, environment: str) -> Story[str]:
    place = yield from _made("/serving_environment", _ENVIRONMENTS, {"name": environment})
    body = {"name": str(model["name"]), "servingEnvironmentId": str(place["id"])}
    # Nothing is served yet.
    body |= {"registeredModelId": str(model["id"]), "desiredState": _UNDEPLOYED}
    record = yield from _made("/inference_service", _SERVICES, body, parentResourceId=str(place["id"]))
    return str(record["id"])


def _made(look_up: str, collection: str, body: dict[str, str], **parent: str) -> Story[Document]:
    """Return a thing of this name, made where there is none."""
    query = {"name": body["name"], **parent}
    for _ in range(2):
        found = yield Call(method="GET", path=look_up, params=query, refusals=NOT_FOUND)
        if not isinstance(found, Refused) and found.get("name") == body["name"]:
            return dict(found)
        made = yield Call(method="POST", path=collection, body=body, refusals=CONFLICT)
        if not isinstance(made, Refused):
            return dict(made)
        # Somebody else was quicker, or another spelling of the name is the same for the database.
    raise RegistryRefusalError(f"The registry has no {body['name']!r} in {collection} and makes none: {made.message}")
