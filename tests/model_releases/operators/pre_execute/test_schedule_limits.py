"""What the brakes of a release ask of registry, events and sources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from include.contracts.registry_tags import ReleaseState
from include.contracts.schedule import ScheduleConfig
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.memory import xcoms
from model_releases.memory.run_trigger import Trigger
from model_releases.operators.pre_execute import schedule_limits as module
from model_releases.operators.pre_execute.schedule_limits import ReleaseBrakes
from model_releases.operators.report import ReportOperator
from model_releases.registry.service import Release
from tests.connected import connect

MODEL, LIVE = "reviews", "20261101030000"
LIVE_TIME = datetime(2026, 11, 1, 3, tzinfo=UTC)
NOW = LIVE_TIME + timedelta(days=10)
REVIEWS = Asset("s3://bucket/reviews")


class Events:
    """Asset events as a task sees them."""

    def __init__(self, events: Iterable[tuple[datetime, Mapping[str, Any]]]) -> None:
        self.events = list(events)

    def after(self, time: str) -> Events:
        return Events(event for event in self.events if event[0] > datetime.fromisoformat(time))

    def __iter__(self) -> Any:
        return iter(SimpleNamespace(extra=extra) for _, extra in self.events)


class Pipelines:
    """Counts rows as the pipeline half would."""

    shows_arguments = True

    def __init__(self, sources: Mapping[str, int], is_new: Iterable[str] = ()) -> None:
        self.sources = sources
        self.is_new = list(is_new)
        self.asked: list[Mapping[str, str]] = []

    def run_module(self, name: str, arguments: Mapping[str, str], **settings: Any) -> None:
        assert name == "include.classifier.data.source_rows"
        self.asked.append(arguments)
        document = [{"uri": uri, "rows": rows, "is_new": uri in self.is_new} for uri, rows in self.sources.items()]
        Path(arguments["output-uri"].removeprefix("file://")).write_text(json.dumps(document))


@pytest.fixture
def run(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``run(...)``: ``None`` when the release goes on, else the reason why it does not."""
    source = {"uri": "train.csv", "split": "train", "rows": 100}
    held_out = {"uri": "evaluation.csv", "split": "evaluation", "rows": 900}
    (tmp_path / "dataset.json").write_text(json.dumps({"sources": [source, held_out]}))
    facts = {"dataset_uri": (tmp_path / "dataset.json").as_uri()}
    registry.register(
        Release(model=MODEL, version=LIVE, state=ReleaseState.LIVE, archive_uri="file:///x", facts=facts), metrics={}
    )

    def run(
        schedule: ScheduleConfig,
        *,
        run_type: str = "asset_triggered",
        now: datetime = NOW,
        events: Iterable[tuple[datetime, Mapping[str, Any]]] = (),
        waiting: int = 0,
        pipelines: Pipelines | None = None,
        max_tries: int = 2,
        data: str = "{}",
    ) -> str | None:
        connect(monkeypatch, registry_default=registry, pipelines_default=pipelines)
        monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", lambda dag_id, states: waiting)
        monkeypatch.setattr(module, "datetime", SimpleNamespace(now=lambda zone: now))
        left: dict[str, Any] = {}
        context: Any = {
            "dag": SimpleNamespace(dag_id="release_reviews"),
            "dag_run": SimpleNamespace(run_type=run_type, run_after=now),
            "ti": SimpleNamespace(xcom_push=lambda key, value: left.update({key: value}), max_tries=max_tries),
            "task": SimpleNamespace(inlets=[REVIEWS], render_template=lambda text, context: text, retries=2),
            "inlet_events": {REVIEWS: Events(events)},
        }
        try:
            ReleaseBrakes(schedule=schedule, model=MODEL, data=data, store_uri=tmp_path.as_uri())(context)
        except AirflowSkipException:
            return left[xcoms.NOT_DUE]
        assert not left
        return None

    return run


def test_a_release_by_hand_asks_nobody_anything(run: Any) -> None:
    brakes = ReleaseBrakes(
        schedule=ScheduleConfig(min_new_rows=10), model=MODEL, data="{}", store_uri="file:///nowhere"
    )
    assert brakes({"dag_run": SimpleNamespace(run_type="manual")}) is None  # type: ignore[typeddict-item]


def test_queued_runs_of_the_same_dag_are_newer_requests(run: Any) -> None:
    assert "steps aside" in run(ScheduleConfig(), waiting=1)


def test_clearing_a_release_that_was_not_due_asks_for_it_by_hand(run: Any) -> None:
    assert "steps aside" in run(ScheduleConfig(), waiting=1, max_tries=2)
    assert run(ScheduleConfig(), waiting=1, max_tries=3) is None


def test_the_newest_record_counts_for_the_interval_whatever_became_of_it(run: Any, registry: Any) -> None:
    assert run(ScheduleConfig(min_interval_hours=48)) is None
    rejected = f"{NOW - timedelta(hours=2):%Y%m%d%H%M%S}"
    registry.register(
        Release(model=MODEL, version=rejected, state=ReleaseState.REJECTED, archive_uri="file:///y"), metrics={}
    )
    assert "2.0 hours ago" in run(ScheduleConfig(min_interval_hours=48))


def test_rows_that_events_announce_are_summed_since_the_live_model(run: Any) -> None:
    before, after = LIVE_TIME - timedelta(hours=1), LIVE_TIME + timedelta(hours=1)
    events = [(before, {"rows": 500}), (after, {"rows": 30}), (NOW, {"rows": 20})]
    assert run(ScheduleConfig(min_new_rows=51), events=events).startswith("50 new training rows")
    assert run(ScheduleConfig(min_new_rows=50), events=events) is None


def test_where_an_event_does_not_say_the_sources_are_counted(run: Any) -> None:
    events = [(NOW, {"rows": 1000}), (NOW, {})]
    pipelines = Pipelines({"train.csv": 140})
    assert run(ScheduleConfig(min_new_rows=41), events=events, pipelines=pipelines).startswith("40 new training rows")
    assert len(pipelines.asked) == 1
    assert run(ScheduleConfig(min_new_rows=40), events=events, pipelines=pipelines) is None


def test_other_sources_than_the_live_models_cannot_be_compared_and_are_no_brake(run: Any) -> None:
    assert run(ScheduleConfig(min_new_rows=10_000), pipelines=Pipelines({"other.csv": 140})) is None


def test_rows_of_later_days_are_new_whatever_has_left_the_window(run: Any, tmp_path: Path) -> None:
    days = [{"uri": f"{day}.csv", "split": "train", "rows": 500, "named": "{date}.csv"} for day in (1, 2)]
    undated = {"uri": "train.csv", "split": "train", "rows": 60}
    window = {"first": "2026-10-01", "last": "2026-10-31", "timezone": "UTC", "sources": []}
    (tmp_path / "dataset.json").write_text(json.dumps({"sources": [*days, undated], "window": window}))
    pipelines = Pipelines({"{date}.csv": 300, "train.csv": 100}, is_new=["{date}.csv"])
    limits = {"timezone": "Europe/Berlin"}
    reason = run(ScheduleConfig(min_new_rows=341, **limits), pipelines=pipelines)
    assert reason.startswith("340 new training rows")
    assert run(ScheduleConfig(min_new_rows=340, **limits), pipelines=pipelines) is None
    asked = {name: pipelines.asked[0][name] for name in ("as-of", "timezone", "since")}
    assert asked == {"as-of": NOW.isoformat(), "timezone": "Europe/Berlin", "since": "2026-10-31"}


def test_a_data_set_that_is_gone_is_no_brake(run: Any, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").unlink()
    assert run(ScheduleConfig(min_new_rows=10_000), pipelines=Pipelines({"train.csv": 140})) is None


def test_rows_behind_an_address_with_a_secret_are_not_counted_in_a_pod(run: Any) -> None:
    pipelines = Pipelines({"train.csv": 140})
    for field in ("train", "evaluation", "allowed_sources"):
        data = json.dumps({"train": ["train.csv"]} | {field: ["https://me:hidden@h/train.csv"]})
        with pytest.raises(InvalidRequestError, match=r"^https://h/train\.csv: a password"):
            run(ScheduleConfig(min_new_rows=41), pipelines=pipelines, data=data)
    assert pipelines.asked == []


def test_the_daily_look_acts_on_age_and_on_events_that_were_held_back(run: Any) -> None:
    assert "10.0 days old" in run(ScheduleConfig(max_age_days=30), run_type="scheduled")
    assert run(ScheduleConfig(max_age_days=9), run_type="scheduled") is None
    after = LIVE_TIME + timedelta(hours=1)
    assert run(ScheduleConfig(max_age_days=30), run_type="scheduled", events=[(after, {})]) is None


@pytest.mark.airflow
def test_what_is_not_due_ends_green_and_its_report_says_so(
    registry: Any, serving: Any, run_dag: Any, xcom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    class Scheduled(ReleaseBrakes):
        """As if the scheduler had started the run."""

        def __call__(self, context: Any) -> None:
            monkeypatch.setattr(Trigger, "of", lambda dag_run: Trigger.SCHEDULED)
            super().__call__(context)

    version = f"{datetime.now(UTC) - timedelta(hours=1):%Y%m%d%H%M%S}"
    registry.register(
        Release(model=MODEL, version=version, state=ReleaseState.LIVE, archive_uri="file:///x"), metrics={}
    )
    with DAG("not_due", schedule=None) as dag:
        hold = Scheduled(schedule=ScheduleConfig(max_age_days=1), model=MODEL, data="{}", store_uri="file:///x")
        work = EmptyOperator(task_id="work")
        roll_back = EmptyOperator(task_id="roll_back", trigger_rule="one_failed")
        EmptyOperator(task_id="check", pre_execute=hold) >> work >> roll_back
        report = ReportOperator(
            task_id="report", model=MODEL, version="20260102000000", candidate_uri="file:///nowhere/candidate.json"
        )
        [work, roll_back] >> report
    result = run_dag(dag)
    assert result.state == "success"
    states = {instance.task_id: instance.state for instance in result.get_task_instances()}
    assert states == {"check": "skipped", "work": "skipped", "roll_back": "skipped", "report": "success"}
    outcome = xcom(result, "report", "outcome")
    assert outcome["kind"] == "not due"
    assert outcome["line"] == "the live model is 0.0 days old, schedule.max_age_days is 1"
    assert "NOT DUE" in xcom(result, "report", "card")


@pytest.mark.airflow
def test_queued_runs_are_counted_by_airflow_itself(registry: Any, run_dag: Any, xcom: Any, monkeypatch: Any) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    def start() -> Any:
        with DAG("queues", schedule=None) as dag:
            brakes = ReleaseBrakes(schedule=ScheduleConfig(), model=MODEL, data="{}", store_uri="file:///x")
            EmptyOperator(task_id="check", pre_execute=brakes)
        return run_dag(dag)

    monkeypatch.setattr(Trigger, "of", lambda dag_run: Trigger.ASSET)
    assert xcom(alone := start(), "check", xcoms.NOT_DUE) is None
    assert alone.state == "success"
    with create_session() as session:
        session.add(
            DagRun(
                dag_id="queues",
                run_id="newer",
                run_type=DagRunType.MANUAL,
                run_after=datetime.now(UTC),
                state="queued",
                triggered_by=DagRunTriggeredByType.TEST,
            )
        )
    assert "a newer request" in xcom(start(), "check", xcoms.NOT_DUE)
