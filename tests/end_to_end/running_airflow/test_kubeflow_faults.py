"""What happens to a training on Kubeflow when Airflow's processes die, and when users and limits end its task.

A server that behaves like Kubeflow Pipelines stands for it, and really trains. What needs no running Airflow is in
``tests/kubeflow_provider/operators/on_kubeflow``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_server import AirflowServer, Serve
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway
from tests.waiting import wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.pipelines]

TASK = "train"
DAG_IDS = (
    "blocking",
    "deferring",
    "short",
    "short_task",
    "limited",
    "behind_a_login",
    "dies_before",
    "dies_after",
    "torn_down",
    "sweep",
)
DAGS = """
    import os
    import signal
    from datetime import timedelta

    from airflow.sdk import DAG

    from airflow.providers.standard.operators.empty import EmptyOperator
    from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
    from kubeflow_provider.operators.cancel import CancelOrphanedRunsOperator, CancelPipelineRunOperator
    from kubeflow_provider.operators.pipelines import RunPipelineOperator

    # How long a run that may have been asked for is looked for; on a real server it has to be minutes.
    KubeflowPipelinesHook.settle_seconds = 2.0


    def die_once(operator):
        # On the first try only: what is tested is what the second one makes of it.
        if not os.path.exists(operator.parameters["file"] + ".died"):
            open(operator.parameters["file"] + ".died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)


    class DiesBeforeSubmitting(RunPipelineOperator):
        def _prepare(self, *arguments):
            die_once(self)
            return super()._prepare(*arguments)


    class DiesAfterSubmitting(RunPipelineOperator):
        def _go_on(self, *arguments):
            die_once(self)
            return super()._go_on(*arguments)


    def make(dag_id, operator=RunPipelineOperator, dagrun_timeout=None, conn_id="kubeflow", teardown=False, **options):
        params = {"file": "", "seconds": 1.0}
        with DAG(dag_id, schedule=None, params=params, dagrun_timeout=dagrun_timeout):
            run = operator(
                task_id="train",
                pipeline_file=PIPELINE,
                parameters={"file": "{{ params.file }}", "seconds": "{{ params.seconds }}"},
                display_name="{{ run_id }}",
                pipelines_conn_id=conn_id,
                retries=2,
                retry_delay=timedelta(seconds=1),
                **{"deferrable": True, **options},
            )
            if teardown:
                first = EmptyOperator(task_id="first")
                cancel = CancelPipelineRunOperator(task_id="cancel", tasks="train", pipelines_conn_id=conn_id)
                first >> run >> cancel.as_teardown(setups=first)


    make("blocking", deferrable=False)
    make("deferring")
    make("short", timeout=timedelta(seconds=12))
    make("short_task", execution_timeout=timedelta(seconds=12))
    make("limited", dagrun_timeout=timedelta(seconds=12))
    make("behind_a_login", conn_id="gateway")
    make("dies_before", DiesBeforeSubmitting)
    make("dies_after", DiesAfterSubmitting, deferrable=False)
    make("torn_down", teardown=True)

    with DAG("sweep", schedule=None, params={"cancel": False}):
        CancelOrphanedRunsOperator(
            task_id="sweep", pipelines_conn_id="kubeflow", grace=timedelta(), cancel="{{ params.cancel }}"
        )
"""


@pytest.fixture(scope="module")
def server(pipelines_python: str) -> Iterator[KfpServer]:
    with kfp_server(python=pipelines_python) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: KfpServer) -> Iterator[Oauth2ProxyGateway]:
    with Oauth2ProxyGateway(inner_url=server.url) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def airflow(serve: Serve, server: KfpServer, gateway: Oauth2ProxyGateway, record_and_wait: str) -> AirflowServer:
    login = {"login": USER, "password": PASSWORD, "extra": {"authentication": "dex"}}
    connections = {
        "kubeflow": {"conn_type": "kubeflow_pipelines", "host": server.url, "extra": {"ui_url": server.url}},
        "gateway": {"conn_type": "kubeflow_pipelines", "host": gateway.url, **login},
    }
    return serve({"faults.py": DAGS.replace("PIPELINE", repr(record_and_wait))}, connections, DAG_IDS)


class Training:
    """One DAG run, the Kubeflow runs that were started for it, and what they have trained."""

    def __init__(self, airflow: AirflowServer, server: KfpServer, file: Path, dag_id: str, seconds: float) -> None:
        self.airflow, self.server, self.file, self.dag_id = airflow, server, file, dag_id
        self.run_id = airflow.trigger(dag_id, {"file": str(file), "seconds": seconds})

    @property
    def workflows(self) -> list[Any]:
        return [flow for flow in self.server.workflows if flow.parameters.get("file") == str(self.file)]

    @property
    def begun(self) -> int:
        """How often the training has begun."""
        return len(self.file.read_text().splitlines()) if self.file.exists() else 0

    def has_stopped(self, position: int = 0) -> bool:
        process = self.workflows[position].process
        return process is not None and process.poll() is not None

    def wait(self, *states: str) -> str:
        return str(self.airflow.wait(self.dag_id, self.run_id, states or ("success", "failed")))

    def wait_for_success(self) -> None:
        if self.wait() != "success":
            raise AssertionError(" | ".join(self.log(self.task()["try_number"]).splitlines()[:-4:-1]))

    def wait_for_task(self, *states: str) -> None:
        self.airflow.wait_for_task(self.dag_id, self.run_id, TASK, states)

    @property
    def goes_on(self) -> bool:
        """Whether any run was started that nobody has asked to stop."""
        return any(not flow.is_stopped and flow.process and flow.process.poll() is None for flow in self.workflows)

    def wait_for_the_trigger(self) -> None:
        """Wait until the task is deferred and its trigger has started the run and asked for it."""
        self.wait_for_task("deferred")
        wait_for(lambda: self.workflows, "the trigger starts the run")
        path = f"/runs/{self.workflows[0].run_id}"
        before = self.server.calls("GET", path)
        wait_for(lambda: self.server.calls("GET", path) > before, "the trigger asks for the run")

    def dag_run(self) -> dict[str, Any]:
        return dict(self.airflow.call("GET", f"/dags/{self.dag_id}/dagRuns/{self.run_id}"))

    def task(self) -> dict[str, Any]:
        return dict(self.airflow.task(self.dag_id, self.run_id, TASK))

    def log(self, try_number: int = 1) -> str:
        return str(self.airflow.log(self.dag_id, self.run_id, TASK, try_number))

    def mark_failed(self) -> None:
        self.airflow.mark(self.dag_id, self.run_id, TASK, "failed")

    def clear(self) -> None:
        self.airflow.clear(self.dag_id, self.run_id, TASK)


@pytest.fixture
def train(airflow: AirflowServer, server: KfpServer, tmp_path: Path) -> Callable[[str, float], Training]:
    """Return ``train(dag_id, seconds)``."""
    return lambda dag_id, seconds: Training(airflow, server, tmp_path / "trained", dag_id, seconds)


@pytest.mark.parametrize("dag_id", ["dies_before", pytest.param("dies_after", marks=pytest.mark.long)])
def test_a_task_that_is_killed_around_its_submission_trains_once(train: Any, dag_id: str) -> None:
    training = train(dag_id, 3)

    training.wait_for_success()
    assert training.task()["try_number"] == 2
    assert len(training.workflows) == training.begun == 1
    log = training.log(2)
    assert ("picking it up" in log) is (dag_id == "dies_after"), "before, there is nothing to pick up"
    assert "Step finish: SUCCEEDED (after 0:" in log


@pytest.mark.long  # told by tests/kubeflow_provider/http/authentication
def test_a_session_that_ends_while_the_task_is_deferred_is_renewed(train: Any, gateway: Oauth2ProxyGateway) -> None:
    training = train("behind_a_login", 8)
    training.wait_for_task("deferred")
    asked, logins = len(gateway.passed_on), gateway.logins
    wait_for(lambda: len(gateway.passed_on) >= asked + 2, "the triggerer asks for the run")
    gateway.end_sessions()

    training.wait_for_success()
    assert gateway.logins > logins
    assert len(training.workflows) == 1


@pytest.mark.long  # told by tests/kubeflow_provider/triggers
def test_a_triggerer_that_is_restarted_stops_nothing(train: Any, airflow: AirflowServer) -> None:
    training = train("deferring", 12)
    training.wait_for_task("deferred")
    wait_for(lambda: training.begun == 1, "the training begins")
    airflow.restart("triggerer")

    training.wait_for_success()
    assert len(training.workflows) == training.begun == 1
    assert training.task()["try_number"] == 1


@pytest.mark.long
def test_a_triggerer_that_is_full_starts_what_is_still_waited_for_when_it_has_room(
    train: Any, airflow: AirflowServer, server: KfpServer, tmp_path: Path
) -> None:
    airflow.restart("triggerer", {"AIRFLOW__TRIGGERER__CAPACITY": "1"})
    try:
        first = train("deferring", 300)
        first.wait_for_the_trigger()
        marked, late, waiting = (
            Training(airflow, server, tmp_path / name, dag_id, 1)
            for name, dag_id in (("marked", "deferring"), ("late", "short"), ("waiting", "deferring"))
        )
        for training in (marked, late, waiting):
            training.wait_for_task("deferred")
        time_of_late = time.monotonic() + 12
        marked.mark_failed()
        wait_for(lambda: time.monotonic() > time_of_late, "the time of the late one is over")
        assert not any(training.workflows for training in (marked, late, waiting))
        first.mark_failed()

        waiting.wait_for_success()
        assert len(waiting.workflows) == waiting.begun == 1
        assert late.wait() == "failed"
        assert "was not started within 0:00:12" in late.log()
        assert marked.workflows == late.workflows == []
    finally:
        airflow.restart("triggerer")


@pytest.mark.long
def test_a_triggerer_that_stalls_while_another_takes_over_stops_nothing(
    train: Any, airflow: AirflowServer, server: KfpServer
) -> None:
    training = train("deferring", 150)
    training.wait_for_the_trigger()
    first = training.task()["triggerer_job"]["id"]
    airflow.add_triggerer("the other triggerer")
    try:
        wait_for(lambda: len(airflow.call("GET", "/jobs?job_type=TriggererJob&is_alive=true")["jobs"]) > 1, "it starts")
        airflow.pause("triggerer")
        try:
            # Half a minute without a sign of life.
            wait_for(lambda: (training.task()["triggerer_job"] or {}).get("id") not in (None, first), "it takes over")
        finally:
            airflow.go_on("triggerer")
        wait_for(lambda: "is left to another triggerer" in training.log(), "the first one goes on")

        training.wait_for_success()
    finally:
        airflow.remove("the other triggerer")
    assert server.calls("POST", f"{training.workflows[0].run_id}:terminate") == 0
    assert len(training.workflows) == training.begun == 1
    assert training.task()["try_number"] == 1


@pytest.mark.long  # told below, with all else that is marked or cleared around a deferral
def test_marking_a_deferred_task_as_failed_stops_the_training(train: Any) -> None:
    training = train("deferring", 300)
    training.wait_for_the_trigger()
    wait_for(lambda: training.begun == 1, "the training begins")
    training.mark_failed()

    wait_for(training.has_stopped, "the training stops")
    assert training.wait() == "failed"


def test_whatever_is_marked_or_cleared_around_its_deferral_leaves_no_run_behind(
    airflow: AirflowServer, server: KfpServer, tmp_path: Path
) -> None:
    def fail(training: Training) -> None:
        training.mark_failed()

    def fail_the_dag_run(training: Training) -> None:
        airflow.call("PATCH", f"/dags/deferring/dagRuns/{training.run_id}", {"state": "failed"})

    trainings = []
    for number, (state, act) in enumerate(
        [("running", fail), ("deferred", fail), ("running", fail_the_dag_run), ("deferred", fail_the_dag_run)]
    ):
        training = Training(airflow, server, tmp_path / str(number), "deferring", 300)
        trainings.append((training, state, act))
        # A task is running for a moment; where that was over before anybody looked, it is deferred by now.
        training.wait_for_task(state, "deferred")
        act(training)
    cleared = Training(airflow, server, tmp_path / "cleared", "deferring", 300)
    cleared.wait_for_task("deferred")
    cleared.clear()

    def has_failed(training: Training, state: str, act: Callable[[Training], None]) -> bool:
        if state == "running" and training.task()["state"] == "deferred":
            # SQLite locks no rows: a task that deferred itself at that moment has overwritten the mark. A user sets it
            # again; what is deferred loses none.
            act(training)
        return training.task()["state"] == training.dag_run()["state"] == "failed"

    for marked in trainings:
        wait_for(lambda marked=marked: has_failed(*marked), "what was marked fails", pause=1)  # type: ignore[misc]
    wait_for(lambda: cleared.begun and cleared.task()["try_number"] == 2, "the cleared one trains")
    # By then every trigger that was ever made has had its look.
    wait_for(lambda: not any(training.goes_on for training, *_ in trainings), "the trainings stop")
    assert sum(not flow.is_stopped for flow in cleared.workflows) == 1
    cleared.mark_failed()
    wait_for(lambda: not cleared.goes_on, "the last one stops")


@pytest.mark.long  # told by tests/kubeflow_provider/triggers
def test_a_server_that_is_slow_to_hear_of_a_cancel_hears_of_it(train: Any, server: KfpServer) -> None:
    training = train("deferring", 300)
    training.wait_for_the_trigger()
    # Airflow waits for one second.
    server.fault("slow", method="POST", path=":terminate", seconds=3)
    training.mark_failed()

    wait_for(training.has_stopped, "the training stops")


@pytest.mark.long
def test_the_link_to_the_run_is_there_while_a_task_waits_in_its_worker(train: Any, airflow: AirflowServer) -> None:
    training = train("blocking", 4)
    wait_for(lambda: training.workflows, "the run is started")
    path = f"/dags/blocking/dagRuns/{training.run_id}/taskInstances/{TASK}/links"
    link = airflow.call("GET", path)["extra_links"]["Pipeline run"]

    assert training.task()["state"] == "running"
    assert link.endswith(f"/runs/details/{training.workflows[0].run_id}")
    training.wait_for_success()


@pytest.mark.long  # told by tests/kubeflow_provider/operators
def test_a_run_that_nobody_could_cancel_is_swept(
    train: Any, airflow: AirflowServer, server: KfpServer, tmp_path: Path
) -> None:
    training = train("deferring", 300)
    waited_for = Training(airflow, server, tmp_path / "waited for", "blocking", 300)
    training.wait_for_the_trigger()
    wait_for(lambda: waited_for.begun, "the other training begins")
    run_id = training.workflows[0].run_id
    server.fault("status", method="POST", path=":terminate", status=400, body={"message": "no"}, times=1000)
    training.mark_failed()
    wait_for(lambda: server.calls("POST", f"{run_id}:terminate"), "the trigger tries")

    told = airflow.trigger("sweep")
    assert airflow.wait("sweep", told) == "success"
    assert airflow.xcom("sweep", told, "sweep") == [run_id]
    assert training.goes_on
    server.clear_faults()
    swept = airflow.trigger("sweep", {"cancel": True})
    assert airflow.wait("sweep", swept) == "success"
    wait_for(training.has_stopped, "the training stops")
    assert waited_for.goes_on
    waited_for.mark_failed()
    wait_for(waited_for.has_stopped, "the other training stops")


@pytest.mark.long
def test_a_teardown_ends_what_a_failed_dag_run_has_left(train: Any, airflow: AirflowServer) -> None:
    training = train("torn_down", 300)
    training.wait_for_the_trigger()
    airflow.call("PATCH", f"/dags/torn_down/dagRuns/{training.run_id}", {"state": "failed"})

    wait_for(training.has_stopped, "the training stops")
    airflow.wait_for_task("torn_down", training.run_id, "cancel", ("success",))


def test_marking_a_running_task_as_failed_stops_the_training(train: Any) -> None:
    training = train("blocking", 300)
    wait_for(lambda: training.begun == 1, "the training begins")
    training.mark_failed()

    wait_for(training.has_stopped, "the training stops")
    assert training.wait() == "failed"


@pytest.mark.long  # told above, with all else that is marked or cleared around a deferral
def test_clearing_a_deferred_task_stops_its_training_and_begins_another(train: Any) -> None:
    training = train("deferring", 10)
    training.wait_for_task("deferred")
    wait_for(lambda: training.begun == 1, "the training begins")
    training.clear()

    wait_for(lambda: training.begun == 2, "the training begins again")
    assert training.has_stopped(0)
    training.wait_for_success()
    assert len(training.workflows) == training.begun == 2


@pytest.mark.long  # told by tests/kubeflow_provider/operators
def test_a_training_that_outlives_its_deadline_or_its_dag_run_is_stopped(
    train: Any, airflow: AirflowServer, server: KfpServer, tmp_path: Path
) -> None:
    short = train("short", 300)
    short_task = Training(airflow, server, tmp_path / "short_task", "short_task", 300)
    limited = Training(airflow, server, tmp_path / "limited", "limited", 300)

    for training in (short, short_task):
        assert training.wait() == "failed"
        assert "was not over after 0:00:12 and has been cancelled" in training.log()
        assert training.task()["try_number"] == 1
    assert limited.wait() == "failed"
    for training in (short, short_task, limited):
        wait_for(training.has_stopped, "the training stops")
        assert len(training.workflows) == 1
