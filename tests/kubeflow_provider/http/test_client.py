"""The client against servers that behave and servers that do not, as a task and as a trigger asks."""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import socket
import warnings
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.http.client import HttpClient, HttpSettings, Patience
from tests.doubles.web import HangUp, Reply
from tests.kubeflow_provider.http.conftest import HASTY, RUNS, client


def test_it_asks_below_the_base_url_and_leaves_out_what_is_none(ask, serve):
    server = serve()
    assert ask(client(server, "/pipeline"), "GET", RUNS, params={"page_size": 5, "filter": None}) == {"fine": True}
    assert server.asked[0].target == f"/pipeline{RUNS}?page_size=5"
    assert server.asked[0].headers["accept"] == "application/json"


def test_a_user_header_goes_with_every_request(ask, serve):
    server = serve()
    ask(client(server, headers={"kubeflow-userid": "user@example.com"}), "POST", RUNS, json={"display_name": "r"})
    assert server.asked[0].headers["kubeflow-userid"] == "user@example.com"
    assert server.asked[0].body == b'{"display_name":"r"}'


@pytest.mark.parametrize(
    "reply", [Reply.json({"fine": True}), Reply(200, b"{", [("Content-Type", "application/json")])]
)
def test_nothing_is_collected_while_an_answer_becomes_objects(ask, serve, monkeypatch, reply):
    parse = httpx.Response.json
    seen: list[bool] = []

    def watched(response: httpx.Response) -> Any:
        seen.append(gc.isenabled())
        return parse(response)

    monkeypatch.setattr(httpx.Response, "json", watched)
    with suppress(ServiceUnavailableError):
        ask(client(serve(reply)), "GET", RUNS)
    assert set(seen) == {False}
    assert gc.isenabled()


def test_a_program_that_collects_nothing_is_left_alone(ask, serve):
    gc.disable()
    try:
        ask(client(serve()), "GET", RUNS)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_files_are_sent_as_a_form(ask, serve):
    server = serve()
    ask(client(server), "POST", "/upload", files={"uploadfile": ("p.yaml", b"the: ir", "application/yaml")})
    assert server.asked[0].headers["content-type"].startswith("multipart/form-data")
    assert b'name="uploadfile"; filename="p.yaml"' in server.asked[0].body


def test_text_is_returned_as_it_is_even_where_a_server_calls_it_html(ask, serve):
    log = Reply(200, b"step 1\nstep 2", [("Content-Type", "text/html; charset=utf-8")])
    assert ask(client(serve(log)), "GET", "/k8s/pod/logs", expect="text") == "step 1\nstep 2"


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply.json({"code": 3, "message": "outer", "details": [{"message": "Invalid input"}]}, 400),
         InvalidRequestError, "Invalid input"),
        (Reply.json({"error_message": "no such file", "error_details": "long"}, 400), InvalidRequestError, "no such"),
        (Reply.json({"code": 5, "message": "Run not found"}, 404), InvalidRequestError, "Run not found"),
        (Reply(405), InvalidRequestError, "405"),
        (Reply.json({"message": "Already exists"}, 409), InvalidRequestError, "Already exists"),
        (Reply(413, b"too big"), InvalidRequestError, "too big"),
        (Reply.json({"detail": "wrong"}, 422), InvalidRequestError, "wrong"),
        (Reply.json({"code": 16, "message": "no identity"}, 401), PermissionDeniedError, "no identity"),
        (Reply.json({"message": "User 'u' is not authorized"}, 403), PermissionDeniedError, "RoleBinding"),
        (Reply.redirect("/dex/auth#/?state=the-state-of-a-login"), PermissionDeniedError, "redirect to /dex/auth"),
        (Reply.html("Sign in"), PermissionDeniedError, "login page"),
        (Reply(407), PermissionDeniedError, "proxy"),
        (Reply(408), ServiceUnavailableError, "408"),
        (Reply.json({}, 429), ServiceUnavailableError, "429"),
        (Reply.json({"message": "internal"}, 500), ServiceUnavailableError, "internal"),
        (Reply.html("Bad Gateway", 502), ServiceUnavailableError, "502"),
        (Reply(503, b"no healthy upstream"), ServiceUnavailableError, "no healthy upstream"),
        (Reply(504), ServiceUnavailableError, "504"),
        (Reply(200, b"{}", [("Content-Type", "text/plain")]), ServiceUnavailableError, "not JSON"),
        (Reply(200, b"{'half':", [("Content-Type", "application/json")]), ServiceUnavailableError, "not JSON"),
    ],
)  # fmt: skip
def test_each_status_is_the_error_that_it_stands_for(ask, serve, reply, error, words):
    server = serve(reply)
    with pytest.raises(error, match=words) as caught:
        ask(client(server), "POST", RUNS, params={"experiment_id": "in-the-query"}, json={})
    message = str(caught.value)
    assert caught.value.http_status == reply.status
    assert message.startswith(f"KFP at {server.url}{RUNS} answered {reply.status} to POST")
    assert "in-the-query" not in message and "the-state-of-a-login" not in message
    assert len(server.asked) == 1, "a POST is never repeated"


def test_a_long_message_of_the_server_is_shortened(ask, serve):
    with pytest.raises(InvalidRequestError) as caught:
        ask(client(serve(Reply.json({"message": "word " * 1000}, 400))), "GET", RUNS)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("failure", [Reply.json({}, 429), Reply(502), Reply(503), Reply(504), HangUp])
def test_a_get_gets_over_passing_failures(ask, serve, failure):
    server = serve(failure, failure, failure, Reply.json({"state": "RUNNING"}))
    assert ask(client(server), "GET", RUNS) == {"state": "RUNNING"}
    assert len(server.asked) == 4


@pytest.mark.parametrize(("failure", "asked"), [(Reply(503), 4), (Reply.json({}, 500), 1), (Reply.json({}, 404), 1)])
def test_a_get_gives_up_in_the_end_and_at_once_where_nothing_passes(ask, serve, failure, asked):
    server = serve(failure)
    with pytest.raises((ServiceUnavailableError, InvalidRequestError)):
        ask(client(server), "GET", RUNS)
    assert len(server.asked) == asked


def test_what_the_service_asks_for_with_retry_after_is_known(ask, serve):
    in_seconds = Reply.json({}, 429, Retry_After="7")
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(client(serve(in_seconds)), "POST", RUNS)
    assert caught.value.retry_after_seconds == 7
    then = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=90)
    at_a_time = Reply.json({}, 503, Retry_After=then.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(client(serve(at_a_time)), "POST", RUNS)
    assert 60 < (caught.value.retry_after_seconds or 0) <= 90


def test_a_pause_is_what_was_asked_for_but_never_longer_than_the_longest():
    class State:
        attempt_number = 3

        class outcome:
            @staticmethod
            def exception() -> BaseException:
                return error

    patience = Patience(first_pause_seconds=1, longest_pause_seconds=20)
    error = ServiceUnavailableError("", retry_after_seconds=5)
    assert patience.pause(State) == 5  # type: ignore[arg-type]
    error = ServiceUnavailableError("", retry_after_seconds=3600)
    assert patience.pause(State) == 20  # type: ignore[arg-type]
    error = ServiceUnavailableError("")
    assert 2 <= patience.pause(State) <= 6  # type: ignore[arg-type]


def test_a_refused_connection_certainly_sent_nothing(ask):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = HttpClient(HttpSettings(base_url=f"http://127.0.0.1:{port}"), service="KFP", patience=HASTY)
    with pytest.raises(ServiceUnavailableError, match="did not answer") as caught:
        ask(nobody, "POST", RUNS)
    assert not caught.value.was_sent
    assert caught.value.http_status is None


def test_an_unknown_host_certainly_got_nothing(ask):
    nobody = HttpClient(HttpSettings(base_url="http://no-such-host.invalid"), service="KFP", patience=HASTY)
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(nobody, "POST", RUNS)
    assert not caught.value.was_sent


@pytest.mark.parametrize("failure", [HangUp, "too slow", Reply(200, b'{"half"', announced_bytes=99)])
def test_a_post_that_may_have_arrived_says_so(ask, serve, failure):
    server = serve(failure)
    with pytest.raises(ServiceUnavailableError) as caught:
        ask(client(server, read_timeout_seconds=0.3), "POST", RUNS, json={})
    assert caught.value.was_sent
    assert len(server.asked) == 1


def test_a_slow_get_is_not_asked_again(ask, serve):
    server = serve("too slow")
    with pytest.raises(ServiceUnavailableError, match="ReadTimeout"):
        ask(client(server, read_timeout_seconds=0.3), "GET", RUNS)
    assert len(server.asked) == 1


def test_other_triggers_go_on_while_one_waits_for_an_answer(serve):
    async def both() -> None:
        slow = asyncio.create_task(client(serve("too slow"), read_timeout_seconds=1).arequest("GET", RUNS))
        await client(serve()).arequest("GET", RUNS)
        assert not slow.done(), "the fast one has its answer first"
        with pytest.raises(ServiceUnavailableError):
            await slow

    asyncio.run(both())


def test_nothing_is_left_open(ask, serve):
    servers = [serve(reply) for reply in (Reply.json({}), Reply(503), HangUp)]
    # What somebody else in this process has left open may be noticed now as well, and is none of ours.
    ours = [f"raddr=('127.0.0.1', {urlsplit(server.url).port})" for server in servers]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for server in servers:
            with suppress(ServiceUnavailableError):
                ask(client(server), "GET", RUNS)
        gc.collect()
    messages = [str(warning.message) for warning in seen if issubclass(warning.category, ResourceWarning)]
    assert [message for message in messages if any(address in message for address in ours)] == []


def test_what_is_left_open_would_be_noticed(serve):
    server = serve()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        left_open = socket.create_connection(("127.0.0.1", urlsplit(server.url).port))
        del left_open
        gc.collect()
    address = f"raddr=('127.0.0.1', {urlsplit(server.url).port})"
    assert any(address in str(warning.message) for warning in seen)


def test_a_proxy_is_used_from_the_settings_and_from_the_environment(ask, serve, monkeypatch):
    proxy = serve()
    away = HttpSettings(base_url="http://kubeflow.invalid/pipeline", proxy=proxy.url)
    assert ask(HttpClient(away, service="KFP"), "GET", RUNS) == {"fine": True}
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    away = HttpSettings(base_url="http://kubeflow.invalid/pipeline")
    assert ask(HttpClient(away, service="KFP"), "GET", RUNS) == {"fine": True}
    assert [asked.target for asked in proxy.asked] == [f"http://kubeflow.invalid/pipeline{RUNS}"] * 2


def test_the_libraries_below_are_silent_for_us_only(ask, serve, caplog):
    caplog.set_level(logging.DEBUG)
    server = serve(Reply.json({}).cookie("session", "a-cookie-that-is-secret"))
    ask(client(server), "GET", RUNS, params={"code": "a-code-in-the-query"})
    assert f"GET {server.url}{RUNS} answered 200" in caplog.text
    assert "a-cookie-that-is-secret" not in caplog.text and "a-code-in-the-query" not in caplog.text
    logging.getLogger("httpcore.http11").debug("somebody else's record")
    assert "somebody else's record" in caplog.text
