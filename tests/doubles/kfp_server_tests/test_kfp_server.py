"""The oddities of a Kubeflow Pipelines server, asked for without our own hook.

They run over the double, and over a real server when ``KFP_ENDPOINT`` (and ``KFP_TOKEN``, ``KFP_NAMESPACE``) is set:
what holds for one must hold for the other.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import kfp_server_api
import pytest

from tests.captured import captured_run
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.kfp_server.argo import Workflow
from tests.doubles.kfp_server.tasks import tasks_of
from tests.doubles.kfp_server_tests.conftest import V2, upload, where


def run_body(experiment: dict[str, Any], reference: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {
        "run_id": str(uuid4()),
        "display_name": "a test",
        "experiment_id": experiment["experiment_id"],
        "pipeline_version_reference": reference,
        "runtime_config": {"parameters": {"file": "/tmp/recorded"}},
    } | fields


def stop(client: httpx.Client, run_id: str) -> None:
    assert client.post(f"{V2}/runs/{run_id}:terminate").status_code in (200, 400)


def test_a_filter_is_decoded_twice(client: httpx.Client, scope: dict[str, str], experiment: dict[str, Any]) -> None:
    name = experiment["display_name"]

    once = client.get(f"{V2}/experiments", params={"filter": where(name), **scope})
    twice = client.get(f"{V2}/experiments", params={"filter": quote(where(name)), **scope})

    assert once.status_code == 400
    assert [row["display_name"] for row in twice.json()["experiments"]] == [name]


def test_zero_values_are_absent(client: httpx.Client, scope: dict[str, str]) -> None:
    query = {"filter": quote(where(f"never heard of {uuid4()}")), **scope}

    assert client.get(f"{V2}/experiments", params=query).json() == {}


def test_names_are_taken_once_whatever_their_case(
    client: httpx.Client,
    scope: dict[str, str],
    experiment: dict[str, Any],
    reference: dict[str, str],
    record_and_wait: str,
) -> None:
    again = client.post(f"{V2}/experiments", json={"display_name": experiment["display_name"], **scope})
    version = upload(client, reference["pipeline_id"], "first", record_and_wait)

    assert (again.status_code, version.status_code) == (409, 409)
    assert again.json()["details"][0]["message"]
    assert version.json()["error_message"]


def test_a_run_keeps_its_clients_id(
    client: httpx.Client, experiment: dict[str, Any], reference: dict[str, str]
) -> None:
    body = run_body(experiment, reference)

    run = client.post(f"{V2}/runs", json=body).json()
    stop(client, body["run_id"])

    assert run["run_id"] == body["run_id"]
    assert run["finished_at"] == "1970-01-01T00:00:00Z"
    assert "pipeline_spec" not in run


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"unheard_of": 1}, 400),
        ({"experiment_id": str(uuid4())}, 404),
        ({"pipeline_version_reference": {"pipeline_id": str(uuid4()), "pipeline_version_id": str(uuid4())}}, 500),
        ({"display_name": ""}, 500),
        ({"runtime_config": {"parameters": {}}}, 400),
        ({"runtime_config": {"parameters": {"file": 1}}}, 400),
        ({"runtime_config": {"parameters": {"file": "x", "repeat": "3"}}}, 400),
        ({"runtime_config": {"parameters": {"file": "x", "unheard_of": "3"}}}, 400),
    ],
)
def test_refusals_have_these_codes(
    client: httpx.Client, experiment: dict[str, Any], reference: dict[str, str], fields: dict[str, Any], status: int
) -> None:
    answer = client.post(f"{V2}/runs", json=run_body(experiment, reference, **fields))

    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


def test_a_run_of_a_specification_of_its_own_is_refused_for_the_parameter_that_it_lacks(
    client: httpx.Client, experiment: dict[str, Any]
) -> None:
    """The Test button of a connection knows by it that the permission was there."""
    tasks = {"none": {"taskInfo": {"name": "none"}, "componentRef": {"name": "comp-none"}}}
    root = {"inputDefinitions": {"parameters": {"lacking": {"parameterType": "STRING"}}}, "dag": {"tasks": tasks}}
    spec = {"schemaVersion": "2.1.0", "sdkVersion": "kfp-2.5.0", "pipelineInfo": {"name": "none"}, "root": root}
    body = {"display_name": "x", "experiment_id": experiment["experiment_id"], "pipeline_spec": spec}

    answer = client.post(f"{V2}/runs", json=body | {"runtime_config": {"parameters": {}}})

    assert answer.status_code == 400, answer.text
    assert "parameter lacking is not optional" in answer.json()["details"][0]["message"]


def test_pages_need_the_same_question(client: httpx.Client, scope: dict[str, str], experiment: dict[str, Any]) -> None:
    client.post(f"{V2}/experiments", json={"display_name": f"test {uuid4()}", **scope})
    query = {"page_size": 1, "sort_by": "created_at desc", **scope}
    first = client.get(f"{V2}/experiments", params=query).json()
    token = {"page_token": first["next_page_token"], **scope}

    same = client.get(f"{V2}/experiments", params={**query, **token})
    silent = client.get(f"{V2}/experiments", params={"page_size": 1, **token})
    other = client.get(f"{V2}/experiments", params={"sort_by": "display_name", **token})

    assert same.json()["experiments"] == silent.json()["experiments"] != first["experiments"]
    assert other.status_code == 400


def test_a_second_post_of_one_id_starts_a_second_workflow(double: KfpServer, record_and_wait: str) -> None:
    with httpx.Client(base_url=double.url) as client:
        pipeline = client.post(f"{V2}/pipelines", json={"display_name": "test"}).json()
        version = upload(client, pipeline["pipeline_id"], "first", record_and_wait).json()
        experiment = client.post(f"{V2}/experiments", json={"display_name": "test"}).json()
        body = run_body(experiment, {name: version[name] for name in ("pipeline_id", "pipeline_version_id")})

        statuses = [client.post(f"{V2}/runs", json=body).status_code for _ in range(2)]

    assert statuses == [200, 500]
    assert [workflow.run_id for workflow in double.workflows] == [body["run_id"]] * 2
    assert len(double.runs) == 1


def test_the_end_of_a_run_is_final(double: KfpServer, record_and_wait: str) -> None:
    with httpx.Client(base_url=double.url) as client:
        pipeline = client.post(f"{V2}/pipelines", json={"display_name": "test"}).json()
        version = upload(client, pipeline["pipeline_id"], "first", record_and_wait).json()
        experiment = client.post(f"{V2}/experiments", json={"display_name": "test"}).json()
        body = run_body(experiment, {name: version[name] for name in ("pipeline_id", "pipeline_version_id")})
        client.post(f"{V2}/runs", json=body)
        path = f"{V2}/runs/{body['run_id']}"

        too_early = client.post(f"{path}:retry")
        stopped = client.post(f"{path}:terminate")
        states = [client.get(path).json()["state"] for _ in range(2)]
        too_late = client.post(f"{path}:terminate")

    assert (too_early.status_code, stopped.status_code, stopped.json()) == (409, 200, {})
    assert states == ["FAILED", "FAILED"]
    assert (too_late.status_code, "Row not found" in too_late.text) == (400, True)


@pytest.mark.parametrize(
    ("what", "steps", "never"),
    [
        ("a run that succeeded", [("record", "SUCCEEDED"), ("finish", "SUCCEEDED")], []),
        ("a run whose first step failed", [("record", "FAILED")], ["finish"]),
        ("a cancelled run", [("record-driver", "FAILED")], ["finish"]),
    ],
)
def test_a_workflow_has_the_nodes_of_a_real_one(what: str, steps: list[tuple[str, str]], never: list[str]) -> None:
    document = captured_run("2.17.0", what)
    rows = document["run_details"]["task_details"]
    workflow = min((row["display_name"] for row in rows if row["display_name"].startswith("record-and-wait")), key=len)
    double = Workflow(run_id="", documents=[], parameters={}, folder=Path(), name=workflow)

    nodes = double.make_nodes(steps, state=document["state"], never=never)

    assert sorted((node.name, node.state, *node.children) for node in nodes) == sorted(
        (row["display_name"], row.get("state", ""), *(child["pod_name"] for child in row.get("child_tasks", [])))
        for row in rows
    )


def test_the_tasks_of_3_0_have_the_pods_of_real_ones() -> None:
    document = captured_run("3.0-preview", "a run whose last step failed")
    double = Workflow(run_id="", documents=[], parameters={}, folder=Path(), name="record-and-wait-vgkkj")
    nodes = double.make_nodes([("record", "SUCCEEDED"), ("finish", "FAILED")], state="FAILED")

    tasks = tasks_of(nodes, run_id=document["run_id"], run_name=document["display_name"], is_stopped=False)

    fields = ("name", "display_name", "state", "status_metadata", "type", "scope_path")
    assert [
        [task.get(field) for field in fields] + [(pod["name"], pod["type"]) for pod in task["pods"]] for task in tasks
    ] == [
        [task.get(field) for field in fields] + [(pod["name"], pod["type"]) for pod in task["pods"]]
        for task in document["tasks"]
    ]


def test_while_kubernetes_is_away_a_good_token_is_answered_as_a_real_server_answers_it() -> None:
    with kfp_server(multi_user=True, token="good") as double:
        ask = partial(httpx.get, params={"namespace": "team"}, headers={"Authorization": "Bearer good"})
        runs, health = f"{double.url}/apis/v2beta1/runs", f"{double.url}/apis/v2beta1/healthz"
        assert ask(runs).status_code == 200
        with double.without_kubernetes():
            answer = ask(runs)
            assert (answer.status_code, answer.json()["code"]) == (401, 16)
            words = "Failed to check authorization. User identity is empty in the request header"
            assert answer.json()["details"][0]["message"] == words
            assert httpx.get(health).json()["multi_user"], "the health page needs no token, and knows of nothing"
        with double.behind_a_gateway():
            assert (ask(runs).status_code, httpx.get(health).text) == (503, "no healthy upstream")
        assert ask(runs).status_code == 200


def test_the_published_client_understands_the_double(double: KfpServer, record_and_wait: str) -> None:
    api = kfp_server_api.ApiClient(kfp_server_api.Configuration(host=double.url))
    experiments, runs = kfp_server_api.ExperimentServiceApi(api), kfp_server_api.RunServiceApi(api)
    pipeline = kfp_server_api.PipelineServiceApi(api).pipeline_service_create_pipeline(
        pipeline=kfp_server_api.V2beta1Pipeline(name="test")
    )
    version = kfp_server_api.PipelineUploadServiceApi(api).upload_pipeline_version(
        record_and_wait, name="first", pipelineid=pipeline.pipeline_id
    )
    experiment = experiments.experiment_service_create_experiment(
        experiment=kfp_server_api.V2beta1Experiment(display_name="test")
    )
    run = runs.run_service_create_run(
        run=kfp_server_api.V2beta1Run(
            display_name="a test",
            experiment_id=experiment.experiment_id,
            pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(
                pipeline_id=pipeline.pipeline_id, pipeline_version_id=version.pipeline_version_id
            ),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters={"file": "/tmp/recorded"}),
        )
    )
    double.script(run.run_id, [{"state": "RUNNING", "steps": [("record", "RUNNING")]}])

    seen = runs.run_service_get_run(run.run_id)

    assert (seen.state, seen.display_name) == ("RUNNING", "a test")
    assert {task.display_name for task in seen.run_details.task_details} >= {"root", "record", "executor"}
    assert [row.run_id for row in runs.run_service_list_runs().runs] == [run.run_id]
