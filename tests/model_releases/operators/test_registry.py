"""What is registered about a candidate, and what happens when it has gone live."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import DAG, Asset, BaseOperator, Context

from include.contracts.registry_tags import ReleaseState
from include.contracts.version.released import ReleaseDocument
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.exceptions import CheckFailedError, ReleaseRefusedError
from model_releases.operators import registry as steps
from model_releases.operators.registry import RegisterOperator, ReleaseOperator
from model_releases.registry.service import Release
from tests.doubles.model_registry import model_registry

MODEL, VERSION = "reviews", "20260102000000"
OLDER = [f"2025120{day}000000" for day in range(1, 7)]


class Train(BaseOperator):
    """Leaves the id of a pipeline run, as the operator that runs one does."""

    def execute(self, context: Context) -> None:
        """Leave it."""
        context["ti"].xcom_push(key="run_id", value="run-7")
        context["ti"].xcom_push(key="run_url", value="https://kubeflow.example/runs/run-7")


def context(**more: Any) -> Any:
    return {"dag": SimpleNamespace(dag_id="release_reviews"), "run_id": "manual__1", **more}


def release_operator(uri: str, **settings: Any) -> ReleaseOperator:
    return ReleaseOperator(task_id="release", model=MODEL, version=VERSION, candidate_uri=uri, **settings)


def content_of(uri: str) -> bytes:
    return Path(uri.removeprefix("file://")).read_bytes()


def full_disk(*arguments: Any, **more: Any) -> str:
    raise OSError(errno.ENOSPC, "No space left on device")


def record(registry: Any, version: str, state: ReleaseState) -> None:
    entry = Release(model=MODEL, version=version, state=ReleaseState.CANDIDATE, archive_uri=f"s3://models/{version}")
    registry.register(entry, metrics={})
    registry.set_state(MODEL, version, state)


def test_its_task_has_a_button_to_the_registrys_page(
    write_candidate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, left = "https://kubeflow.example.com/model-registry/model-registry-service", {}
    with model_registry() as server:
        connection = {"conn_type": "kubeflow_model_registry", "host": server.url, "extra": {"ui_url": pages}}
        monkeypatch.setenv("AIRFLOW_CONN_REGISTRY_DEFAULT", json.dumps(connection))
        operator = RegisterOperator(task_id="register", model=MODEL, version=VERSION, candidate_uri=write_candidate())
        ti = SimpleNamespace(xcom_push=lambda key, value: left.update({key: value}), xcom_pull=lambda **_: None)
        operator.execute(context(ti=ti))
    assert left == {"registry_url": f"{pages}/registered-models/1/versions/2"}


@pytest.mark.airflow
def test_a_candidate_is_registered_with_everything_that_made_it(
    tmp_path: Path, registry: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any]
) -> None:
    with DAG("register_candidate", schedule=None, params={"version": VERSION}) as dag:
        register = RegisterOperator(
            task_id="register", model=MODEL, version="{{ params.version }}", candidate_uri=write_candidate(live=0.88)
        )
        Train(task_id="train") >> register
    run = run_dag(dag)
    assert run.state == "success"
    entry = registry.get_release(MODEL, VERSION)
    assert entry.state is ReleaseState.CANDIDATE
    package = (tmp_path / f"package-{VERSION}").as_uri()
    assert entry.archive_uri == package
    assert entry.facts == {
        "archive_sha256": sha256(b"123456789").hexdigest(),
        "dataset_uri": "s3://data/1",
        "dataset_sha256": "b" * 64,
        "train_rows": "600",
        "evaluation_rows": "150",
        "base_model": "scratch",
        "training_parameters": '{"seed": 42}',
        "serving_p95_ms": "8.0",
        "serving_precision": "onnx-int8",
        "serving_runtime": "torchserve",
        "model_format": "pytorch",
        "model_format_version": "1",
        "code_revision": "c0ffee",
        "report_uri": f"{package}/report.html",
        "created_at": "2026-01-02T00:10:00+00:00",
        "dag_id": "register_candidate",
        "dag_run_id": run.run_id,
        "trigger": "manual",
        "pipeline_run_id": "run-7",
        "pipeline_run_url": "https://kubeflow.example/runs/run-7",
        **{
            f"metric.{who}.{metric}": value
            for who, macro_f1 in (("candidate", "0.9"), ("live", "0.88"), ("baseline", "0.5"))
            for metric, value in {
                "accuracy": "0.9",
                "macro_f1": macro_f1,
                "log_loss": "0.3",
                "expected_calibration_error": "0.04",
            }.items()
        },
    }


def test_the_candidate_of_another_release_is_refused(registry: Any, write_candidate: Callable[..., str]) -> None:
    uri = write_candidate(version=OLDER[0])
    operator = RegisterOperator(task_id="register", model=MODEL, version=VERSION, candidate_uri=uri)
    with pytest.raises(InvalidRequestError, match=f"speaks of reviews {OLDER[0]}"):
        operator.execute(context())
    assert registry.get_release(MODEL, VERSION) is None


def test_a_release_that_a_person_took_back_is_not_registered_again_and_its_twin_is_told(
    registry: Any, write_candidate: Callable[..., str]
) -> None:
    def register(version: str) -> dict[str, str]:
        uri = write_candidate(version=version)
        return RegisterOperator(task_id="register", model=MODEL, version=version, candidate_uri=uri).execute(context())

    assert "twin_of" not in register(VERSION)
    registry.set_state(MODEL, VERSION, ReleaseState.LIVE)
    registry.add_facts(MODEL, VERSION, {"rolled_back_by": "ada", "rolled_back_reason": "rude"})
    registry.set_state(MODEL, VERSION, ReleaseState.ROLLED_BACK)
    with pytest.raises(ReleaseRefusedError, match="rolled back by ada"):
        register(VERSION)
    assert registry.get_release(MODEL, VERSION).state is ReleaseState.ROLLED_BACK
    assert register("20260103000000")["twin_of"] == VERSION
    assert f"made exactly as {VERSION}, which was rolled back" in registry.get_release(MODEL, "20260103000000").reason


@pytest.mark.airflow
def test_going_live_is_recorded_and_announced_and_leaves_what_another_installation_needs(
    tmp_path: Path, registry: Any, serving: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any]
) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    uri = write_candidate()
    judged, archive = (sha256(text).hexdigest() for text in (content_of(uri), b"123456789"))
    facts = {"candidate_sha256": judged, "archive_sha256": archive, "gate": "accepted", "approved_by": "ada"}
    record(registry, VERSION, ReleaseState.CANDIDATE)
    registry.add_facts(MODEL, VERSION, facts)
    serving.promote(MODEL, VERSION)
    with DAG("announce_release", schedule=None) as dag:
        outlets = [Asset(name="reviews live", uri="x-model://reviews/live")]
        release_operator(uri, candidate_sha256=judged, outlets=outlets)
    run = run_dag(dag)
    assert run.state == "success"
    assert registry.get_live(MODEL).version == VERSION
    assert registry.get_live(MODEL).facts["endpoint"] == "http://127.0.0.1:8999/v1/models/reviews:predict"
    with create_session() as session:
        (event,) = session.query(AssetEvent).filter(AssetEvent.source_run_id == run.run_id)
        extra = event.extra
    assert extra["endpoint"] == "http://127.0.0.1:8999/v1/models/reviews:predict"
    assert extra["archive_sha256"] == sha256(b"123456789").hexdigest()
    assert extra["candidate.macro_f1"] == "0.9"
    assert "a private text" not in str(extra)
    left = (tmp_path / "release.json").read_bytes()
    assert registry.get_live(MODEL).facts["release_sha256"] == sha256(left).hexdigest()
    document = ReleaseDocument.parse(left.decode(), where="the store")
    assert (document.candidate_sha256, document.gate, document.facts["approved_by"]) == (judged, "accepted", "ada")
    assert document.dag_run_url.endswith(f"/dags/announce_release/runs/{quote(run.run_id)}")


@pytest.mark.parametrize("live", [None, OLDER[0]])
def test_a_version_that_is_not_live_is_not_recorded_as_live(
    registry: Any, serving: Any, write_candidate: Callable[..., str], live: str | None
) -> None:
    record(registry, VERSION, ReleaseState.CANDIDATE)
    serving.live = live
    with pytest.raises(CheckFailedError, match=f"live version: expected {VERSION}"):
        release_operator(write_candidate()).execute(context())
    assert registry.get_release(MODEL, VERSION).state is ReleaseState.CANDIDATE


def test_old_versions_go_but_never_the_live_or_the_previous_one(
    registry: Any, serving: Any, write_candidate: Callable[..., str]
) -> None:
    previous, *others = OLDER
    for version in OLDER:
        record(registry, version, ReleaseState.RETIRED)
    record(registry, "20260101000000", ReleaseState.FAILED)
    record(registry, VERSION, ReleaseState.CANDIDATE)
    serving.deployed = {*OLDER, "20260101000000"}
    serving.promote(MODEL, previous)
    serving.promote(MODEL, VERSION)
    operator = release_operator(write_candidate(), keep_versions=4)
    operator.execute(context())
    assert serving.deployed == {VERSION, previous, others[-1], others[-2]}
    operator.execute(context())  # as a retry would
    assert serving.deployed == {VERSION, previous, others[-1], others[-2]}


def test_a_leftover_does_not_undo_a_good_release(
    registry: Any,
    serving: Any,
    write_candidate: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "leave", full_disk)
    for version in (*OLDER[:3], VERSION):
        record(registry, version, ReleaseState.CANDIDATE)
    serving.stuck = {OLDER[1]}
    serving.deployed = set(OLDER[:3])
    serving.promote(MODEL, VERSION)
    uri = write_candidate()
    release_operator(uri, candidate_sha256=sha256(content_of(uri)).hexdigest(), keep_versions=2).execute(context())
    assert registry.get_live(MODEL).version == VERSION
    assert serving.deployed == {VERSION, OLDER[1]}
    # Airflow's log goes to stdout once a test before this one has configured it.
    said = caplog.text + capsys.readouterr().out
    assert f"{OLDER[1]} is still in service" in said
    assert "cannot be taken over by another installation until this task was cleared: [Errno 28]" in said
