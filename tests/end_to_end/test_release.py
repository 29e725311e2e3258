"""The main job, as a user runs it: `make release`, then the same DAG in a running Airflow."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.end_to_end.embedded_world import MODEL, EmbeddedWorld, request_json
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.torchserve,
    pytest.mark.pipelines,
    pytest.mark.timeout(1800),  # a release takes one minute and a half, and ten times as long beside enough others
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedWorld]:
    world = EmbeddedWorld(tmp_path_factory.mktemp("state"))
    yield world
    answer = world.make("stop")
    assert answer.returncode == 0, answer.stderr


@pytest.fixture(scope="module")
def first_release(world: EmbeddedWorld) -> subprocess.CompletedProcess[str]:
    return world.make("release")


def test_make_release_ends_with_a_card(world, first_release):
    assert first_release.returncode == 0, first_release.stdout[-5000:] + first_release.stderr[-2000:]
    output = first_release.stdout
    for step in ("check", "preprocess", "train", "gate", "deploy_candidate", "smoke_test", "promote", "verify"):
        assert f"== {step}" in output
    card = output[output.rindex("== report") :]
    for part in (MODEL, "macro F1", "baseline", "train", f"{world.serving}/v1/models/{MODEL}:predict", "curl"):
        assert part.lower() in card.lower(), part


def test_the_curl_line_of_the_card_answers(world, first_release):
    (line,) = re.findall(r"try it +(curl .+)$", first_release.stdout, flags=re.MULTILINE)
    answer = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    (prediction,) = json.loads(answer.stdout)["predictions"]
    assert set(prediction) >= {"label", "score", "probabilities", "version"}
    assert prediction["probabilities"][prediction["label"]] == prediction["score"]
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_the_live_model_is_good_and_knows_its_version(world, first_release):
    (prediction,) = world.predict("An absolutely wonderful dinner, we loved every minute.")
    candidate = world.candidate(prediction["version"])
    assert candidate["metrics"]["candidate"]["macro_f1"] >= 0.9
    assert candidate["metrics"]["live"] is None
    assert set(prediction["probabilities"]) == set(candidate["labels"])


def test_status_says_what_is_live(world, first_release):
    answer = world.make("status")
    assert answer.returncode == 0, answer.stderr
    (prediction,) = world.predict("fine")
    assert re.search(rf"{prediction['version']}\s+live", answer.stdout)


@pytest.mark.long  # told by tests/classifier/lookback/test_explain.py
def test_an_answer_of_the_endpoint_is_explained_by_the_archive_it_came_from(world, first_release):
    text = "The soup was 'cold', but the waiter was friendly."
    (prediction,) = world.predict(text)
    answer = world.make("explain", TEXT=text)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for part in (
        f"{MODEL} {prediction['version']} answers: {prediction['label']} ({prediction['score']:.4f})",
        f"from version {prediction['version']}: the same, largest difference 0.0000",
        "[CLS] the",
        "Words that mattered",
    ):
        assert part in answer.stdout
    logs = [path for path in world.state.rglob("*") if path.is_file() and path.suffix in (".log", ".jsonl", ".txt")]
    assert logs
    assert not [path for path in logs if "waiter was friendly" in path.read_text(errors="replace")]


@pytest.mark.long  # it trains once more; what it compares is told by tests/classifier/lookback/test_reproduce.py
def test_a_release_is_reproduced_from_its_record_and_nothing_else_changes(world, first_release):
    (before,) = world.predict("fine")
    answer = world.make("reproduce", RELEASE=before["version"])
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr
    assert "weights: bit-identical" in answer.stdout
    assert f"{MODEL} {before['version']}: reproduced within a tolerance of 0.01" in answer.stdout
    assert len(re.findall(r"\d{14}\s+live", world.make("status").stdout)) == 1
    answer = world.make("reproduce", RELEASE="20200101000000")
    assert answer.returncode != 0
    assert f"20200101000000 is in no record; there are {before['version']}" in answer.stderr


@pytest.mark.long  # told by tests/scripts/test_settings_of_a_release.py
def test_an_unknown_model_or_setting_is_named(world):
    answer = world.make("release", MODEL="no-such-model")
    assert answer.returncode != 0
    assert "no-such-model" in answer.stderr
    assert MODEL in answer.stderr
    answer = world.make("release", EPOCHS="many")
    assert answer.returncode != 0
    assert "EPOCHS" in answer.stderr


@pytest.mark.long  # told by tests/classifier/data/test_checks.py and test_broken_releases::test_a_pipeline_that_fails…
def test_data_that_cannot_be_meant_is_refused_and_the_live_model_stays(world, first_release, tmp_path):
    (before,) = world.predict("fine")
    broken = tmp_path / "broken.csv"
    broken.write_text("label,review\n1,fine\n")
    answer = world.make("release", TRAIN=str(broken))
    assert answer.returncode != 0
    assert "broken.csv" in answer.stdout
    assert "text" in answer.stdout
    (after,) = world.predict("fine")
    assert after["version"] == before["version"]


@pytest.mark.long
def test_a_candidate_below_its_threshold_is_rejected_and_the_run_is_no_failure(world, first_release):
    (before,) = world.predict("fine")
    answer = world.make("release", EPOCHS="0.05", MIN_MACRO_F1="0.99")
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert "rejected" in answer.stdout
    assert "== deploy_candidate" not in answer.stdout
    (after,) = world.predict("fine")
    assert after["version"] == before["version"]
    assert re.search(r"\d{14}\s+rejected", world.make("status").stdout)


@pytest.mark.long  # a whole release more; running_airflow/ and test_make_release tell its halves
def test_a_trigger_through_the_rest_api_of_a_running_airflow_completes_a_release(world, first_release):
    (before,) = world.predict("fine")
    started = world.make("airflow")
    assert started.returncode == 0, started.stdout + started.stderr
    token = world.token(started.stdout)
    runs = f"{world.airflow}/api/v2/dags/release_sample_reviews/dagRuns"
    run: dict[str, Any] = {}

    def is_triggered() -> bool:
        with suppress(OSError):  # the DAG is not parsed yet
            run.update(request_json(runs, {"logical_date": None, "conf": {"seed": 7}}, token))
        return bool(run)

    def is_over() -> bool:
        run.update(request_json(f"{runs}/{run['dag_run_id']}", token=token))
        return run["state"] not in ("queued", "running")

    wait_for(is_triggered, "the DAG is parsed", pause=1)
    wait_for(is_over, lambda: f"the end of {run}", pause=1)
    assert run["state"] == "success"
    (after,) = world.predict("fine")
    assert after["version"] > before["version"]
    live = world.candidate(after["version"])["metrics"]["live"]
    assert live["version"] == before["version"]


@pytest.mark.long  # told by tests/local_services
@pytest.mark.parametrize(
    ("conn_type", "says"),
    [("local_pipelines", "KFP 2"), ("torchserve", "serves sample-reviews"), ("mlflow", "MLflow")],
)
def test_the_connections_test_button_works(world, first_release, conn_type, says):
    token = world.token(world.make("airflow").stdout)
    answer = request_json(f"{world.airflow}/api/v2/connections/test", world.connection(conn_type), token)
    assert answer["status"] is True, answer
    assert says in answer["message"]


@pytest.mark.long  # told by tests/local_services/torchserve/test_hook.py
def test_stop_and_serve_bring_the_live_version_back(world, first_release):
    (before,) = world.predict("fine")
    assert "TorchServe stopped" in world.make("stop").stdout
    with pytest.raises(OSError):
        world.predict("fine")
    assert world.make("serve").returncode == 0
    (after,) = world.predict("fine")
    assert after["version"] == before["version"]
