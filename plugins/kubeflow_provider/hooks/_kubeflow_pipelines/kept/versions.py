"""Pipelines that the server keeps, and their versions.

What we upload is uploaded once: a version is named after the digest of what it holds, and used again when it is there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.recurring_runs import RecurringRunRequest
from kubeflow_provider.pipelines.spec import parse_pipeline_spec
from kubeflow_provider.services import RunRequest

log = logging.getLogger(__name__)

_LARGEST_UPLOAD_BYTES = 32 * 1024 * 1024
_LONGEST_NAME = 127
_DIGEST_DIGITS = 16


def find_version(client: HttpClient, pipeline: str, version: str | None, *, namespace: str | None) -> PipelineSpec:
    """Return what a version on the server holds, with the reference of it.

    :param pipeline: name or id; a name in the namespace goes before one that all namespaces share.
    :param version: name or id; ``None`` for the newest.
    :param namespace: where pipelines belong to a namespace.
    :raises InvalidRequestError: when there is none.
    """
    pipeline_id = _pipeline_id(client, pipeline, namespace)
    found = _newest(client, pipeline_id) if version is None else _version(client, pipeline_id, version)
    if found is None:
        which = "has no version yet" if version is None else f"has no version {version!r}, as name or as id"
        raise InvalidRequestError(f"Pipeline {pipeline!r} {which} on this server.")
    name = found.get("display_name") or found.get("name")
    reference = {"pipeline_id": pipeline_id, "pipeline_version_id": str(found["pipeline_version_id"])}
    log.info("Pipeline %s is taken as its version %s (%s).", pipeline, name, reference["pipeline_version_id"])
    spec = parse_pipeline_spec(found.get("pipeline_spec", {}), source=f"{pipeline}, version {name}")
    return replace(spec, reference=reference)


def get_or_upload_version(client: HttpClient, spec: PipelineSpec, *, namespace: str | None) -> dict[str, str]:
    """Return the reference of the version that holds exactly this pipeline; somebody else may make it meanwhile.

    :param spec: with the cluster settings in it, as it is to run.
    :param namespace: where pipelines belong to a namespace.
    """
    pipeline_id = _get_or_create_pipeline(client, spec.name, namespace)
    name = version_name(spec)
    version_id = _find_version(client, pipeline_id, name) or _upload(client, pipeline_id, name, spec)
    return {"pipeline_id": pipeline_id, "pipeline_version_id": version_id}


def source_of(
    client: HttpClient, request: RunRequest | RecurringRunRequest, spec: PipelineSpec, *, namespace: str | None
) -> dict[str, Any]:
    """Return where the server has a run's pipeline from.

    :param spec: the request's, with the cluster settings in it.
    :param namespace: where pipelines belong to a namespace.
    """
    if spec.reference and spec == request.pipeline:
        return {"pipeline_version_reference": dict(spec.reference)}
    if spec.reference or not request.keep_pipeline:
        return {"pipeline_spec": spec.to_json()}
    return {"pipeline_version_reference": get_or_upload_version(client, spec, namespace=namespace)}


def version_name(spec: PipelineSpec) -> str:
    """Return the pipeline's name with the digest of its documents.

    With the pipeline's name in it, because a server that keeps pipelines in Kubernetes wants names of versions that
    are unique in their namespace.
    """
    return f"{spec.name[: _LONGEST_NAME - _DIGEST_DIGITS - 1]}-{spec.sha256[:_DIGEST_DIGITS]}"


def _pipeline_id(client: HttpClient, pipeline: str, namespace: str | None) -> str:
    if _is_id(pipeline) and (by_id := _present(api.get_pipeline(pipeline), client)):
        return str(by_id["pipeline_id"])
    for scope in dict.fromkeys((namespace, None)):
        if by_name := _find_pipeline(client, pipeline, scope):
            return by_name
    where = f"in namespace {namespace}, nor is one shared by all," if namespace else "on this server"
    raise InvalidRequestError(f"There is no pipeline {pipeline!r} {where} by its name or id.")


def _version(client: HttpClient, pipeline_id: str, version: str) -> Mapping[str, Any] | None:
    if _is_id(version) and (by_id := _present(api.get_version(pipeline_id, version), client)):
        return by_id
    return _named_version(client, pipeline_id, version)


def _newest(client: HttpClient, pipeline_id: str) -> Mapping[str, Any] | None:
    rows = api.list_versions(pipeline_id=pipeline_id, sort_by="created_at desc", page_size=1).send(client)
    return next(iter(rows.get("pipeline_versions", [])), None)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _present(call: api.Call, client: HttpClient) -> Mapping[str, Any] | None:
    """Return what a call finds, ``None`` when that is not there."""
    try:
        found: Mapping[str, Any] = call.send(client)
    except InvalidRequestError as error:
        if error.http_status != 404:
            raise
        return None
    return found


def _get_or_create_pipeline(client: HttpClient, name: str, namespace: str | None) -> str:
    if found := _find_pipeline(client, name, namespace):
        return found
    try:
        return str(api.create_pipeline(name=name, namespace=namespace).send(client)["pipeline_id"])
    except InvalidRequestError as error:
        if error.http_status != 409 or not (found := _find_pipeline(client, name, namespace)):
            raise
        return found


def _find_pipeline(client: HttpClient, name: str, namespace: str | None) -> str | None:
    found = _present(api.get_pipeline_by_name(name=name, namespace=namespace), client)
    return str(found["pipeline_id"]) if found else None


def _find_version(client: HttpClient, pipeline_id: str, name: str) -> str | None:
    found = _named_version(client, pipeline_id, name)
    return str(found["pipeline_version_id"]) if found else None


def _named_version(client: HttpClient, pipeline_id: str, name: str) -> Mapping[str, Any] | None:
    # Every server knows this key; where names and display names are told apart, they are the same for ours.
    call = api.list_versions(pipeline_id=pipeline_id, filter=api.where("display_name", "EQUALS", name))
    rows: list[Mapping[str, Any]] = call.send(client).get("pipeline_versions", [])
    return next((row for row in rows if row["display_name"] == name), None)


def _upload(client: HttpClient, pipeline_id: str, name: str, spec: PipelineSpec) -> str:
    content = _as_yaml(spec)
    try:
        version: Mapping[str, Any] = api.upload_version(pipeline_id=pipeline_id, name=name, content=content).send(
            client
        )
    except InvalidRequestError as error:
        if error.http_status == 409 and (found := _find_version(client, pipeline_id, name)):
            return found
        if error.http_status == 400:
            # This is all that the server says, also when the caller is not allowed to.
            raise InvalidRequestError(
                f"{error} Either the caller may not create pipelines in this namespace (verb create, resource "
                "pipelines, group pipelines.kubeflow.org), which a run of a `pipeline_spec` "
                "does not need, or the server cannot read this pipeline.",
                http_status=400,
            ) from error
        raise
    log.info("Uploaded pipeline %s as version %s.", spec.name, name)
    return str(version["pipeline_version_id"])


def _as_yaml(spec: PipelineSpec) -> bytes:
    content = spec.to_yaml()
    if len(content) > _LARGEST_UPLOAD_BYTES:
        raise InvalidRequestError(
            f"Pipeline {spec.name!r} has {len(content) / 2**20:.0f} MiB, and Kubeflow takes 32 at most; move what is "
            "embedded in its components into the image."
        )
    return content
