"""Tokens of an OAuth 2.0 authorization server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from kubeflow_provider.exceptions import PermissionDeniedError, ServiceUnavailableError, WrongPasswordError
from kubeflow_provider.http.authentication import flow
from kubeflow_provider.http.client import HttpClient
from tests.doubles.login import Oauth2ProxyGateway
from tests.doubles.tokens import TokenEndpoint
from tests.doubles.web import Reply

RUNS = "/apis/v2beta1/runs"
CLIENT, SECRET = "airflow", "s3cret&with:signs%"


@pytest.fixture
def issuer(start) -> TokenEndpoint:
    return start(TokenEndpoint(clients={CLIENT: SECRET, "public": ""}, users={"ann": "anns-password"}))


@pytest.fixture
def client(start, connect, issuer) -> Callable[..., HttpClient]:
    gateway = start(Oauth2ProxyGateway())
    gateway.tokens = issuer.tokens

    def client(login: str = CLIENT, password: str = SECRET, **extra: str) -> HttpClient:
        fields = {"token_url": f"{issuer.url}/token", **extra}
        return connect(gateway.url, login=login, password=password, authentication="oauth2", **fields)

    return client


@pytest.mark.parametrize("takes_header", [True, False])
def test_a_client_gets_one_token_for_many_requests(ask, client, issuer, takes_header):
    issuer.takes_header = takes_header
    one = client(scope="profile email")
    for _ in range(3):
        assert ask(one, "GET", RUNS)["user"] == CLIENT
    assert len(issuer.tokens) == 1
    assert issuer.asked[-1].form["scope"] == "profile email"


@pytest.mark.parametrize(("client_id", "secret"), [(CLIENT, SECRET), ("public", "")])
def test_a_user_gets_a_token_through_a_client(ask, client, client_id, secret):
    one = client("ann", "anns-password", client_id=client_id, client_secret=secret)
    assert ask(one, "GET", RUNS)["user"] == "ann"


def test_it_is_renewed_before_it_expires(ask, client, issuer, monkeypatch):
    issuer.expires_in = 100
    one = client()
    ask(one, "GET", RUNS)
    now = time.time()
    monkeypatch.setattr(flow.time, "time", lambda: now + 70)
    ask(one, "GET", RUNS)
    assert len(issuer.tokens) == 1
    monkeypatch.setattr(flow.time, "time", lambda: now + 90)
    ask(one, "GET", RUNS)
    assert len(issuer.tokens) == 2


def test_a_refused_token_is_replaced_once(ask, client, issuer):
    one = client()
    ask(one, "GET", RUNS)
    issuer.tokens.clear()
    assert ask(one, "GET", RUNS)["user"] == CLIENT


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ((CLIENT, "a-wrong-secret", ""), "Client not authenticated"),
        (("ann", "a-wrong-password", CLIENT), "Invalid user credentials"),
    ],
)
def test_wrong_credentials_are_the_servers_words_and_what_to_check(ask, client, who, words):
    login, password, client_id = who
    one = client(login, password, client_id=client_id, client_secret=SECRET if client_id else "")
    with pytest.raises(PermissionDeniedError, match=f"{words}.*connection 'kf'") as caught:
        ask(one, "GET", RUNS)
    assert caught.value.http_status in (400, 401)


def test_a_wrong_user_password_is_tried_once(ask, client, issuer):
    for _ in range(2):
        with pytest.raises(WrongPasswordError):
            ask(client("ann", "a-wrong-password", client_id=CLIENT, client_secret=SECRET), "GET", RUNS)
    assert len(issuer.asked) == 1


def test_a_server_that_is_out_of_order_is_an_outage(ask, client, issuer):
    issuer.broken_status = 502
    with pytest.raises(ServiceUnavailableError, match=f"{issuer.url}/token answered 502") as caught:
        ask(client(), "POST", RUNS, json={})
    assert not caught.value.was_sent


def test_a_server_that_does_not_answer_is_an_outage(ask, client):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/token"
    with pytest.raises(ServiceUnavailableError, match=f"the login at {url} did not answer") as caught:
        ask(client(token_url=url), "POST", RUNS, json={})
    assert not caught.value.was_sent


@pytest.mark.parametrize("reply", [Reply.html("Welcome"), Reply.json([]), Reply.json({"access_token": "two\nlines"})])
def test_an_answer_without_a_token_is_no_token(ask, client, issuer, reply):
    issuer.answer = lambda asked: reply
    with pytest.raises(ServiceUnavailableError, match="no access token"):
        ask(client(), "GET", RUNS)
