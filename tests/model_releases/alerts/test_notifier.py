"""Alerts at a real listener: what they say, that they come once, and what happens when nobody listens."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import DAG, BaseOperator, Context, TriggerRule

from include.contracts.registry_tags import ReleaseState
from model_releases.alerts.notifier import ReleaseNotifier
from model_releases.exceptions import CheckFailedError, RollBackFailedError
from model_releases.memory.failures import remember_failure
from model_releases.operators.report import ReportOperator
from model_releases.registry.service import Release
from tests.alert_listener import SECRET_PATH
from tests.supervisor import supervised

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("no_variables")]

VERSION, BEFORE = "20260102000000", "20260101000000"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that makes ``alerts_default`` with a config."""

    def make(config: Any) -> None:
        extra = {"config": config}
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS_DEFAULT", json.dumps({"conn_type": "apprise", "extra": extra}))

    return make


class Step(BaseOperator):
    """Fails if it is given an error."""

    def __init__(self, *, error: Exception | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: Context) -> None:
        """Fail, or not."""
        if self.error:
            raise self.error


def failing_dag(model: str, *, roll_back_error: Exception | None = None, with_report: bool = True) -> DAG:
    error = CheckFailedError("golden examples", expected="row 3: 5 stars", got="row 3: 1 star")
    notifier = ReleaseNotifier(model=model, version="{{ shorten(dag_run) }}")
    with DAG(
        f"alert_{model}",
        schedule=None,
        on_failure_callback=notifier,
        user_defined_macros={"shorten": lambda dag_run: VERSION},
        default_args={"on_failure_callback": remember_failure},
    ) as dag:
        smoke_test = Step(task_id="smoke_test", error=error)
        roll_back = Step(task_id="roll_back", error=roll_back_error, trigger_rule=TriggerRule.ONE_FAILED)
        last: BaseOperator
        if with_report:
            this = {"model": model, "version": VERSION, "candidate_uri": "file:///nowhere/candidate.json"}
            last = ReportOperator(task_id="report", on_failure_callback=notifier, **this)
        else:
            last = Step(
                task_id="report",
                error=KeyError("a bug"),
                on_failure_callback=notifier,
                trigger_rule=TriggerRule.ALL_DONE,
            )
        smoke_test >> roll_back >> last
        smoke_test >> last
    return dag


def alert_again(dag: DAG, run: Any) -> None:
    """Fail the report of a run once more, as clearing it does."""
    from airflow.sdk.definitions.dag import _run_task

    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == "report"]
    _run_task(ti=ti, task=dag.get_task("report"))


def test_one_alert_arrives_and_says_what_is_needed(
    registry: Any, serving: Any, run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    serving.promote("one-alert", BEFORE)
    listener, url = listen()
    connect({"path": url})
    dag = failing_dag("one-alert")
    run = run_dag(dag)
    assert run.state == "failed"
    (alert,) = listener.alerts
    assert alert["title"] == f"WARNING: Release of one-alert {VERSION} failed"
    assert alert["type"] == "warning"
    assert alert["message"].splitlines()[:9] == [
        "Model: one-alert",
        f"Version: {VERSION}",
        "Failed task: smoke_test",
        "Failed check: golden examples",
        "Expected: row 3: 5 stars",
        "Got: row 3: 1 star",
        f"Serving now: {BEFORE}",
        "Roll back: worked: what was live before the release is live",
        "Endpoint: http://127.0.0.1:8999/v1/models/one-alert:predict",
    ]
    assert f"DAG run: http://localhost:8080/dags/alert_one-alert/runs/{quote(run.run_id)}" in alert["message"]

    alert_again(dag, run)
    assert len(listener.alerts) == 1
    assert run_dag(dag).state == "failed"  # another run is another failure
    assert len(listener.alerts) == 2


def test_the_net_of_the_dag_repeats_nothing_that_the_report_has_said(
    registry: Any, serving: Any, run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    listener, url = listen()
    connect({"path": url})
    dag = failing_dag("net-repeats")
    run = run_dag(dag)
    with supervised():
        dag.on_failure_callback({"dag": dag, "run_id": run.run_id, "reason": "task_failure"})
    assert len(listener.alerts) == 1


def test_the_net_of_the_dag_tells_of_a_run_without_a_report(
    run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    listener, url = listen()
    connect({"path": url})
    notifier = ReleaseNotifier(model="net-alone", version="{{ shorten(dag_run) }}")
    with DAG("net_alone", schedule=None, default_args={"on_failure_callback": remember_failure}) as dag:
        Step(task_id="train", error=CheckFailedError("loss", expected="a number", got="NaN"))
    run = run_dag(dag)
    with supervised():
        for _ in range(2):
            notifier({"dag": dag, "run_id": run.run_id, "reason": "task_failure"})
    (alert,) = listener.alerts
    assert alert["message"].splitlines() == [
        "Model: net-alone",
        f"Version: (run {run.run_id})",
        "Failed task: train",
        "Failed check: loss",
        "Expected: a number",
        "Got: NaN",
        "Serving now: not known: the release ended before its report",
        "Roll back: not needed: nothing had been deployed",
        f"DAG run: http://localhost:8080/dags/net_alone/runs/{quote(run.run_id)}",
    ]


def test_the_net_of_the_dag_tells_of_a_run_that_no_task_ended(
    run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    listener, url = listen()
    connect({"path": url})
    with DAG("net_timeout", schedule=None) as dag:
        Step(task_id="train")
    run = run_dag(dag)
    with supervised():
        ReleaseNotifier(model="net-timeout", version=VERSION)({"dag": dag, "run_id": run.run_id, "reason": "timed_out"})
    (alert,) = listener.alerts
    assert "Reason: the DAG run ended as failed: timed_out" in alert["message"]
    assert "Failed task" not in alert["message"]


def test_a_failed_roll_back_is_louder(
    registry: Any, serving: Any, run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    listener, url = listen()
    connect([{"path": url}])
    run_dag(failing_dag("loud", roll_back_error=RollBackFailedError("nothing answers")))
    (alert,) = listener.alerts
    assert alert["title"] == f"CRITICAL: roll back of loud {VERSION} failed"
    assert alert["type"] == "failure"
    assert "Failed check: golden examples" in alert["message"]
    assert "Roll back: FAILED: somebody has to look now" in alert["message"]
    assert "Roll back failed with: nothing answers" in alert["message"]


def test_a_report_that_breaks_itself_does_not_silence_the_alert(
    run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    listener, url = listen()
    connect(json.dumps({"path": url}))
    run_dag(failing_dag("broken-report", with_report=False))
    (alert,) = listener.alerts
    assert f"Version: {VERSION}" in alert["message"]
    assert "Failed task: smoke_test" in alert["message"]
    assert "Serving now: not known" in alert["message"]


def test_a_receiver_that_fails_is_tried_again_and_a_good_one_is_told_once(
    registry: Any, serving: Any, run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    (shaky, shaky_url), (good, good_url) = listen(), listen()
    shaky.refuse = 2
    connect([{"path": shaky_url}, {"path": good_url}])
    run_dag(failing_dag("shaky"))
    assert (shaky.calls, len(shaky.alerts)) == (3, 1)
    assert (good.calls, len(good.alerts)) == (1, 1)


def test_an_alert_that_did_not_arrive_is_kept_and_sent_again_when_its_task_is_cleared(
    registry: Any,
    serving: Any,
    run_dag: Callable[..., Any],
    connect: Callable[..., None],
    listen: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (dead, dead_url), (good, good_url) = listen(), listen()
    dead.refuse = 3
    connect([{"path": dead_url}, {"path": good_url}])
    dag = failing_dag("dead")
    with caplog.at_level(logging.DEBUG):
        run = run_dag(dag)
    assert (dead.calls, len(dead.alerts), len(good.alerts)) == (3, 0, 1)
    written = caplog.text + "".join(capfd.readouterr())
    assert "has not taken an alert" in written
    assert SECRET_PATH not in written

    alert_again(dag, run)
    assert (len(dead.alerts), len(good.alerts)) == (1, 1)


@pytest.mark.parametrize(
    "config, said",
    [
        (None, "there is no connection 'alerts_default'"),
        ({"url": f"json://{SECRET_PATH}"}, "should look like"),
        ("not JSON", "should look like"),
        ({"path": f"nonsense://{SECRET_PATH}"}, "entry 1 is no URL that Apprise understands"),
    ],
)
def test_a_missing_or_wrong_connection_is_said_and_changes_nothing(
    registry: Any,
    serving: Any,
    run_dag: Callable[..., Any],
    connect: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    config: Any,
    said: str,
) -> None:
    if config is not None:
        connect(config)
    run = run_dag(failing_dag("nobody"))
    assert run.state == "failed"
    written = caplog.text + "".join(capfd.readouterr())
    assert said in written
    assert SECRET_PATH not in written
    assert "Failed to run task callback" not in written


def test_a_rejected_candidate_is_told_quietly_and_once(
    registry: Any,
    serving: Any,
    run_dag: Callable[..., Any],
    connect: Callable[..., None],
    listen: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (quiet, quiet_url), (others, others_url) = listen(), listen()
    connect({"path": others_url})
    extra = {"config": {"path": quiet_url}}
    monkeypatch.setenv("AIRFLOW_CONN_QUIET", json.dumps({"conn_type": "apprise", "extra": extra}))
    registry.register(
        Release(model="rejected", version=VERSION, state=ReleaseState.REJECTED, reason="rejected: macro F1 0.8"),
        metrics={},
    )
    notifier = ReleaseNotifier(
        model="rejected",
        version=VERSION,
        conn_id={"quiet": "{{ 'qui' ~ 'et' }}", "normal": "alerts_default", "loud": "alerts_default"},
    )
    with DAG("alert_rejected", schedule=None, on_failure_callback=notifier) as dag:
        ReportOperator(
            task_id="report",
            model="rejected",
            version=VERSION,
            candidate_uri="file:///nowhere/candidate.json",
            on_failure_callback=notifier,
            on_success_callback=notifier,
        )
    run = run_dag(dag)
    alert_again(dag, run)
    assert run.state == "success"
    (alert,) = quiet.alerts
    assert (alert["type"], alert["title"]) == ("info", f"INFO: Release of rejected {VERSION} rejected")
    assert "Reason: rejected: macro F1 0.8" in alert["message"]
    assert others.alerts == []


def test_a_release_that_went_well_is_not_told(
    registry: Any, serving: Any, run_dag: Callable[..., Any], connect: Callable[..., None], listen: Callable[..., Any]
) -> None:
    listener, url = listen()
    connect({"path": url})
    serving.promote("went-well", VERSION)
    notifier = ReleaseNotifier(model="went-well", version=VERSION)
    with DAG("alert_went_well", schedule=None, on_failure_callback=notifier) as dag:
        this = {"model": "went-well", "version": VERSION, "candidate_uri": "file:///nowhere/candidate.json"}
        ReportOperator(task_id="report", **this, on_failure_callback=notifier, on_success_callback=notifier)
    assert run_dag(dag).state == "success"
    assert listener.alerts == []
