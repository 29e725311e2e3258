"""Uploads a pipeline once: a version is named after the digest of what it holds, and used again when it is there."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import yaml

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient
from kubeflow_provider.pipelines.spec import PipelineSpec

log = logging.getLogger(__name__)

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LARGEST_UPLOAD_BYTES = 32 * 1024 * 1024
_LONGEST_NAME = 127
_DIGEST_DIGITS = 16


def get_or_upload_version(client: HttpClient, spec: PipelineSpec, *, namespace: str | None) -> dict[str, str]:
    """Return the reference of the version that holds exactly this pipeline; somebody else may make it meanwhile.

    :param spec: with the cluster settings in it, as it is to run.
    :param namespace: where pipelines belong to a namespace.
    """
    pipeline_id = _get_or_create_pipeline(client, spec.name, namespace)
    name = version_name(spec)
    version_id = _find_version(client, pipeline_id, name) or _upload(client, pipeline_id, name, spec)
    return {"pipeline_id": pipeline_id, "pipeline_version_id": version_id}


def version_name(spec: PipelineSpec) -> str:
    """Return the pipeline's name with the digest of its documents.

    With the pipeline's name in it, because a server that keeps pipelines in Kubernetes wants names of versions that
    are unique in their namespace.
    """
    documents = json.dumps([spec.document, spec.platform], sort_keys=True).encode()
    digest = hashlib.sha256(documents).hexdigest()[:_DIGEST_DIGITS]
    return f"{spec.name[: _LONGEST_NAME - _DIGEST_DIGITS - 1]}-{digest}"


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
    try:
        return str(api.get_pipeline_by_name(name=name, namespace=namespace).send(client)["pipeline_id"])
    except InvalidRequestError as error:
        if error.http_status != 404:
            raise
        return None


def _find_version(client: HttpClient, pipeline_id: str, name: str) -> str | None:
    # Every server knows this key; where names and display names are told apart, they are the same for ours.
    call = api.list_versions(pipeline_id=pipeline_id, filter=api.where("display_name", "EQUALS", name))
    for row in call.send(client).get("pipeline_versions", []):
        if row["display_name"] == name:
            return str(row["pipeline_version_id"])
    return None


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
                "pipelines, group pipelines.kubeflow.org), or the server cannot read this pipeline.",
                http_status=400,
            ) from error
        raise
    log.info("Uploaded pipeline %s as version %s.", spec.name, name)
    return str(version["pipeline_version_id"])


def _as_yaml(spec: PipelineSpec) -> bytes:
    documents = [dict(spec.document)] + ([dict(spec.platform)] if spec.platform else [])
    content: bytes = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, encoding="utf-8")
    if len(content) > _LARGEST_UPLOAD_BYTES:
        raise InvalidRequestError(
            f"Pipeline {spec.name!r} has {len(content) / 2**20:.0f} MiB, and Kubeflow takes 32 at most; move what is "
            "embedded in its components into the image."
        )
    return content
