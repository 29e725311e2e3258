"""The way from a connection to its hook, for a thousand triggers of one event loop."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from airflow.sdk import BaseHook, Connection

from kubeflow_provider import hooks
from kubeflow_provider.compat import AirflowNotFoundException
from kubeflow_provider.exceptions import InvalidRequestError


class Hook:
    def __init__(self, conn_id: str, *, connection: Connection) -> None:
        self.host = connection.host


def installed(group: str) -> dict[str, EntryPoint]:
    return {"thing": EntryPoint("thing", f"{__name__}:Hook", group)} if group == hooks.PIPELINE_SERVICES else {}


class Connections:
    """Airflow's connections, as far as a triggerer may ask for them."""

    def __init__(self) -> None:
        self.host: str | None = "http://one"
        self.reads = 0

    async def aget_connection(self, conn_id: str) -> Connection:
        self.reads += 1
        await asyncio.sleep(0)
        if self.host is None:
            raise AirflowNotFoundException("no answer")
        return Connection(conn_id=conn_id, conn_type="thing", host=self.host)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    connections = Connections()
    monkeypatch.setattr(hooks, "_hooks", installed)
    monkeypatch.setattr(BaseHook, "aget_connection", connections.aget_connection)
    return connections


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(hooks, "time", clock)
    return clock


async def test_a_thousand_triggers_read_their_connection_once(connections: Connections) -> None:
    found = await asyncio.gather(*(hooks.aget_pipeline_service("c") for _ in range(1000)))

    assert connections.reads == 1
    assert len(set(map(id, found))) == 1
    assert await hooks.aget_pipeline_service("other") is not found[0]


async def test_a_changed_connection_reaches_those_who_wait(connections: Connections, clock: Any) -> None:
    before = await hooks.aget_pipeline_service("c")
    connections.host = "http://two"
    assert await hooks.aget_pipeline_service("c") is before

    clock.now += hooks._shared.fresh_seconds
    assert (await hooks.aget_pipeline_service("c")).host == "http://two"


async def test_a_connection_that_cannot_be_read_again_stays_as_it_was(
    connections: Connections, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = await hooks.aget_pipeline_service("c")
    connections.host = None
    clock.now += hooks._shared.fresh_seconds

    with caplog.at_level(logging.WARNING, logger=hooks.__name__):
        assert await hooks.aget_pipeline_service("c") is before
    assert "stays as it was" in caplog.text
    assert await hooks.aget_pipeline_service("c") is before
    assert connections.reads == 2


async def test_the_first_look_up_may_fail_and_the_next_one_succeed(connections: Connections) -> None:
    connections.host = None
    with pytest.raises(AirflowNotFoundException):
        await hooks.aget_pipeline_service("c")

    connections.host = "http://one"
    assert (await hooks.aget_pipeline_service("c")).host == "http://one"


async def test_a_connection_of_another_kind_is_refused(connections: Connections) -> None:
    with pytest.raises(InvalidRequestError, match="is of type 'thing'"):
        await hooks.aget_serving_service("c")


def test_event_loops_share_nothing(connections: Connections) -> None:
    first = asyncio.run(hooks.aget_pipeline_service("c"))

    assert asyncio.run(hooks.aget_pipeline_service("c")) is not first
    assert connections.reads == 2


@pytest.mark.parametrize("former", ["pipelines_default", None])
async def test_a_default_id_of_before_is_taken_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, former: str | None
) -> None:
    def get_connection(conn_id: str) -> Connection:
        if conn_id != former:
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
        return Connection(conn_id=conn_id, conn_type="thing", host="http://before")

    async def aget_connection(conn_id: str) -> Connection:
        return get_connection(conn_id)

    monkeypatch.setattr(hooks, "_hooks", installed)
    monkeypatch.setattr(BaseHook, "get_connection", get_connection)
    monkeypatch.setattr(BaseHook, "aget_connection", aget_connection)
    new = "kubeflow_pipelines_default"
    if former is None:
        with pytest.raises(AirflowNotFoundException, match=new):
            hooks.get_pipeline_service(new)
        with pytest.raises(AirflowNotFoundException, match=new):
            await hooks.aget_pipeline_service(new)
        return

    with pytest.warns(DeprecationWarning, match="rename it"):
        assert hooks.get_pipeline_service(new).host == "http://before"
    with pytest.warns(DeprecationWarning, match="rename it"):
        assert (await hooks.aget_pipeline_service(new)).host == "http://before"
    assert caplog.text.count("is deprecated") == 2
