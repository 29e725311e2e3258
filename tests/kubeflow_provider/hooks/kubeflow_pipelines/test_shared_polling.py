"""What many triggers ask at about the same time is one question, and each gets its own answer."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pytest
from airflow.sdk import BaseHook, Connection

from kubeflow_provider.exceptions import KubeflowProviderError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.hooks._kubeflow_pipelines.shared_polling import Documents, SharedPolling
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.http.client import Patience
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeRequest

HOUR = 3600.0


class Server:
    """Lists what it knows, two on a page; a round can be held up, and can end in an error."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.unknown: set[str] = set()
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def list(self, run_ids: Sequence[str]) -> AsyncIterator[Documents]:
        self.rounds.append(list(run_ids))
        for start in range(0, len(run_ids), 2):
            await self.open.wait()
            if start and self.error:
                raise self.error
            page = run_ids[start : start + 2]
            yield {run_id: {"run_id": run_id} for run_id in page if run_id not in self.unknown}


@pytest.fixture
async def listing() -> Server:
    return Server()


@pytest.fixture
async def polling(listing: Server) -> SharedPolling:
    return SharedPolling(listing.list)


def ask(polling: SharedPolling, *run_ids: str, slack: float = HOUR) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(polling.ask(run_id, slack_seconds=slack)) for run_id in run_ids]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_that_are_there_go_with_the_one_that_can_wait_least(polling: SharedPolling, listing: Server) -> None:
    patient = ask(polling, "a", "b", "c")
    await turns()
    assert listing.rounds == []

    answers = await asyncio.gather(*patient, *ask(polling, "d", slack=0))

    assert listing.rounds == [["a", "b", "c", "d"]]
    assert [answer["run_id"] for answer in answers] == ["a", "b", "c", "d"]


async def test_whoever_is_alone_asks_alone(polling: SharedPolling, listing: Server) -> None:
    assert await asyncio.gather(*ask(polling, "a", slack=0)) == [None]
    assert listing.rounds == []


async def test_what_is_not_listed_is_asked_for_alone(polling: SharedPolling, listing: Server) -> None:
    listing.unknown = {"b"}
    answers = await asyncio.gather(*ask(polling, "a", "b", "c", slack=0))

    assert [answer and answer["run_id"] for answer in answers] == ["a", None, "c"]


async def test_one_round_is_under_way_at_a_time(polling: SharedPolling, listing: Server) -> None:
    listing.open.clear()
    first = ask(polling, "a", "b", slack=0)
    await turns()
    second = ask(polling, "a", "c", "d", slack=0)
    await turns()
    assert listing.rounds == [["a", "b"]]

    listing.open.set()
    await asyncio.gather(*first, *second)
    assert listing.rounds == [["a", "b"], ["a", "c", "d"]]


async def test_two_who_ask_for_one_run_both_get_it(polling: SharedPolling, listing: Server) -> None:
    answers = await asyncio.gather(*ask(polling, "a", "a", slack=0))

    assert [answer["run_id"] for answer in answers] == ["a", "a"]


async def test_an_error_reaches_everybody_who_has_no_answer_yet(polling: SharedPolling, listing: Server) -> None:
    listing.error = ServiceUnavailableError("down")
    answers = await asyncio.gather(*ask(polling, "a", "b", "c", "d", slack=0), return_exceptions=True)

    assert [answer if isinstance(answer, Exception) else answer["run_id"] for answer in answers] == [
        "a", "b", listing.error, listing.error
    ]  # fmt: skip
    listing.error = None
    assert await asyncio.gather(*ask(polling, "c", "d", slack=0)) == [{"run_id": "c"}, {"run_id": "d"}]


async def test_an_answer_does_not_outlive_its_reader(listing: Server) -> None:
    class Document(dict[str, Any]):
        """One that can be watched."""

    documents: list[weakref.ref[Document]] = []
    second_page = asyncio.Event()

    async def pages(run_ids: Sequence[str]) -> AsyncIterator[Documents]:
        for number, run_id in enumerate(run_ids):
            if number:
                await second_page.wait()
            document = Document(run_id=run_id)
            documents.append(weakref.ref(document))
            page: Documents = {run_id: document}
            del document
            yield page
            page.clear()

    first, second = ask(SharedPolling(pages), "a", "b", slack=0)
    assert (await first)["run_id"] == "a"
    del first
    await turns()
    assert [document() for document in documents] == [None]
    second_page.set()
    assert (await second)["run_id"] == "b"


async def test_a_trigger_that_is_gone_asks_no_more(polling: SharedPolling, listing: Server) -> None:
    gone, *others = ask(polling, "a", "b", "c")
    await turns()
    gone.cancel()
    await turns()
    await asyncio.gather(*others, *ask(polling, "d", slack=0))
    assert listing.rounds == [["b", "c", "d"]]

    everybody = ask(polling, "a", "b", slack=0)
    await asyncio.sleep(0)
    for task in everybody:
        task.cancel()
    await turns()
    assert len(listing.rounds) == 1


async def test_those_who_leave_during_a_round_leave_the_others_theirs(polling: SharedPolling, listing: Server) -> None:
    listing.open.clear()
    gone, *others = ask(polling, "a", "b", "c", slack=0)
    await turns()
    gone.cancel()
    listing.open.set()

    assert await asyncio.gather(*others) == [{"run_id": "b"}, {"run_id": "c"}]


async def test_questions_take_a_tenth_of_the_time_at_most(
    polling: SharedPolling, listing: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + passed)
    listing.open.clear()
    first = ask(polling, "a", "b", slack=0)
    await turns()
    passed += 1  # the round takes a second
    listing.open.set()
    await asyncio.gather(*first)

    second = ask(polling, "a", "b", slack=0)
    await turns()
    assert len(listing.rounds) == 1
    passed += 10
    await asyncio.gather(*second)
    assert len(listing.rounds) == 2


# With the hook and a server


@pytest.fixture
def runs(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Return seven runs that are going, of which a page of the server takes three."""
    monkeypatch.setattr(api, "LARGEST_PAGE", 3)
    server.script(None, [{"state": "RUNNING", "steps": [("record", "RUNNING")]}])
    run_ids = [hook.create_run(make_request()).run_id for _ in range(7)]
    for run_id in run_ids:
        assert hook.get_run(run_id)
    server.requests.clear()
    yield run_ids


async def ask_all(hook: KubeflowPipelinesHook, run_ids: Sequence[str]) -> list[Any]:
    return await asyncio.gather(*(hook.aget_run(run_id) for run_id in run_ids), return_exceptions=True)


def single_gets(server: KfpServer) -> int:
    return sum(request.method == "GET" and "/runs/" in request.path for request in server.requests)


async def test_runs_that_go_on_are_read_from_pages(
    server: KfpServer, hook: KubeflowPipelinesHook, runs: list[str]
) -> None:
    found = await ask_all(hook, runs)

    assert [run.run_id for run in found] == runs
    assert {run.state for run in found} == {RunState.RUNNING}
    assert {step.name for run in found for step in run.steps} == {"record"}
    assert (server.calls("GET", "/runs"), single_gets(server)) == (3, 0)
    lists = [request for request in server.requests if request.path.endswith("/runs")]
    assert {request.query["namespace"] for request in lists} == {"team"}


async def test_the_pages_of_a_round_share_a_connection(
    server: KfpServer, hook: KubeflowPipelinesHook, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = hook.server  # asked for its mode, which takes a connection of its own
    opened: list[Any] = []
    monkeypatch.setattr(server, "opened", opened.append)
    await ask_all(hook, runs)

    assert (server.calls("GET", "/runs"), len(opened)) == (3, 1)


async def test_a_page_of_ids_fits_into_a_request_line(server: KfpServer, hook: KubeflowPipelinesHook) -> None:
    ids = [str(uuid4()) for _ in range(api.LARGEST_PAGE)]
    await asyncio.to_thread(api.list_runs(namespace="team", filter=api.where_in("run_id", ids)).send, hook.client)

    [request] = server.requests
    assert json.loads(unquote(request.query["filter"]))["predicates"][0]["string_values"]["values"] == ids
    client_side = hook.client.settings.base_url + "/apis/v2beta1/runs?filter=" + api.where_in("run_id", ids)
    # HTTP encodes the percent signs once more.
    assert len(client_side.replace("%", "%25")) < 7000


async def test_a_run_that_is_over_is_looked_at_by_itself(
    server: KfpServer, hook: KubeflowPipelinesHook, runs: list[str]
) -> None:
    server.runs[runs[2]].set_state("FAILED")
    server.script(runs[2], [{"state": "FAILED", "steps": [("record", "SUCCEEDED"), ("finish-driver", "FAILED")]}])

    found = await ask_all(hook, runs)

    assert [run.state for run in found].count(RunState.RUNNING) == 6
    assert (found[2].state, single_gets(server)) == (RunState.FAILED, 1)
    assert "its driver failed" in found[2].reason


async def test_a_run_that_is_gone_is_told_from_one_that_is_archived(
    server: KfpServer, hook: KubeflowPipelinesHook, runs: list[str]
) -> None:
    server.vanish(runs[0])
    server.runs[runs[1]].storage_state = "ARCHIVED"

    found = await ask_all(hook, runs)

    assert found[0] is None
    assert found[1].state is RunState.RUNNING
    assert single_gets(server) >= 1


@pytest.mark.parametrize(("status", "was_accepted"), [(400, False), (403, False), (403, True), (414, False)])
async def test_where_nobody_may_list_each_is_asked_for_by_itself(
    server: KfpServer, hook: KubeflowPipelinesHook, runs: list[str], status: int, was_accepted: bool
) -> None:
    if was_accepted:
        hook.access.accept("GET /apis/v2beta1/runs")
    server.fault("status", method="GET", path="/runs", status=status, body={"code": 7, "message": "no"})

    found = await ask_all(hook, runs)

    assert {run.state for run in found} == {RunState.RUNNING}
    assert (server.calls("GET", "/runs"), single_gets(server)) == (1, len(runs))
    await ask_all(hook, runs)
    assert (server.calls("GET", "/runs"), single_gets(server)) == (1, 2 * len(runs))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 401}, PermissionDeniedError),
        ({"kind": "status", "status": 500}, ServiceUnavailableError),
        ({"kind": "html"}, PermissionDeniedError),
        ({"kind": "malformed"}, ServiceUnavailableError),
    ],
)
async def test_an_outage_is_found_out_once_for_all(
    server: KfpServer,
    hook: KubeflowPipelinesHook,
    runs: list[str],
    fault: dict[str, Any],
    error: type[KubeflowProviderError],
) -> None:
    server.fault(**fault, method="GET", path="/runs", times=99)

    found = await ask_all(hook, runs)

    assert {type(answer) for answer in found} == {error}
    assert (server.calls("GET", "/runs"), single_gets(server)) == (1, 0)


async def test_triggers_wait_together_and_each_gets_its_own_end(
    server: KfpServer, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = json.dumps({"namespace": "team"})
    reads = 0

    async def aget_connection(conn_id: str) -> Connection:
        nonlocal reads
        reads += 1
        return Connection(conn_id=conn_id, conn_type="kubeflow_pipelines", host=server.url, extra=extra)

    monkeypatch.setattr(BaseHook, "aget_connection", aget_connection)
    monkeypatch.setattr(Patience, "pause", lambda patience, state: 0.01)
    deadline = datetime.now(tz=UTC) + timedelta(minutes=5)
    triggers = [
        PipelineRunTrigger(run_id=run_id, conn_id="p", deadline=deadline, poll_interval_seconds=0.05) for run_id in runs
    ]
    waiting = [asyncio.ensure_future(trigger.wait()) for trigger in triggers]
    while not server.calls("GET", "/runs"):
        await asyncio.sleep(0.01)
    server.fault("status", method="GET", path="/runs", status=500)  # nobody's patience is at its end with this
    for number, run_id in enumerate(runs):
        server.runs[run_id].script = ["SUCCEEDED" if number % 2 else "SKIPPED"]
        server.runs[run_id].set_state(server.runs[run_id].script[0])

    events = await asyncio.gather(*waiting)

    assert [event["run_id"] for event in events] == runs
    assert [event["state"] for event in events] == ["SKIPPED", "SUCCEEDED"] * 3 + ["SKIPPED"]
    assert reads == 1


async def test_what_a_list_says_is_what_the_run_itself_says(hook: KubeflowPipelinesHook, runs: list[str]) -> None:
    listed: list[Run] = await ask_all(hook, runs)
    alone = [await hook.aget_run(run_id) for run_id in runs]

    assert listed == alone
