"""What the hook asks of the server, and how it reads its answers."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.hooks._kubeflow_pipelines.steps import labelled_pods
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.services import PipelineService
from kubeflow_provider.states import RunState
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeHook, MakeRequest

# Connection


def test_the_connection_type_leads_to_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ANY", '{"conn_type": "kubeflow_pipelines", "host": "http://127.0.0.1:1"}')

    hook = get_pipeline_service("any")

    assert isinstance(hook, KubeflowPipelinesHook)
    assert isinstance(hook, PipelineService)


def test_all_wrong_fields_are_named_at_once(make_hook: MakeHook) -> None:
    with pytest.raises(InvalidRequestError, match=r"verify.*host.*ui_url.*dashboard"):
        make_hook("", verify="perhaps", ui_url="kubeflow.example.com", dashboard=True)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://kf.example.com/pipeline"}, "https://kf.example.com/pipeline/#/runs/details/1"),
        (
            {"host": "https://kf.example.com/pipeline", "dashboard": "true", "namespace": "team"},
            "https://kf.example.com/_/pipeline/?ns=team#/runs/details/1",
        ),
        ({"host": "http://ml-pipeline:8888"}, None),
        ({"host": "http://ml-pipeline:8888", "ui_url": "https://ui/"}, "https://ui/#/runs/details/1"),
    ],
)
def test_links_lead_to_the_ui(make_hook: MakeHook, fields: dict[str, Any], url: str | None) -> None:
    hook = make_hook(fields.pop("host"), **fields)

    assert hook.settings.run_url("1") == url
    assert hook.settings.experiment_url("") is None


@pytest.mark.parametrize("ui_url", ["https://me:hidden@ui", "https://ui?token=hidden", "https://me:hidden@u\u2100i"])
def test_no_link_holds_a_password(make_hook: MakeHook, ui_url: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"ui_url: .*without user and query") as caught:
        make_hook("http://ml-pipeline:8888", ui_url=ui_url, dashboard=True)
    assert "hidden" not in str(caught.value)


def test_the_test_button_says_what_answers(server: KfpServer, hook: KubeflowPipelinesHook) -> None:
    answers = "Kubeflow Pipelines 2.17.0 answers (namespace team)"
    not_known = "whether runs may be started is not known before there is an experiment"
    assert hook.test_connection() == (True, f"{answers}; {not_known}.")

    server.api.add_experiment("first", "team")

    assert hook.test_connection() == (True, f"{answers}; runs may be started.")
    assert server.runs == {}
    assert server.workflows == []


def test_the_test_button_takes_no_other_refusal_for_the_permission(
    server: KfpServer, hook: KubeflowPipelinesHook
) -> None:
    server.api.add_experiment("first", "team")
    server.fault("status", method="POST", path="/runs", status=500, body="the database is away")

    assert hook.test_connection()[1].endswith("whether runs may be started could not be found out.")


def test_the_test_button_of_a_single_user_server_has_no_more_to_say(make_hook: MakeHook) -> None:
    with kfp_server() as server:
        assert make_hook(server.url).test_connection() == (True, "Kubeflow Pipelines 2.17.0 answers (single-user).")


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("create", "Runs can be looked at, but not started: .*create runs in team"), ("list", "list experiments in team")],
)
def test_the_test_button_tries_what_tasks_do(make_hook: MakeHook, verb: str, expected: str) -> None:
    with kfp_server(multi_user=True, refused_verbs=(verb,)) as server:
        server.api.add_experiment("first", "team")
        works, message = make_hook(server.url, namespace="team").test_connection()

    assert not works
    assert re.search(expected, message), message


@pytest.mark.parametrize(
    ("extra", "expected"),
    [({}, "set `namespace`"), ({"namespace": "others"}, "not authorized .*list experiments in others.*RoleBinding")],
)
def test_the_test_button_says_what_to_do(
    server: KfpServer, make_hook: MakeHook, extra: dict[str, str], expected: str
) -> None:
    works, message = make_hook(server.url, **extra).test_connection()

    assert not works
    assert re.search(expected, message), message


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("", r"address \(host\) has no path: .*https://.../pipeline"),
        ("/pipelines", "Is the path right.*ml-pipeline.kubeflow.svc"),
    ],
)
def test_the_test_button_knows_a_wrong_address(server: KfpServer, make_hook: MakeHook, path: str, hint: str) -> None:
    works, message = make_hook(server.url.removesuffix("/pipeline") + path, namespace="team").test_connection()

    assert not works
    assert "404" in message
    assert re.search(hint, message), message


# Submission


def test_a_run_is_asked_for_by_reference(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    request = make_request(
        parameters={"file": "/tmp/x", "seconds": 2.0, "repeat": 3, "fail": False, "mark": {"a": [1]}}
    )

    run = hook.create_run(request)

    [posted] = [asked.json() for asked in server.requests if asked.path.endswith("/runs") and asked.method == "POST"]
    assert posted["run_id"] == run.run_id == request.run_id
    assert posted["runtime_config"]["parameters"] == request.parameters
    assert "pipeline_spec" not in posted
    assert posted["display_name"] == f"a test [{request.run_id}]"
    assert run.display_name == "a test"
    assert (run.state, run.steps) == (RunState.PENDING, ())


def test_one_upload_serves_many_runs(server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest) -> None:
    for _ in range(3):
        hook.create_run(make_request())

    assert server.calls("POST", "/pipelines/upload_version") == 1
    assert server.calls("POST", "/experiments") == 1
    assert len(server.api.pipelines) == len(server.api.versions) == 1


def test_other_settings_are_another_version(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    hook.create_run(make_request())
    hook.create_run(make_request(cluster={"image": "registry.example.com/train:2"}))
    hook.create_run(make_request(cluster={"image": "registry.example.com/train:2"}))

    assert len(server.api.versions) == 2
    images = [
        json.dumps(row["pipeline_spec"]).count("registry.example.com/train:2") for row in server.api.versions.values()
    ]
    assert images == [0, 2]


def test_service_account_and_pipeline_root_belong_to_the_run(
    server: KfpServer, make_hook: MakeHook, make_request: MakeRequest
) -> None:
    hook = make_hook(server.url, namespace="team", pipeline_root="s3://of-the-connection")

    hook.create_run(make_request())
    hook.create_run(make_request(cluster={"service_account": "trainer", "pipeline_root": "s3://of-the-model"}))

    rows = list(server.runs.values())
    assert [row.runtime_config["pipeline_root"] for row in rows] == ["s3://of-the-connection", "s3://of-the-model"]
    assert [row.service_account for row in rows] == ["default-editor", "trainer"]


@pytest.mark.parametrize("version", ["2.5.0", "2.17.0", "3.0.0", "unknown"])
@pytest.mark.parametrize("multi_user", [True, False])
def test_every_release_and_mode_takes_a_run(
    make_hook: MakeHook, make_request: MakeRequest, version: str, multi_user: bool
) -> None:
    with kfp_server(multi_user=multi_user, version=version) as server:
        hook = make_hook(server.url, namespace="team")
        hook.create_run(make_request())

        assert [row.namespace for row in server.runs.values()] == (["team"] if multi_user else [""])
        assert hook.test_connection()[0]
        assert len(list(hook.list_runs())) == 1
        assert hook.get_run(str(uuid4())) is None


def test_names_are_found_whatever_stands_in_them(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    name = 'reviews 100% + 50/50 2026-11-21T03:00:00+00:00 "é" &c'
    for _ in range(2):
        hook.create_run(make_request(experiment=name, display_name=name))

    assert [row["display_name"] for row in server.api.experiments.values()] == [name]
    assert [run.display_name for run in hook.list_runs(experiment=name)] == [name, name]
    assert len(list(hook.list_runs(name_contains="50/50 2026-11-21T03:00:00+00"))) == 2


def test_an_experiment_that_differs_in_case_only_is_not_taken(
    hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    hook.create_run(make_request(experiment="Reviews"))

    with pytest.raises(InvalidRequestError, match="upper case from lower case"):
        hook.create_run(make_request(experiment="reviews"))


def test_somebody_else_may_upload_at_the_same_moment(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    hook.create_run(make_request())
    # What is asked for first seems not to be there yet; it is by the time that it is to be made.
    server.fault("status", method="GET", path="/pipelines/names/", status=404, body={"code": 5})
    server.fault("status", method="GET", path="/versions", status=200, body={})
    server.fault("status", method="GET", path="/experiments", status=200, body={})

    hook.create_run(make_request())

    assert len(server.api.versions) == len(server.api.pipelines) == len(server.api.experiments) == 1
    assert len(server.runs) == 2


def test_a_profile_must_be_named(server: KfpServer, make_hook: MakeHook, make_request: MakeRequest) -> None:
    hook = make_hook(server.url)

    for ask in (hook.check_run, hook.create_run):
        with pytest.raises(InvalidRequestError, match="set `namespace` to the one"):
            ask(make_request())
    assert server.workflows == []


def test_another_profile_is_refused_with_what_to_do(
    server: KfpServer, make_hook: MakeHook, make_request: MakeRequest
) -> None:
    with pytest.raises(PermissionDeniedError, match=r"(?s)in others.*RoleBinding"):
        make_hook(server.url, namespace="others").create_run(make_request())


def test_a_parameter_of_the_wrong_type_is_the_servers_word(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    with pytest.raises(InvalidRequestError, match="repeat requires type NUMBER_INTEGER"):
        hook.create_run(make_request(parameters={"file": "/tmp/x", "repeat": "3"}))
    assert server.workflows == []


def test_what_is_too_large_is_not_sent(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, record_and_wait: str, tmp_path: Path
) -> None:
    document = yaml.safe_load(Path(record_and_wait).read_text(encoding="utf-8"))
    document["pipelineInfo"]["description"] = "x" * 33 * 2**20

    with pytest.raises(InvalidRequestError, match="has 33 MiB, and Kubeflow takes 32"):
        hook.create_run(make_request(pipeline=PipelineSpec(document=document)))


async def test_a_poll_is_one_request(server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest) -> None:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, ["RUNNING", "RUNNING", "SUCCEEDED"])
    before = len(server.requests)

    states = [run.state for _ in range(3) if (run := await hook.aget_run(run_id)) is not None]

    assert states == [RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED]
    assert len(server.requests) - before == 3


def test_pages_are_read_to_the_end_or_the_limit(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {hook.create_run(make_request()).run_id for _ in range(5)}
    monkeypatch.setattr(api, "LARGEST_PAGE", 2)

    assert {run.run_id for run in hook.list_runs()} == ids
    assert len(list(hook.list_runs(limit=3))) == 3
    assert list(hook.list_runs(experiment="never heard of")) == []


# Stopping and retrying


def test_a_terminated_run_is_cancelled_and_not_failed(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    run_id = hook.create_run(make_request()).run_id

    hook.terminate_run(run_id)
    hook.terminate_run(run_id)
    run = hook.get_run(run_id)

    assert server.runs[run_id].state == "FAILED"
    assert run is not None
    assert run.state is RunState.CANCELED
    assert run.reason is None


def test_somebody_elses_cancellation_is_seen_in_the_history(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, ["RUNNING", "CANCELING", "FAILED"])

    states = [run.state for _ in range(3) if (run := hook.get_run(run_id)) is not None]

    assert states == [RunState.RUNNING, RunState.CANCELING, RunState.CANCELED]


def test_only_a_failed_run_can_be_retried(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    run_id = hook.create_run(make_request()).run_id
    with pytest.raises(InvalidRequestError, match="must be Failed"):
        hook.retry_run(run_id)
    hook.terminate_run(run_id)
    assert (run := hook.get_run(run_id)) is not None and run.state is RunState.CANCELED

    hook.retry_run(run_id)

    assert server.runs[run_id].state == "PENDING"
    assert len(server.workflows) == 1


# Logs


@pytest.mark.pipelines
def test_the_log_comes_from_whoever_has_it(
    make_hook: MakeHook, make_request: MakeRequest, pipelines_python: str, tmp_path: Path
) -> None:
    parameters = {"file": str(tmp_path / "recorded"), "fail": True}
    with kfp_server(python=pipelines_python, multi_user=True, prefix="/pipeline") as server:
        hook = make_hook(server.url, namespace="team")
        run_id = hook.create_run(make_request(parameters=parameters)).run_id
        process = server.workflows[0].process
        assert process is not None
        process.wait(60)
        for sources in ({"ui"}, {"api"}, {"ui", "api"}, set[str]()):
            server.api.log_sources = sources

            run = hook.get_run(run_id)
            log = hook.get_run_log(run_id)

            assert run is not None
            if sources:
                assert run.reason == "Step 'finish' failed: ValueError: column 'stars' is missing"
                assert log.splitlines()[-1].endswith("ValueError: column 'stars' is missing")
                assert "launcher" not in log and "KFP Executor" not in log and "parameterValues" not in log
            else:
                assert run.reason == "Step 'finish' failed: its log is gone"
                assert log == ""


@pytest.mark.parametrize("keeps", [True, False], ids=["a version", "the run alone"])
def test_the_log_of_a_step_with_labels_is_found_though_its_pod_has_another_name(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, keeps: bool
) -> None:
    cluster = {"pod_labels": {"team": "a", "bill": "b"}, "pod_annotations": {"c": "d"}}
    steps = [("record", "SUCCEEDED"), ("finish", "FAILED")]
    server.script(None, [{"state": "FAILED", "steps": steps}])
    run_id = hook.create_run(make_request(cluster=cluster, keep_pipeline=keeps)).run_id
    workflow = server.runs[run_id].workflow
    workflow.folder.mkdir()
    (workflow.folder / "log.txt").write_text("ValueError: column 'stars' is missing\n", encoding="utf-8")
    account = {"state": "FAILED", "steps": [{"name": n, "state": s, "log_start": 0, "log_end": None} for n, s in steps]}
    (workflow.folder / "state.json").write_text(json.dumps(account), encoding="utf-8")
    workflow.is_stopped = True
    assert workflow.template("finish") == "metadata-1-2-system-container-impl"

    run = hook.get_run(run_id)

    assert run is not None
    assert run.reason == "Step 'finish' failed: ValueError: column 'stars' is missing"


def test_a_pod_with_labels_and_retries_is_named_after_both() -> None:
    platform = {"deploymentSpec": {"executors": {"exec-a": {"podMetadata": {"labels": {"a": "b"}}}, "exec-b": {}}}}
    names = ["wf-system-container-impl-1", "wf-retry-system-container-impl-1", "wf-1"]

    assert labelled_pods(names, {"platforms": {"kubernetes": platform}}) == [
        "wf-metadata-0-1-system-container-impl-1",
        "wf-metadata-0-1-retry-system-container-impl-1",
    ]
    assert labelled_pods(names, {}) == []


def test_what_proves_who_is_asking_goes_to_the_connections_host_only(
    server: KfpServer, make_hook: MakeHook, make_request: MakeRequest
) -> None:
    with kfp_server(multi_user=True) as ui:
        hook = make_hook(server.url, namespace="team", ui_url=ui.url, password="a secret", user_id="me@example.com")
        run_id = hook.create_run(make_request()).run_id
        server.script(run_id, [{"state": "RUNNING", "steps": [("record", "RUNNING")]}])
        hook.get_run_log(run_id)

        assert server.requests[-1].headers["authorization"] == "Bearer a secret"
        asked = [request for request in ui.requests if request.path == "/k8s/pod/logs"]
        assert asked
        assert not any({"authorization", "kubeflow-userid"} & request.headers.keys() for request in asked)


def test_nothing_secret_is_logged(
    server: KfpServer, make_hook: MakeHook, make_request: MakeRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hook = make_hook(server.url, namespace="team", password="a-secret-token")

    hook.create_run(make_request(parameters={"file": "a private text"}))

    assert "a-secret-token" not in caplog.text
    assert "a private text" not in caplog.text
