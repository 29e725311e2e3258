"""A run whose control plane goes away goes on to its end, whoever waits for it; what is refused for good is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string

from kubeflow_provider import access, hooks
from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.exceptions import PermissionDeniedError, WrongPasswordError
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway
from tests.doubles.outages import Interruption, names_unknown
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import RUNNING, Task, before_waiting, trained

TOKEN = "a-good-token"
KINDS: dict[str, Callable[[KfpServer], AbstractContextManager[Any]]] = {
    "401 to good tokens": KfpServer.without_kubernetes,
    "a gateway without its server": KfpServer.behind_a_gateway,
    "refused connections": KfpServer.down,
    "unknown names": lambda server: names_unknown(),
}

LIKE_NO_OTHER = ("401 to good tokens", "refused connections")
#: The other two reach the client as these do.
each_kind = pytest.mark.parametrize(
    "kind", [kind if kind in LIKE_NO_OTHER else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS]
)


@pytest.fixture
def server() -> Any:
    with kfp_server(multi_user=True, token=TOKEN) as server:
        server.script(None, ["PENDING", RUNNING, "SUCCEEDED"])
        yield server


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, task: Task, server: KfpServer) -> Callable[..., None]:
    """Return ``connection(**fields)``, which changes the connection of the task."""

    def connect(**fields: Any) -> None:
        value = {
            "conn_type": "kubeflow_pipelines",
            "host": server.url.replace("127.0.0.1", "localhost"),  # a name to be resolved
            "password": TOKEN,
            "extra": {"namespace": "team", "outage_seconds": 900},
        }
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value | fields))

    connect()
    return connect


@pytest.fixture
def interruption(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interruption]:
    interruption = Interruption(monkeypatch)
    yield interruption
    interruption.end()


def deferred(operator: RunPipelineOperator, task: Task) -> dict[str, Any]:
    """Run a task to its deferral, and return what Airflow keeps of its trigger."""
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(task.context())
    path, kwargs = caught.value.trigger.serialize()
    return {"path": path, "kwargs": kwargs}


def wait(kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Wait in a new triggerer."""
    monkeypatch.setattr(access, "_known", {})
    monkeypatch.setattr(hooks, "_shared", hooks._SharedServices(None))
    trigger = import_string(kept["path"])(**kept["kwargs"])
    payload: dict[str, Any] = asyncio.run(trigger.wait())
    return payload


@each_kind
def test_a_task_waits_where_it_is(
    server: KfpServer, task: Task, connection: Any, interruption: Interruption, kind: str
) -> None:
    operator = task.operator()
    before_waiting(operator, lambda: interruption.begin(KINDS[kind](server)))
    operator.execute(task.context())

    assert interruption.pauses == 3
    assert (trained(server), server.calls("POST", ":terminate")) == (1, 0)


@each_kind
def test_a_trigger_waits_also_where_it_begins_in_the_middle_of_it(
    server: KfpServer,
    task: Task,
    connection: Any,
    interruption: Interruption,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    kept = deferred(task.operator(deferrable=True), task)
    interruption.begin(KINDS[kind](server))

    assert kept["kwargs"]["was_accepted"]
    assert wait(kept, monkeypatch)["state"] == "SUCCEEDED"
    assert (interruption.pauses, trained(server)) == (3, 1)


def test_a_trigger_says_in_what_airflow_keeps_that_it_was_accepted(
    server: KfpServer, task: Task, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = deferred(task.operator(deferrable=True), task)
    kept["kwargs"]["was_accepted"] = False
    monkeypatch.setattr(access, "_known", {})
    trigger = import_string(kept["path"])(**kept["kwargs"])

    assert asyncio.run(trigger.wait())["state"] == "SUCCEEDED"
    assert trigger.serialize()[1]["was_accepted"]


@each_kind
def test_a_submission_waits_and_starts_one_run(
    server: KfpServer, task: Task, connection: Any, interruption: Interruption, monkeypatch: Any, kind: str
) -> None:
    operator = task.operator()
    prepare = operator._prepare

    def prepare_and_lose(*arguments: Any) -> Any:
        prepared = prepare(*arguments)
        interruption.begin(KINDS[kind](server))
        return prepared

    monkeypatch.setattr(operator, "_prepare", prepare_and_lose)
    operator.execute(task.context())

    assert (interruption.pauses, trained(server)) == (3, 1)


def test_a_retry_waits_for_what_an_earlier_try_was_let_in_to(
    server: KfpServer, task: Task, connection: Any, interruption: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = task.run(wait_for_completion=False)
    monkeypatch.setattr(access, "_known", {})
    interruption.begin(server.without_kubernetes())

    assert task.run() == first
    assert (interruption.pauses, trained(server)) == (3, 1)


def test_a_refusal_of_the_very_first_request_is_final(
    server: KfpServer, task: Task, connection: Any, interruption: Interruption
) -> None:
    interruption.begin(server.without_kubernetes())
    with pytest.raises(PermissionDeniedError, match="User identity is empty"):
        task.run()

    assert (interruption.pauses, trained(server)) == (0, 0)


def test_a_refusal_outlasts_its_budget_and_is_one(
    server: KfpServer, task: Task, connection: Any, interruption: Interruption
) -> None:
    connection(extra={"namespace": "team", "outage_seconds": 0.2})
    operator = task.operator()
    interruption.ends_after = 10**6
    before_waiting(operator, lambda: interruption.begin(server.without_kubernetes()))
    with pytest.raises(PermissionDeniedError, match=r"(?s)out of sight.*User identity.*waited for 0 s"):
        operator.execute(task.context())


@pytest.mark.parametrize("is_well", [True, False])
def test_a_kubeflow_that_is_well_means_its_refusal(
    server: KfpServer,
    task: Task,
    connection: Any,
    interruption: Interruption,
    monkeypatch: pytest.MonkeyPatch,
    is_well: bool,
) -> None:
    # A second passes whenever somebody looks at the clock: how busy the machine is has no say in it.
    monkeypatch.setitem(access.Access.__init__.__kwdefaults__, "clock", partial(next, count(0.0)))
    monkeypatch.setattr(access, "WELL_SECONDS", 10.0)
    monkeypatch.setattr(access, "HEALTH_PAUSE_SECONDS", 0.0)
    interruption.ends_after = 15
    if not is_well:
        server.fault("status", path="/healthz", skip=1, times=10**9, status=503)
    operator = task.operator()
    before_waiting(operator, lambda: interruption.begin(server.without_kubernetes()))
    if is_well:
        with pytest.raises(PermissionDeniedError, match="It is no outage: its health page has answered well"):
            operator.execute(task.context())
    else:
        operator.execute(task.context())
        assert interruption.pauses == 15


def test_a_password_that_was_changed_is_tried_once(
    server: KfpServer, task: Task, connection: Any, interruption: Interruption
) -> None:
    server.api.token = None
    with Oauth2ProxyGateway(inner_url=server.url) as gateway:
        extra = {"namespace": "team", "authentication": "dex"}
        connection(host=gateway.url, login=USER, password=PASSWORD, extra=extra)

        def change() -> None:
            gateway.end_sessions()
            gateway.dex.users[USER] = "another-password"

        operator = task.operator()
        before_waiting(operator, change)
        for _ in range(3):
            with pytest.raises(WrongPasswordError, match="not tried again"):
                operator.execute(task.context())

        assert gateway.dex.forms_posted == 2, "the good one, and one with the old password"
        assert interruption.pauses == 0
