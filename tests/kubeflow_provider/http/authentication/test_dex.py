"""The login through Dex, at the gateways of both generations."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import httpx
import pytest

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from kubeflow_provider.http.authentication import dex
from kubeflow_provider.http.client import HttpClient
from tests.doubles.login import PASSWORD, USER, AuthserviceGateway, Dex, Gateway, Oauth2ProxyGateway
from tests.doubles.web import Asked, Reply, WebServer

RUNS = "/apis/v2beta1/runs"


@pytest.fixture(params=[Oauth2ProxyGateway, AuthserviceGateway])
def gateway(request, start) -> Callable[..., Gateway]:
    """Return ``make(**options)`` for gateways of one generation and of the other."""
    return lambda **options: start(request.param(**options))


@pytest.fixture
def log_in(connect) -> Callable[..., HttpClient]:
    def log_in(server: WebServer, *, password: str = PASSWORD, **extra: object) -> HttpClient:
        return connect(server.url, login=USER, password=password, authentication="dex", **extra)

    return log_in


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"asks_approval": True},
        {"connectors": ("local", "ldap")},
        {"connectors": ("ldap", "local"), "asks_approval": True},
    ],
)
def test_one_login_serves_many_requests(ask, gateway, log_in, options):
    server = gateway(dex=Dex(**options))
    client = log_in(server)
    for _ in range(3):
        assert ask(client, "GET", RUNS) == {"path": f"/pipeline{RUNS}", "user": USER, "method": "GET"}
    assert server.logins == 1


@pytest.mark.parametrize("connector", ["local", "ldap"])
def test_the_connector_is_the_one_that_was_asked_for(ask, gateway, log_in, connector):
    server = gateway(dex=Dex(connectors=("local", "ldap")))
    ask(log_in(server, dex_connector=connector), "GET", RUNS)
    assert server.dex.used_connectors == [connector]


def test_a_connector_that_dex_does_not_have_is_named(ask, gateway, log_in):
    server = gateway(dex=Dex(connectors=("local", "github")))
    with pytest.raises(PermissionDeniedError, match="dex_connector"):
        ask(log_in(server, dex_connector="ldap"), "GET", RUNS)


def test_a_session_that_ends_at_the_third_request_is_renewed(ask, gateway, log_in):
    server = gateway()
    client = log_in(server)
    ask(client, "GET", RUNS)
    server.requests_per_session = 2
    server.end_sessions()
    for _ in range(6):
        assert ask(client, "GET", RUNS)["user"] == USER
    assert server.logins >= 3


def test_a_refused_post_is_sent_again_with_its_body_after_a_new_login(ask, gateway, log_in):
    server = gateway()
    client = log_in(server)
    ask(client, "GET", RUNS)
    server.end_sessions()
    assert ask(client, "POST", RUNS, json={"display_name": "r"})["method"] == "POST"
    assert [asked.body for asked in server.passed_on if asked.method == "POST"] == [b'{"display_name":"r"}']
    server.end_sessions()
    ask(client, "POST", "/upload", files={"uploadfile": ("p.yaml", b"the: ir")})
    assert b"the: ir" in server.passed_on[-1].body


class Picky(Gateway):
    """Takes no session for good, in one way or another."""

    refusal: Reply

    def _pass_on(self, asked: Asked, user: str) -> Reply:
        self.passed_on.append(asked)
        return super()._pass_on(asked, user) if asked.path == "/pipeline" else self.refusal


class PickyOauth2Proxy(Picky, Oauth2ProxyGateway):
    pass


@pytest.mark.parametrize(
    "refusal", [Reply.json({}, 401), Reply.html("Sign in"), Reply.html("Sign in", 403), Reply.redirect("/dex/auth")]
)
def test_a_session_that_is_never_accepted_is_no_reason_to_log_in_again_at_once(ask, start, log_in, refusal):
    server = start(PickyOauth2Proxy())
    server.refusal = refusal
    for _ in range(3):
        with pytest.raises(PermissionDeniedError, match="does not accept that session") as caught:
            ask(log_in(server), "GET", RUNS)
        assert caught.value.http_status == refusal.status
    assert server.dex.forms_posted == 1


def test_a_real_403_is_no_reason_to_log_in_again(ask, start, log_in):
    server = start(PickyOauth2Proxy())
    server.refusal = Reply.json({"message": "User is not authorized to list runs in namespace other"}, 403)
    with pytest.raises(PermissionDeniedError, match="namespace other"):
        ask(log_in(server), "GET", RUNS)
    assert server.logins == 1


@pytest.mark.parametrize("status", [200, 401])
def test_a_wrong_password_is_told_from_everything_else(ask, gateway, log_in, status):
    server = gateway(dex=Dex(wrong_password_status=status))
    client = log_in(server, password="a-wrong-password")
    with pytest.raises(PermissionDeniedError, match="does not accept login and password of connection 'kf'"):
        ask(client, "GET", RUNS)
    assert server.dex.forms_posted == 1


@pytest.mark.parametrize("was_accepted", [False, True])
def test_a_wrong_password_is_never_tried_again(ask, gateway, log_in, clock, was_accepted):
    server = gateway()
    client = log_in(server)
    if was_accepted:
        ask(client, "GET", RUNS)
    server.dex.users[USER] = "another-password"
    server.end_sessions()
    before = server.dex.forms_posted
    for _ in range(5):
        with pytest.raises(WrongPasswordError, match="not tried again"):
            ask(client, "GET", RUNS)
        clock.seconds += 3600
    assert server.dex.forms_posted == before + 1


def test_another_login_that_came_to_nothing_is_repeated_once_a_minute(ask, gateway, log_in, clock):
    server = gateway()
    client = log_in(server)
    ask(client, "GET", RUNS)
    server.end_sessions()
    server.lets_in = False
    for _ in range(13):  # two minutes, every ten seconds
        with pytest.raises(OutageError):
            ask(client, "GET", RUNS)
        clock.seconds += 10
    assert server.dex.forms_posted == 1 + 3
    server.lets_in = True
    clock.seconds += 60
    assert ask(client, "GET", RUNS)["user"] == USER


def test_a_dex_that_is_out_of_order_is_an_outage(ask, gateway, log_in, forget_refusals):
    server = gateway(dex=Dex(broken_status=503))
    client = log_in(server)
    with pytest.raises(ServiceUnavailableError, match=r"login at .*/dex/auth") as caught:
        ask(client, "POST", RUNS, json={})
    assert caught.value.http_status == 503
    assert not caught.value.was_sent, "the run was never asked for"
    server.dex.broken_status = None
    assert ask(client, "GET", RUNS)["user"] == USER


def test_an_unreachable_dex_is_an_outage(ask, start, log_in):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/dex/auth"

    class FarDex(WebServer):
        def answer(self, asked: Asked) -> Reply:
            return Reply.redirect(nobody)

    with pytest.raises(ServiceUnavailableError, match=f"the login at {nobody} did not answer") as caught:
        ask(log_in(start(FarDex())), "POST", RUNS, json={})
    assert not caught.value.was_sent


def test_a_login_has_the_time_limits_of_the_connection(ask, start, log_in):
    class Hanging(Oauth2ProxyGateway):
        def own_page(self, asked: Asked) -> Reply | None:
            self.closing.wait(20)
            return super().own_page(asked)

    server = start(Hanging())
    with pytest.raises(ServiceUnavailableError, match=f"the login at {server.url}.*ReadTimeout") as caught:
        ask(log_in(server, read_timeout_seconds=0.3), "POST", RUNS, json={})
    assert not caught.value.was_sent


def test_a_stale_csrf_cookie_starts_the_login_afresh(ask, start, log_in):
    class Forgetful(Oauth2ProxyGateway):
        stale = 1

        def own_page(self, asked: Asked) -> Reply | None:
            if asked.path == "/oauth2/callback" and self.stale:
                self.stale -= 1
                return Reply.html("Login Failed: Unable to find a valid CSRF token.", 403)
            return super().own_page(asked)

    # The longest way of all, which must not be taken for an endless one.
    server = start(Forgetful(dex=Dex(connectors=("local", "ldap"), asks_approval=True)))
    client = log_in(server)
    assert ask(client, "GET", RUNS)["user"] == USER
    server.end_sessions()
    server.stale = 1
    assert ask(client, "GET", RUNS)["user"] == USER
    assert server.dex.forms_posted == 4
    server = start(Forgetful())
    server.stale = 99
    with pytest.raises(PermissionDeniedError, match=r"accepted login and password.*answered 403"):
        ask(log_in(server), "GET", RUNS)
    assert server.dex.forms_posted == 2


def test_cookies_that_the_gateway_renews_on_the_way_are_kept(ask, start, log_in):
    class Renewing(Oauth2ProxyGateway):
        def _pass_on(self, asked: Asked, user: str) -> Reply:
            old, new = self.session_of(asked), self._open_session(user)
            self.sessions.pop(old, None)
            half = len(new) // 2
            reply = super()._pass_on(asked, user)
            return reply.cookie(f"{self._COOKIE}_0", new[:half]).cookie(f"{self._COOKIE}_1", new[half:])

    server = start(Renewing())
    client = log_in(server)
    for _ in range(3):
        assert ask(client, "GET", RUNS)["user"] == USER
    assert server.dex.forms_posted == 1


def test_a_service_that_stands_open_needs_no_login(ask, start, log_in):
    class Open(WebServer):
        def answer(self, asked: Asked) -> Reply:
            return Reply.json({"path": asked.path}) if "/apis/" in asked.path else Reply.html("not found", 404)

    assert ask(log_in(start(Open())), "GET", RUNS) == {"path": f"/pipeline{RUNS}"}


def test_a_login_that_is_not_dex_is_said_to_be_none(ask, start, log_in):
    class Other(WebServer):
        def answer(self, asked: Asked) -> Reply:
            return Reply.json({"message": "who are you?"}, 401)

    with pytest.raises(PermissionDeniedError, match="no Dex was found"):
        ask(log_in(start(Other())), "GET", RUNS)


def test_a_circle_of_redirects_ends(ask, start, log_in):
    class Circle(WebServer):
        def answer(self, asked: Asked) -> Reply:
            return Reply.redirect("/again")

    server = start(Circle())
    with pytest.raises(PermissionDeniedError, match="in a circle"):
        ask(log_in(server), "GET", RUNS)
    assert len(server.asked) < 50


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/dex/auth", "ftp://files.example.com", "http://[", "mailto:a@b.c"]
)
def test_a_redirect_that_would_betray_the_password_is_not_followed(location):
    login = dex.DexSession(base_url="https://kf", login=USER, password=PASSWORD, connector="local", conn_id="kf")
    steps = login.sync_auth_flow(httpx.Request("GET", "https://kf/apis"))
    first = next(steps)
    with pytest.raises(PermissionDeniedError, match="redirects"):
        steps.send(httpx.Response(302, headers={"location": location}, request=first))


def test_user_and_password_must_be_there(connect):
    with pytest.raises(InvalidRequestError, match="login, password"):
        connect("http://kf", login=USER, authentication="dex")


def test_many_triggers_and_threads_log_in_once(gateway, connect):
    server = gateway()
    users: list[str] = []

    def clients(number: int) -> list[HttpClient]:
        return [connect(server.url, login=USER, password=PASSWORD, authentication="dex") for _ in range(number)]

    async def triggers() -> None:
        answers = await asyncio.gather(*[client.arequest("GET", RUNS) for client in clients(20)])
        users.extend(answer["user"] for answer in answers)

    def tasks() -> None:
        users.extend(client.request("GET", RUNS)["user"] for client in clients(3))

    threads = [threading.Thread(target=lambda: asyncio.run(triggers())) for _ in range(2)]
    threads += [threading.Thread(target=tasks) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert users == [USER] * 49
    assert server.logins == 1
    assert server.dex.forms_posted == 1


def test_many_triggers_learn_of_one_refusal(start, connect):
    server = start(Oauth2ProxyGateway())
    client = connect(server.url, login=USER, password="a-wrong-password", authentication="dex")

    async def triggers() -> list[BaseException]:
        return await asyncio.gather(*[client.arequest("GET", RUNS) for _ in range(20)], return_exceptions=True)

    assert {type(error) for error in asyncio.run(triggers())} == {WrongPasswordError}
    assert server.dex.forms_posted == 1


def test_a_trigger_that_is_cancelled_while_it_logs_in_leaves_the_login_to_the_next(start, connect):
    class Slow(Oauth2ProxyGateway):
        is_slow = True

        def own_page(self, asked: Asked) -> Reply | None:
            if self.is_slow and asked.path == "/oauth2/start":
                self.reached.set()
                self.closing.wait(5)
            return super().own_page(asked)

    server = Slow()
    server.reached = threading.Event()
    start(server)
    client = connect(server.url, login=USER, password=PASSWORD, authentication="dex")

    async def triggers() -> str:
        first = asyncio.create_task(client.arequest("GET", RUNS))
        await asyncio.to_thread(server.reached.wait, 10)
        waiting = asyncio.create_task(client.arequest("GET", RUNS))
        impatient = asyncio.create_task(client.arequest("GET", RUNS))
        await asyncio.sleep(0.05)
        impatient.cancel()
        await asyncio.sleep(0.05)
        assert not waiting.done(), "one waiter that gives up does not end the wait of the others"
        server.is_slow = False
        first.cancel()
        with pytest.raises(ServiceUnavailableError, match="waited for") as caught:
            await waiting
        assert not caught.value.was_sent
        return (await client.arequest("GET", RUNS))["user"]

    assert asyncio.run(triggers()) == USER
