"""What a run has made comes to XCom: where the server tells it, and where the pipeline writes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.exceptions import InvalidRequestError, RunFailedError, ServiceUnavailableError
from kubeflow_provider.operators.kept_runs import RetryPipelineRunOperator
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.sensors.pipelines import PipelineRunSensor
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.kfp_server.tasks import PIPELINE
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import RUNNING, Task

STEPS = [("record", "SUCCEEDED"), ("finish", "SUCCEEDED")]
MADE = {
    PIPELINE: {"parameters": {"accuracy": 0.93}, "artifacts": {"model": "s3://models/reviews/1"}},
    "record": {"parameters": {"rows": 12}, "artifacts": {"table": {"uri": "s3://data/1", "type": "Dataset"}}},
    "finish": {"parameters": {"each": (1, 2)}, "artifacts": {"parts": ["s3://a/1", "s3://a/2"]}},
}
TOLD = {
    "parameters": {"accuracy": 0.93},
    "artifacts": {"model": {"uri": "s3://models/reviews/1", "type": "Artifact"}},
    "steps": {
        "record": {"parameters": {"rows": 12}, "artifacts": {"table": {"uri": "s3://data/1", "type": "Dataset"}}},
        "finish": {
            "parameters": {"each": [1, 2]},
            "artifacts": {"parts": [{"uri": "s3://a/1", "type": "Artifact"}, {"uri": "s3://a/2", "type": "Artifact"}]},
        },
    },
}


@pytest.fixture(params=["2.5.0", "2.17.0", "3.0.0"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(version: str) -> Iterator[KfpServer]:
    with kfp_server(version=version) as server:
        server.script(None, ["PENDING", RUNNING, {"state": "SUCCEEDED", "steps": STEPS, "outputs": MADE}])
        yield server


only_3_0 = pytest.mark.parametrize("version", ["3.0.0"], indirect=True)
only_2_17 = pytest.mark.parametrize("version", ["2.17.0"], indirect=True)


@pytest.fixture(params=[False, True], ids=["in a worker", "deferred"])
def carry_out(request: pytest.FixtureRequest, task: Task) -> Callable[..., Any]:
    """Return ``carry_out(**arguments)``, which runs the task to its end."""

    def carry_out(**arguments: Any) -> Any:
        operator = task.operator(deferrable=request.param, **arguments)
        try:
            return operator.execute(task.context())
        except TaskDeferred as deferred:
            event = json.loads(json.dumps(asyncio.run(deferred.trigger.wait())))
            operator = task.operator(deferrable=True, **arguments)
            return operator.resume_execution(deferred.method_name, {"event": event}, task.context())

    return carry_out


def test_outputs_are_what_the_server_tells(
    server: KfpServer, task: Task, carry_out: Callable[..., Any], version: str
) -> None:
    assert carry_out() == task.run_id

    assert task.xcom.get("outputs") == (TOLD if version == "3.0.0" else None)


@only_3_0
def test_a_run_that_failed_leaves_none(server: KfpServer, task: Task) -> None:
    server.script(None, [{"state": "FAILED", "steps": [("record", "FAILED")], "outputs": MADE}])

    with pytest.raises(RunFailedError):
        task.run()
    assert "outputs" not in task.xcom


@only_3_0
def test_the_launchers_logs_are_no_output(server: KfpServer, task: Task) -> None:
    server.script(None, [{"state": "SUCCEEDED", "steps": STEPS}])

    task.run()

    assert "outputs" not in task.xcom


@only_3_0
def test_outputs_without_end_stay_where_they_are(
    server: KfpServer, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = {PIPELINE: {"parameters": {"text": "a" * 300_000}}}
    server.script(None, [{"state": "SUCCEEDED", "steps": STEPS, "outputs": outputs}])

    task.run()

    assert "outputs" not in task.xcom
    assert "take more than 256 KiB" in caplog.text


@pytest.mark.parametrize("kind", [PipelineRunSensor, RetryPipelineRunOperator])
@pytest.mark.parametrize("states", [["SUCCEEDED"], [RUNNING, "SUCCEEDED"]])
@only_3_0
def test_so_do_those_who_wait_for_a_run_that_is_there(
    server: KfpServer, task: Task, kind: Any, states: list[Any]
) -> None:
    last = {"state": "SUCCEEDED", "steps": STEPS, "outputs": MADE}
    run_id = task.run(wait_for_completion=False)
    server.script(run_id, [*states[:-1], last])
    pace = {"poke_interval": 0.01} if kind is PipelineRunSensor else {"poll_interval_seconds": 0.01}

    kind(task_id="it", run_id=run_id, deferrable=False, **pace).execute(task.context())

    assert task.xcom["outputs"] == TOLD


# Required


@only_3_0
@pytest.mark.parametrize("names", [["accuracy", "model"], ["record.rows", "record.table", "finish.parts"], []])
def test_what_is_required_and_there_is_fine(server: KfpServer, task: Task, names: list[str]) -> None:
    task.run(required_outputs=names)

    assert task.xcom["outputs"] == TOLD


def test_what_is_required_and_missing_fails_the_task_and_names_what_there_is(
    server: KfpServer, task: Task, version: str
) -> None:
    there = "accuracy, finish.each, finish.parts, model, record.rows, record.table" if version == "3.0.0" else "none"
    with pytest.raises(InvalidRequestError, match=f"has succeeded without recall among its outputs; they are {there}"):
        task.run(required_outputs=["recall"])

    with pytest.raises(InvalidRequestError, match="without recall"):
        task.run(required_outputs=["recall"])
    assert len(server.workflows) == 1, "a retry looks again and starts nothing"


# Written by the pipeline


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"{tmp_path}/{{run_id}}/outputs.json"


def write(place: str, run_id: str, document: Any) -> None:
    path = Path(place.removeprefix("file://").replace("{run_id}", run_id))
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")


def written(server: KfpServer, task: Task, place: str, document: Any, **arguments: Any) -> Any:
    """Return what is left of a run that writes a document."""
    operator = task.operator(outputs_uri=place, **arguments)
    go_on = operator._go_on

    def write_and_go_on(*given: Any) -> str:
        write(place, task.run_id, document)
        return go_on(*given)

    operator._go_on = write_and_go_on  # type: ignore[method-assign]
    operator.execute(task.context())
    return task.xcom.get("outputs")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_outputs_are_what_the_run_has_written(
    server: KfpServer, task: Task, place: str, version: str, scheme: str
) -> None:
    document = {
        "parameters": {"accuracy": 0.95, "loss": float("nan")},
        "artifacts": {"report": "s3://reports/1", "model": {"uri": "s3://models/2", "metadata": {"epochs": 3}}},
    }
    outputs = written(server, task, scheme + place, document)

    artifacts = {"report": {"uri": "s3://reports/1"}, "model": {"uri": "s3://models/2", "metadata": {"epochs": 3}}}
    expected = {"parameters": {"accuracy": 0.95, "loss": "NaN"}, "artifacts": artifacts}
    assert outputs == (TOLD | expected if version == "3.0.0" else expected)


@only_2_17
def test_a_run_that_wrote_nothing_leaves_none_and_the_log_says_so(
    server: KfpServer, task: Task, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    task.run(outputs_uri=place)

    assert "outputs" not in task.xcom
    assert f"has written no outputs at {place.replace('{run_id}', task.run_id)}" in caplog.text


@only_2_17
def test_what_an_earlier_run_has_written_is_not_this_ones(server: KfpServer, task: Task, place: str) -> None:
    assert written(server, task, place, {"parameters": {"a": 1}}) == {"parameters": {"a": 1}}
    task.xcom.clear()
    task.max_tries = 1

    task.run(outputs_uri=place)

    assert "outputs" not in task.xcom


@only_2_17
@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("accuracy: 1", "are no JSON"),
        ("[" * 100_000, "are no JSON"),
        ("[]", "a JSON object with `parameters`"),
        ({"accuracy": 1}, "a JSON object with `parameters`"),
        ({"parameters": [1]}, "a JSON object with `parameters`"),
        ({"artifacts": {"model": {"url": "x"}, "table": 3}}, "artifacts model, table have no address"),
        ({"parameters": {"a": "a" * 300_000}}, "have more than 256 KiB"),
    ],
)
def test_what_are_no_outputs_is_told(server: KfpServer, task: Task, place: str, document: Any, complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        written(server, task, place, document)


@only_2_17
@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("https://example.com/outputs.json", "at a place that is not read"),
        ("s3://a/b::https://c", "at a place that is not read"),
        ("nowhere://a/b", "cannot be read"),
    ],
)
def test_a_place_that_is_not_read_is_told(server: KfpServer, task: Task, uri: str, complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        task.run(outputs_uri=uri)


@only_2_17
def test_a_store_that_is_away_is_asked_again_by_the_next_try(
    server: KfpServer, task: Task, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import ObjectStoragePath

    def away(*arguments: Any, **options: Any) -> None:
        raise TimeoutError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStoragePath, "open", away)
        with pytest.raises(ServiceUnavailableError, match="cannot be read now: timed out"):
            task.run(outputs_uri=place)
    write(place, task.run_id, {"parameters": {"a": 1}})

    task.run(outputs_uri=place)

    assert task.xcom["outputs"] == {"parameters": {"a": 1}}
    assert len(server.workflows) == 1


@only_2_17
def test_a_pipeline_that_asks_is_told_where_to_write(server: KfpServer, task: Task, record_and_wait: str) -> None:
    spec = json.loads(json.dumps(read_pipeline_spec(record_and_wait).to_json()))
    spec["root"]["inputDefinitions"]["parameters"]["outputs_uri"] = {"parameterType": "STRING"}
    given = {"pipeline_file": None, "pipeline_spec": spec, "outputs_uri": "s3://bucket/{run_id}.json"}

    task.run(wait_for_completion=False, **given)
    first = server.runs[task.run_id].runtime_config["parameters"]["outputs_uri"]
    assert first == f"s3://bucket/{task.run_id}.json"

    task.max_tries = 1
    task.run(wait_for_completion=False, parameters={"file": "f", "outputs_uri": "s3://elsewhere"}, **given)
    assert server.runs[task.run_id].runtime_config["parameters"]["outputs_uri"] == "s3://elsewhere"


@only_2_17
def test_a_pipeline_that_does_not_ask_is_told_nothing(server: KfpServer, task: Task) -> None:
    task.run(wait_for_completion=False, outputs_uri="s3://bucket/{run_id}.json")

    assert "outputs_uri" not in server.runs[task.run_id].runtime_config["parameters"]
