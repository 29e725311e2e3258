"""Pipelines that are on the server already, and such as only their run has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeRequest

PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-record": {"timeout": 60}}}}}}
BY_NAME, BY_ID = "display_name", "pipeline_version_id"


@pytest.fixture
def kept(server: KfpServer, hook: KubeflowPipelinesHook, record_and_wait: str) -> list[PipelineSpec]:
    """Two versions on the server, the older one first."""
    spec = read_pipeline_spec(record_and_wait)
    older = replace(spec, reference=hook.upload_pipeline(spec))
    versions(server)[0]["created_at"] = "2026-11-21T03:00:00Z"  # the server counts in seconds
    newer = replace(spec, platform=PLATFORM)
    return [older, replace(newer, reference=hook.upload_pipeline(newer))]


def versions(server: KfpServer) -> list[dict[str, str]]:
    return list(server.api.versions.values())


@pytest.mark.parametrize("version", [None, BY_NAME, BY_ID])
@pytest.mark.parametrize("by_id", [False, True])
def test_a_version_is_found_as_people_call_it(
    server: KfpServer, hook: KubeflowPipelinesHook, kept: list[PipelineSpec], version: str | None, by_id: bool
) -> None:
    expected = kept[1 if version is None else 0]
    pipeline = kept[0].reference["pipeline_id"] if by_id and kept[0].reference else "record-and-wait"

    found = hook.find_pipeline(pipeline, version and versions(server)[0][version])

    assert found == expected
    assert found.reference == expected.reference
    assert found.parameters["seconds"]["parameterType"] == "NUMBER_DOUBLE"


@pytest.mark.parametrize(
    ("pipeline", "version", "words"),
    [
        ("record-and-wai", None, "no pipeline 'record-and-wai' in namespace team"),
        ("11111111-1111-4111-8111-111111111111", None, "no pipeline '1111"),
        ("record-and-wait", "first", "'record-and-wait' has no version 'first'"),
        ("record-and-wait", "11111111-1111-4111-8111-111111111111", "has no version '1111"),
    ],
)
def test_what_is_not_on_the_server_is_named(
    hook: KubeflowPipelinesHook, kept: list[PipelineSpec], pipeline: str, version: str | None, words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        hook.find_pipeline(pipeline, version)


def test_a_pipeline_without_a_version_is_named(server: KfpServer, hook: KubeflowPipelinesHook) -> None:
    server.api.pipelines["1"] = {"pipeline_id": "1", "_name": "empty", "display_name": "empty", "namespace": "team"}

    with pytest.raises(InvalidRequestError, match="'empty' has no version yet"):
        hook.find_pipeline("empty")


def test_a_pipeline_of_the_namespace_goes_before_one_that_all_share(
    server: KfpServer, hook: KubeflowPipelinesHook, kept: list[PipelineSpec]
) -> None:
    (own,) = server.api.pipelines.values()
    shared = own | {"pipeline_id": "22222222-2222-4222-8222-222222222222", "namespace": ""}
    server.api.pipelines[shared["pipeline_id"]] = shared
    server.api.versions["v"] = versions(server)[0] | {"pipeline_id": shared["pipeline_id"], BY_ID: "v"}

    assert hook.find_pipeline("record-and-wait").reference == kept[1].reference
    own["namespace"] = "another"
    found = hook.find_pipeline("record-and-wait")

    assert found.reference == {"pipeline_id": shared["pipeline_id"], "pipeline_version_id": "v"}


def test_what_the_server_keeps_runs_without_the_right_to_create_pipelines(
    server: KfpServer, hook: KubeflowPipelinesHook, kept: list[PipelineSpec], make_request: MakeRequest
) -> None:
    before = len(server.requests)

    run = hook.create_run(make_request(pipeline=hook.find_pipeline("record-and-wait")))

    assert server.runs[run.run_id].reference == kept[1].reference
    posted = [request.path for request in server.requests[before:] if request.method == "POST"]
    assert [path.rpartition("/")[2] for path in posted] == ["experiments", "runs"]
    assert len(versions(server)) == 2


def test_what_the_cluster_changes_runs_as_what_it_has_become(
    server: KfpServer, hook: KubeflowPipelinesHook, kept: list[PipelineSpec], make_request: MakeRequest
) -> None:
    cluster = {"steps": {"finish": {"retries": 3}}, "service_account": "trainer"}

    run = hook.create_run(make_request(pipeline=hook.find_pipeline("record-and-wait"), cluster=cluster))

    row = server.runs[run.run_id]
    assert not row.reference
    assert row.pipeline_spec["pipeline_spec"]["root"]["dag"]["tasks"]["finish"]["retryPolicy"]["maxRetryCount"] == 3
    assert row.pipeline_spec["platform_spec"] == PLATFORM
    assert row.service_account == "trainer"
    assert len(versions(server)) == 2


@pytest.mark.parametrize("platform", [None, PLATFORM])
def test_what_only_its_run_has_is_no_pipeline_of_the_server(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, platform: dict[str, object] | None
) -> None:
    request = make_request(keep_pipeline=False)

    run = hook.create_run(replace(request, pipeline=replace(request.pipeline, platform=platform)))

    assert server.api.pipelines == {}
    assert server.runs[run.run_id].pipeline_spec == replace(request.pipeline, platform=platform).to_json()


def test_who_may_not_create_pipelines_is_told_of_the_way_that_needs_no_right(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    server.fault("status", method="POST", path="upload_version", status=400, body={"error_message": "no"}, times=9)

    with pytest.raises(InvalidRequestError, match="`pipeline_spec` does not need"):
        hook.create_run(make_request())
