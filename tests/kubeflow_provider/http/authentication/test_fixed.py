"""Modes that send the same header every time."""

from __future__ import annotations

import pytest

from kubeflow_provider.exceptions import PermissionDeniedError, WrongPasswordError
from tests.doubles.web import Asked, Reply, WebServer

RUNS = "/apis/v2beta1/runs"


class Echo(WebServer):
    """Answers with the headers that it was sent."""

    def answer(self, asked: Asked) -> Reply:
        names = ("authorization", "cookie", "kubeflow-userid", "x-user")
        return Reply.json({name: asked.headers[name] for name in names if name in asked.headers})


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {}),
        ({"authentication": "none", "password": "unused"}, {}),
        ({"password": "a-token"}, {"authorization": "Bearer a-token"}),
        ({"password": "Bearer a-token\n", "authentication": "bearer"}, {"authorization": "Bearer a-token"}),
        ({"password": "a=1; b=2", "authentication": "cookie"}, {"cookie": "a=1; b=2"}),
        ({"password": "Cookie: a=1; b=2", "authentication": "cookie"}, {"cookie": "a=1; b=2"}),
        (
            {"login": "ann", "password": "pä:ss", "authentication": "basic"},
            {"authorization": "Basic YW5uOnDDpDpzcw=="},
        ),
        ({"user_id": "user@example.com"}, {"kubeflow-userid": "user@example.com"}),
        (
            {"password": "a-token", "user_id": "ann", "user_id_header": "X-User"},
            {"authorization": "Bearer a-token", "x-user": "ann"},
        ),
    ],
)
def test_the_header_is_what_the_connection_says(ask, start, connect, fields, sent):
    client = connect(start(Echo()).url, **fields)
    assert ask(client, "GET", RUNS) == sent
    assert ask(client, "POST", RUNS, json={}) == sent


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({}, "field `authentication`"),
        ({"password": "a-token"}, "give it one that is still valid"),
        ({"password": "a=1", "authentication": "cookie"}, "copy a new one from a browser"),
        ({"login": "ann", "password": "secret", "authentication": "basic"}, "Check login and password"),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_asked_again(ask, start, connect, fields, advice):
    class Refusing(WebServer):
        def answer(self, asked: Asked) -> Reply:
            return Reply.json({"message": "Request header error"}, 401)

    server = start(Refusing())
    with pytest.raises(PermissionDeniedError, match=advice) as caught:
        ask(connect(server.url, **fields), "GET", RUNS)
    assert caught.value.http_status == 401
    assert len(server.asked) == 1


@pytest.mark.parametrize(("challenge", "asked"), [('Basic realm="kubeflow"', 1), ("", 3)])
def test_a_password_that_a_proxy_calls_wrong_is_not_sent_again(ask, start, connect, challenge, asked):
    class Proxy(WebServer):
        def answer(self, asked: Asked) -> Reply:
            return Reply(401, b"", [("WWW-Authenticate", challenge)] if challenge else [])

    server = start(Proxy())
    client = connect(server.url, login="ann", password="secret", authentication="basic")
    for _ in range(3):
        with pytest.raises(PermissionDeniedError, match="Check login and password") as caught:
            ask(client, "GET", RUNS)
        assert isinstance(caught.value, WrongPasswordError) is bool(challenge)
    assert len(server.asked) == asked
