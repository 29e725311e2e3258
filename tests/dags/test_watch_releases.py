"""The watch as Airflow loads it, and the alerts that somebody sends to see whether they arrive."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alert_listener import alert_listener

DAGS = Path(__file__).parents[2] / "dags"


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, *models: dict[str, Any]) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    for model in models:
        document = {"data": {"train": "train.csv", "labels": ["bad", "good"]}, **model}
        (folder / f"{model['name']}.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("MODELS_DIR", str(folder))
    bags = [DagBag(str(DAGS / name), safe_mode=False) for name in ("watch_releases.py", "test_alerts.py")]
    assert [bag.import_errors for bag in bags] == [{}, {}]
    return {dag_id: dag for bag in bags for dag_id, dag in bag.dags.items()}


def test_every_model_is_watched_and_what_waits_is_delivered_whatever_became_of_the_watch(tmp_path, monkeypatch):
    dag = load(tmp_path, monkeypatch, {"name": "reviews"}, {"name": "support-tickets"})["watch_releases"]
    assert set(dag.task_ids) == {"watch_reviews", "watch_support_tickets", "deliver_alerts"}
    deliver = dag.get_task("deliver_alerts")
    assert deliver.upstream_task_ids == {"watch_reviews", "watch_support_tickets"}
    assert deliver.trigger_rule == "all_done"


def test_many_models_are_watched_several_in_a_task(tmp_path, monkeypatch):
    names = [f"model-{number:02}" for number in range(51)]
    dag = load(tmp_path, monkeypatch, *({"name": name} for name in names))["watch_releases"]
    tasks = [dag.get_task(f"watch_models_{number}") for number in (1, 2, 3)]
    assert [watch["model"] for task in tasks for watch in task.watches] == names
    assert [len(task.watches) for task in tasks] == [25, 25, 1]
    assert dag.get_task("deliver_alerts").upstream_task_ids == {task.task_id for task in tasks}
    assert set(dag.task_ids) == {"deliver_alerts", *(task.task_id for task in tasks)}


def test_the_watch_is_on_and_never_runs_twice_at_a_time(tmp_path, monkeypatch):
    dag = load(tmp_path, monkeypatch, {"name": "reviews"})["watch_releases"]
    assert dag.is_paused_upon_creation is False
    assert (dag.max_active_runs, dag.max_active_tasks, dag.catchup) == (1, 1, False)
    assert type(dag.timetable).__name__ == "CronTriggerTimetable"


def test_a_model_with_an_age_limit_has_a_deadline_and_goes_by_its_own_settings(tmp_path, monkeypatch):
    alerts = {
        "connections": {"loud": "pager", "quiet": "none"},
        "max_age_days": 30,
        "disagreement_grace_minutes": 5,
        "remind_after_hours": 12,
    }
    models = {"name": "aging", "alerts": alerts, "connections": {"alerts": "mail"}}, {"name": "ageless"}
    dag = load(tmp_path, monkeypatch, *models)["watch_releases"]

    (deadline,) = dag.deadline
    assert deadline.reference.model == "aging"
    assert deadline.interval == timedelta(days=30)
    assert deadline.callback.kwargs["conn_id"] == "mail"
    aging, ageless = dag.get_task("watch_aging"), dag.get_task("watch_ageless")
    assert aging.alert_conn_ids == {"quiet": "none", "normal": "mail", "loud": "pager"}
    assert (aging.disagreement_grace, aging.remind_after) == (timedelta(minutes=5), timedelta(hours=12))
    assert set(ageless.alert_conn_ids.values()) == {"alerts_default"}
    assert (aging.max_age, ageless.max_age) == (timedelta(days=30), None)


def test_one_broken_model_leaves_the_others_watched(tmp_path, monkeypatch):
    (tmp_path / "broken.yaml").write_text("name: [")
    dag = load(tmp_path, monkeypatch, {"name": "reviews"})["watch_releases"]
    assert "watch_reviews" in dag.task_ids


@pytest.mark.airflow
@pytest.mark.usefixtures("no_alerts_wait")
def test_test_alerts_go_to_the_connections_of_the_chosen_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dag: Callable[..., Any]
) -> None:
    models = {"name": "reviews"}, {"name": "tickets", "alerts": {"connections": {"quiet": "none", "loud": "pager"}}}
    dag = load(tmp_path, monkeypatch, *models)["test_alerts"]
    with alert_listener() as (mail, mail_url), alert_listener() as (pager, pager_url):
        for conn_id, url in (("ALERTS_DEFAULT", mail_url), ("PAGER", pager_url)):
            connection = json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}})
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id}", connection)
        assert run_dag(dag, model="tickets").state == "success"
    assert [alert["title"] for alert in mail.alerts] == ["WARNING: test alert of tickets"]
    assert [alert["title"] for alert in pager.alerts] == ["CRITICAL: test alert of tickets"]
