"""Health, experiments, pipelines and their versions."""

from __future__ import annotations

import time
from email import policy
from email.parser import BytesParser
from typing import Any
from uuid import uuid4

import yaml

from tests.doubles.kfp_server.api import Api
from tests.doubles.kfp_server.checks import check_request, page, public
from tests.doubles.kfp_server.errors import ALREADY_EXISTS, INVALID_ARGUMENT, NOT_FOUND, ApiError, UploadError
from tests.doubles.kfp_server.transport import Request
from tests.doubles.kfp_server.values import timestamp, without_zero_values

_LARGEST_UPLOAD = 32 * 1024 * 1024


def get_health(api: Api, request: Request) -> Any:
    return without_zero_values(
        {
            "commit_sha": "7b70c7b95f6832772efd6fd0029a4024491a0f44",
            "tag_name": api.tag_name,
            "multi_user": api.multi_user,
            # Known since 2.14.
            "pipeline_store": "database" if api.version >= (2, 14) else "",
        }
    )


def list_experiments(api: Api, request: Request) -> Any:
    namespace = api.authorize(request.query.get("namespace", ""), "list", "experiments")
    rows = [row for row in api.experiments.values() if row.get("namespace", "") == namespace]
    return page("experiments", rows, request.query, {"experiment_id", "display_name", "created_at", "storage_state"})


def create_experiment(api: Api, request: Request) -> Any:
    body = check_request(request.body, "V2beta1Experiment", version=api.version)
    namespace = api.authorize(body.get("namespace", ""), "create", "experiments")
    if not body.get("display_name"):
        raise ApiError(INVALID_ARGUMENT, "Experiment's name cannot be empty", chain="Failed to create an experiment")
    if any(
        (row["display_name"].lower(), row.get("namespace", "")) == (body["display_name"].lower(), namespace)
        for row in api.experiments.values()
    ):
        raise ApiError(ALREADY_EXISTS, f"The name {body['display_name']} already exists. Please specify a new name")
    return api.add_experiment(body["display_name"], namespace)


def get_experiment(api: Api, request: Request, experiment_id: str) -> Any:
    return api.existing(api.experiments, experiment_id, "Experiment")


def list_pipelines(api: Api, request: Request) -> Any:
    namespace = api.authorize(request.query.get("namespace", ""), "list", "pipelines", shared=True)
    rows = [row for row in api.pipelines.values() if row.get("namespace", "") == namespace]
    return page("pipelines", rows, request.query, {"pipeline_id", "name", "display_name", "created_at", "description"})


def create_pipeline(api: Api, request: Request) -> Any:
    body = check_request(request.body, "V2beta1Pipeline", version=api.version)
    namespace = api.authorize(body.get("namespace", ""), "create", "pipelines", shared=True)
    name = body.get("name") or body.get("display_name")
    if not name:
        raise ApiError(INVALID_ARGUMENT, "Pipeline's name cannot be empty")
    if any((row["_name"], row.get("namespace", "")) == (name, namespace) for row in api.pipelines.values()):
        raise ApiError(ALREADY_EXISTS, f"The pipeline name {name} already exists. Please specify a new name")
    row = without_zero_values(
        {
            "pipeline_id": str(uuid4()),
            "name": name if api.version >= (2, 14) else "",
            "display_name": body.get("display_name") or name,
            "description": body.get("description", ""),
            "namespace": namespace,
            "created_at": timestamp(time.time()),
        }
    )
    api.pipelines[row["pipeline_id"]] = {**row, "_name": name}
    return row


def get_pipeline_by_name(api: Api, request: Request, name: str) -> Any:
    namespace = api.authorize(request.query.get("namespace", ""), "get", "pipelines", shared=True)
    for row in api.pipelines.values():
        if (row["_name"].lower(), row.get("namespace", "")) == (name.lower(), namespace):
            return public(row)
    raise ApiError(NOT_FOUND, f"Pipeline {name} not found", chain="Failed to get a pipeline by name and namespace")


def get_pipeline(api: Api, request: Request, pipeline_id: str) -> Any:
    row = api.existing(api.pipelines, pipeline_id, "Pipeline")
    api.authorize(row.get("namespace", ""), "get", "pipelines", shared=True)
    return public(row)


def get_version(api: Api, request: Request, pipeline_id: str, version_id: str) -> Any:
    pipeline = api.existing(api.pipelines, pipeline_id, "Pipeline")
    api.authorize(pipeline.get("namespace", ""), "get", "pipelines", shared=True)
    return public(api.existing(api.versions, version_id, "PipelineVersion"))


def list_versions(api: Api, request: Request, pipeline_id: str) -> Any:
    api.existing(api.pipelines, pipeline_id, "Pipeline")
    rows = [row for row in api.versions.values() if row["pipeline_id"] == pipeline_id]
    return page("pipeline_versions", rows, request.query, {"pipeline_version_id", "name", "display_name", "created_at"})


def upload_version(api: Api, request: Request) -> Any:
    documents = _uploaded(request)
    pipeline_id = request.query.get("pipelineid", "")
    name = request.query.get("name") or "pipeline"
    if pipeline_id not in api.pipelines or not documents:
        raise UploadError(400, "Failed to create a pipeline version")
    try:
        api.authorize(api.pipelines[pipeline_id].get("namespace", ""), "create", "pipelines", shared=True)
    except ApiError as error:
        raise UploadError(400, "Failed to create a pipeline version") from error
    if any((row["pipeline_id"], row["_name"]) == (pipeline_id, name) for row in api.versions.values()):
        raise UploadError(409, "Failed to create a pipeline version")
    row = without_zero_values(
        {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": str(uuid4()),
            "name": name if api.version >= (2, 14) else "",
            "display_name": request.query.get("display_name") or name,
            "description": request.query.get("description", ""),
            "created_at": timestamp(time.time()),
            "pipeline_spec": spec_of(documents),
        }
    )
    api.versions[row["pipeline_version_id"]] = {**row, "_name": name, "_documents": documents}
    return row


def spec_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the documents of a pipeline as the API shows them."""
    return documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}


def _uploaded(request: Request) -> list[dict[str, Any]]:
    """Return the YAML documents in the part ``uploadfile`` of a multipart body."""
    if len(request.body) > _LARGEST_UPLOAD:
        raise UploadError(400, "Failed to read a pipeline spec file")
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
    message = BytesParser(policy=policy.default).parsebytes(head + request.body)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == "uploadfile":
            if not str(part.get_filename()).endswith((".yaml", ".json", ".zip", ".tar.gz")):
                raise UploadError(400, "Failed to read a pipeline spec file")
            return [document for document in yaml.safe_load_all(part.get_content()) if document]
    raise UploadError(400, "Failed to read pipeline from file")
