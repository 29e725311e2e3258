"""Whatever goes wrong on the way, a run is started once, and the error says what happened."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from kubeflow_provider.exceptions import KubeflowProviderError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.hooks import kubeflow_pipelines
from kubeflow_provider.hooks._kubeflow_pipelines.runs import name_with_id
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.states import RunState
from tests.doubles.kfp_server import KfpServer
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeHook, MakeRequest

pytestmark = pytest.mark.waits

RUNS = "/apis/v2beta1/runs"


def posts(server: KfpServer) -> int:
    return server.calls("POST", RUNS)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset"},
        {"kind": "status", "status": 502},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 504},
        {"kind": "malformed"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}",
)
class TestAPostOfUnknownFate:
    def test_that_was_lost_is_sent_again(
        self, server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, fault: dict[str, Any]
    ) -> None:
        server.fault(**fault, method="POST", path=RUNS, handled="before")

        run = hook.create_run(make_request())

        assert run.state is RunState.PENDING
        assert (posts(server), len(server.workflows)) == (2, 1)

    def test_that_was_stored_is_not_sent_again(
        self, server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, fault: dict[str, Any]
    ) -> None:
        server.fault(**fault, method="POST", path=RUNS, handled="after")

        hook.create_run(make_request())

        assert (posts(server), len(server.workflows)) == (1, 1)

    def test_that_is_stored_later_is_waited_for(
        self, server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, fault: dict[str, Any]
    ) -> None:
        server.fault(**fault, method="POST", path=RUNS, handled="late", seconds=0.3)

        hook.create_run(make_request())

        assert (posts(server), len(server.workflows)) == (1, 1)

    def test_is_sent_twice_at_most(
        self, server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, fault: dict[str, Any]
    ) -> None:
        server.fault(**fault, method="POST", path=RUNS, handled="before", times=9)

        with pytest.raises(ServiceUnavailableError):
            hook.create_run(make_request())

        assert (posts(server), len(server.workflows)) == (2, 0)


def test_an_answer_that_is_too_slow_does_not_start_a_second_run(
    server: KfpServer, make_hook: MakeHook, make_request: MakeRequest
) -> None:
    hook = make_hook(server.url, namespace="team", read_timeout_seconds=0.2)
    server.fault("slow", method="POST", path=RUNS, seconds=0.5)

    hook.create_run(make_request())

    assert (posts(server), len(server.workflows)) == (1, 1)


def test_a_server_that_cannot_be_asked_does_not_get_a_second_post(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    request = make_request()
    hook.create_run(make_request())
    server.fault("reset", method="POST", path=RUNS, handled="after")
    # The first look for the run before the POST is let through: by id, then by name.
    server.fault("status", method="GET", path=RUNS, skip=3, times=10**6)

    with pytest.raises(ServiceUnavailableError):
        hook.create_run(request)
    assert len(server.workflows) == 2

    server.clear_faults()
    assert hook.create_run(request).run_id == request.run_id
    assert len(server.workflows) == 2


def test_a_refused_connection_starts_nothing(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    request = make_request()
    with server.down(), pytest.raises(ServiceUnavailableError) as failure:
        hook.create_run(request)
    assert not failure.value.was_sent

    hook.create_run(request)

    assert (posts(server), len(server.workflows)) == (1, 1)


def test_too_many_requests_is_no_reason_to_send_more(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    server.fault("status", method="POST", path=RUNS, status=429)

    with pytest.raises(ServiceUnavailableError) as failure:
        hook.create_run(make_request())

    assert failure.value.http_status == 429
    assert (posts(server), len(server.workflows)) == (1, 0)


def test_a_500_says_what_the_server_says_and_is_not_sent_again(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    server.lose_rows()

    with pytest.raises(ServiceUnavailableError, match=r"(?s)500.*Internal Server Error.*quota.*service account"):
        hook.create_run(make_request())

    assert (posts(server), len(server.workflows)) == (1, 1)


def test_a_500_for_a_run_that_is_there_is_no_failure(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    server.fault("status", method="POST", path=RUNS, status=500, handled="after", body={"message": "internal"})

    assert hook.create_run(make_request()).state is RunState.PENDING
    assert posts(server) == 1


def test_a_repeat_waits_for_what_an_earlier_process_has_posted(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    request = make_request(is_repeat=True)
    hook.create_run(make_request())
    posted = next(asked for asked in server.requests if asked.method == "POST" and asked.path.endswith(RUNS))
    mine = type(posted)(
        method="POST",
        path=posted.path,
        query={},
        headers={},
        body=posted.body.replace(next(iter(server.runs)).encode(), request.run_id.encode()),
    )
    server.fault("status", path=f"{RUNS}/{request.run_id}", status=404, times=3, body={"code": 5, "message": "no"})
    server.fault("status", method="GET", path=RUNS, status=200, times=2, skip=3, body={})
    server.api.answer(mine)

    run = hook.create_run(request)

    assert run.run_id == request.run_id
    assert (posts(server), len(server.workflows)) == (1, 2)


def test_a_repeat_of_what_never_arrived_is_sent(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    hook.create_run(make_request(is_repeat=True))

    assert (posts(server), len(server.workflows)) == (1, 1)


def test_a_run_is_found_by_its_name_where_the_server_gives_ids_of_its_own(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest
) -> None:
    request = make_request()
    other = hook.create_run(make_request()).run_id
    server.runs[other].display_name = name_with_id("a test", request.run_id)

    assert hook.create_run(request).run_id == other
    assert (posts(server), len(server.workflows)) == (1, 1)


@pytest.mark.parametrize("path", ["/experiments", "/pipelines", "/upload_version"])
@pytest.mark.parametrize("handled", ["before", "after"])
def test_what_a_run_needs_is_made_once(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, path: str, handled: str
) -> None:
    server.fault("reset", method="POST", path=path, handled=handled)

    hook.create_run(make_request())

    assert len(server.api.experiments) == len(server.api.pipelines) == len(server.api.versions) == 1
    assert len(server.workflows) == 1


# Polls


async def poll(hook: KubeflowPipelinesHook, run_id: str) -> RunState | None:
    run = await hook.aget_run(run_id)
    return None if run is None else run.state


@pytest.fixture
def run_id(server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest) -> str:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, ["RUNNING"])
    return run_id


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "status", "status": 429}, {"kind": "status"}])
async def test_a_passing_failure_is_not_noticed(
    server: KfpServer, hook: KubeflowPipelinesHook, run_id: str, fault: dict[str, Any]
) -> None:
    server.fault(**fault, method="GET")

    assert await poll(hook, run_id) is RunState.RUNNING


@pytest.mark.parametrize(
    ("fault", "error", "expected"),
    [
        ({"kind": "reset"}, ServiceUnavailableError, "broke off"),
        ({"kind": "status", "status": 500}, ServiceUnavailableError, "500"),
        ({"kind": "status", "status": 502}, ServiceUnavailableError, "502"),
        ({"kind": "status", "status": 504}, ServiceUnavailableError, "504"),
        ({"kind": "malformed"}, ServiceUnavailableError, "not JSON"),
        ({"kind": "html"}, PermissionDeniedError, "login page"),
        ({"kind": "status", "status": 401}, PermissionDeniedError, "authentication"),
        ({"kind": "status", "status": 403}, PermissionDeniedError, "RoleBinding"),
    ],
)
async def test_a_lasting_failure_is_told_from_the_others(
    server: KfpServer,
    hook: KubeflowPipelinesHook,
    run_id: str,
    fault: dict[str, Any],
    error: type[KubeflowProviderError],
    expected: str,
) -> None:
    server.fault(**fault, times=9)

    with pytest.raises(error, match=expected):
        await poll(hook, run_id)


async def test_a_refused_poll_is_an_outage(server: KfpServer, hook: KubeflowPipelinesHook, run_id: str) -> None:
    with server.down(), pytest.raises(ServiceUnavailableError):
        await poll(hook, run_id)

    assert await poll(hook, run_id) is RunState.RUNNING


async def test_a_slow_poll_ends(server: KfpServer, make_hook: MakeHook, run_id: str) -> None:
    server.fault("slow", method="GET", seconds=5, times=9)

    with pytest.raises(ServiceUnavailableError, match="took too long"):
        await poll(make_hook(server.url, namespace="team", read_timeout_seconds=0.1), run_id)


async def test_a_run_that_vanished_is_none(server: KfpServer, hook: KubeflowPipelinesHook, run_id: str) -> None:
    server.vanish(run_id)

    assert await poll(hook, run_id) is None
    assert hook.get_run_log(run_id) == ""
    hook.terminate_run(run_id)
    await hook.aterminate_run(run_id)


async def test_a_gateway_without_its_server_is_no_vanished_run(
    server: KfpServer, hook: KubeflowPipelinesHook, run_id: str
) -> None:
    server.fault("status", status=404, times=99, body="404 page not found")

    for ask in (poll(hook, run_id), hook.aterminate_run(run_id)):
        with pytest.raises(ServiceUnavailableError, match="is host the address of the API"):
            await ask


async def test_terminating_fails_loudly_while_the_run_goes_on(
    server: KfpServer, hook: KubeflowPipelinesHook, run_id: str
) -> None:
    server.fault("status", method="POST", path=":terminate", times=2, status=400, body={"message": "no such thing"})

    with pytest.raises(KubeflowProviderError, match="no such thing"):
        hook.terminate_run(run_id)
    with pytest.raises(KubeflowProviderError, match="no such thing"):
        await hook.aterminate_run(run_id)


@pytest.mark.parametrize("by", ["this process", "another one"])
async def test_terminating_what_is_being_terminated_already_is_no_error(
    server: KfpServer, hook: KubeflowPipelinesHook, run_id: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    server.script(run_id, ["RUNNING"])
    hook.terminate_run(run_id)
    if by == "another one":
        monkeypatch.setattr(kubeflow_pipelines, "_TERMINATED", set())

    hook.terminate_run(run_id)
    assert server.runs[run_id].state == "CANCELING", "so that the server answers 400"
    await hook.aterminate_run(run_id)
    server.script(run_id, ["FAILED"])
    assert hook.get_run(run_id).state is RunState.CANCELED  # type: ignore[union-attr]


async def test_terminating_a_run_whose_workflow_is_gone_is_no_error_once_the_wish_is_noted(
    server: KfpServer, hook: KubeflowPipelinesHook, run_id: str
) -> None:
    server.script(run_id, ["RUNNING"])
    server.fault("status", method="POST", path=":terminate", handled="after", status=500)
    hook.terminate_run(run_id)

    server.runs[run_id].state = "RUNNING"
    server.fault("status", method="POST", path=":terminate", status=500)
    with pytest.raises(ServiceUnavailableError):
        await hook.aterminate_run(run_id)


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "status", "status": 503}])
async def test_terminating_survives_a_passing_failure(
    server: KfpServer, hook: KubeflowPipelinesHook, run_id: str, fault: dict[str, Any]
) -> None:
    server.fault(**fault, method="POST", path=":terminate", times=2)
    hook.terminate_run(run_id)
    server.fault(**fault, method="POST", path=":terminate")
    await hook.aterminate_run(run_id)

    assert server.runs[run_id].workflow.is_stopped


async def test_a_session_that_expires_while_polling_is_renewed(make_hook: MakeHook, server: KfpServer) -> None:
    # The gateway stands at the root, in front of the server's prefix.
    with Oauth2ProxyGateway(inner_url=server.url.removesuffix("/pipeline"), requests_per_session=2) as gateway:
        hook = make_hook(
            f"{gateway.url}/pipeline", namespace="team", authentication="dex", login=USER, password=PASSWORD
        )
        unknown = str(uuid4())

        for _ in range(5):
            assert await poll(hook, unknown) is None

        assert gateway.logins >= 3
