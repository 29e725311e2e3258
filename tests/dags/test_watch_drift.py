"""The comparison of captured requests as Airflow loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_releases import ids
from model_releases.config import ModelConfigError, read_model_config

DAGS = Path(__file__).parents[2] / "dags"
CAPTURE = {"capture": {"enabled": True}}


def write(folder: Path, model: dict[str, Any]) -> Path:
    document = {"data": {"train": "train.csv", "labels": ["bad", "good"]}, **model}
    path = folder / f"{model['name']}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, *models: dict[str, Any]) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    for model in models:
        write(folder, model)
    monkeypatch.setenv("MODELS_DIR", str(folder))
    monkeypatch.setenv("MODEL_STORE", "file:///store")
    bags = [DagBag(str(DAGS / name), safe_mode=False) for name in ("watch_drift.py", "release_models.py")]
    assert [bag.import_errors for bag in bags] == [{}, {}]
    return {dag_id: dag for bag in bags for dag_id, dag in bag.dags.items()}


def test_models_that_capture_requests_are_compared_on_their_own_schedule(tmp_path, monkeypatch):
    drift = {"drift": {"cron": "0 5 * * *"}, "schedule": {"timezone": "Europe/Berlin"}}
    off = {"name": "off", **CAPTURE, "drift": {"enabled": False}}
    dags = load(tmp_path, monkeypatch, {"name": "reviews"}, {"name": "support-tickets", **CAPTURE, **drift}, off)

    assert {dag_id for dag_id in dags if dag_id.startswith("watch_drift")} == {"watch_drift_support_tickets"}
    dag = dags["watch_drift_support_tickets"]
    assert set(dag.task_ids) == {"find_live", "compare", "tell"}
    assert (dag.max_active_runs, dag.catchup, dag.is_paused_upon_creation) == (1, False, False)
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("0 5 * * *", "Europe/Berlin")
    compare = dag.get_task("compare")
    assert compare.module == "include.monitoring.drift"
    assert compare.arguments["candidate-uri"].startswith("file:///store/support-tickets/{{")
    assert json.loads(compare.arguments["settings"])["false_alarm_rate"] == 0.01


def test_drift_starts_a_release_through_its_brakes_where_the_yaml_says_so(tmp_path, monkeypatch):
    schedule = {"schedule": {"retrain_on": "drift", "min_interval_hours": 168}}
    dags = load(tmp_path, monkeypatch, {"name": "reviews", **CAPTURE, **schedule})

    ask = dags["watch_drift_reviews"].get_task(ids.ASK_FOR_RELEASE)
    assert [asset.uri for asset in ask.outlets] == ["x-model://reviews/drift"]
    release = dags["release_reviews"]
    assert [asset.uri for asset in release.get_task("check").inlets] == ["x-model://reviews/drift"]
    assert type(release.timetable).__name__ == "AssetOrTimeSchedule"  # the daily look finds what came too soon


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**CAPTURE, "schedule": {"retrain_on": "drift"}}, "retrain_on: needs min_interval_hours"),
        (
            {"schedule": {"retrain_on": "drift", "min_interval_hours": 24}},
            "retrain_on: nobody looks for drift",
        ),
        ({"drift": {"cron": "every day"}}, "drift.cron: 'every day' is no cron expression"),
        ({"drift": {"false_alarm_rate": 0}}, "drift.false_alarm_rate"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, settings, message):
    with pytest.raises(ModelConfigError, match=message.replace(".", r"\.")):
        read_model_config(write(tmp_path, {"name": "reviews", **settings}))
