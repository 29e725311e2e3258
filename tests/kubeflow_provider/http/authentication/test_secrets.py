"""Nothing that is secret stands in a log line, an error or a repr, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import traceback
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.log import redact

from kubeflow_provider.exceptions import KubeflowProviderError
from kubeflow_provider.http.authentication import flow
from kubeflow_provider.http.authentication.dex import DexSession
from kubeflow_provider.http.client import HttpClient
from tests.doubles.login import USER, AuthserviceGateway, Dex, Oauth2ProxyGateway
from tests.doubles.tokens import TokenEndpoint, TokenRequestApi
from tests.doubles.web import Asked, HangUp, Reply, WebServer

RUNS = "/apis/v2beta1/runs"
# In constants, because a traceback quotes the line that made a call.
SECRET = "the-secret-of-the-connection"
SEARCHED_FOR = "what-somebody-searched-for"


class Broken(WebServer):
    """Refuses in one way or another, and quotes what it was sent."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.tokens: dict[str, str] = {}

    def answer(self, asked: Asked) -> Reply:
        if self.how == "hang up":
            raise HangUp
        if self.how == "redirect":
            return Reply.redirect(f"/dex/auth?token={SECRET}")
        if self.how == "html":
            return Reply.html(json.dumps(asked.headers))
        quoted = f"you sent {asked.headers.get('authorization')} {asked.headers.get('cookie')}"
        return Reply.json({"message": quoted}, int(self.how))


@pytest.fixture(params=["bearer", "cookie", "basic", "token_file", "dex", "authservice", "oauth2", "kubernetes"])
def mode(request, start, connect, tmp_path, monkeypatch) -> Callable[[str | None], tuple[HttpClient, Any]]:
    """Return ``make(how)``: a client of one mode, and the server that it asks; ``None`` for one that is in order."""
    name = request.param

    def make(how: str | None) -> tuple[HttpClient, Any]:
        if name in ("dex", "authservice"):
            kind = Oauth2ProxyGateway if name == "dex" else AuthserviceGateway
            inner = start(Broken(how)).url if how else None
            server = start(kind(dex=Dex(users={USER: SECRET}), inner_url=inner))
            return connect(server.url, login=USER, password=SECRET, authentication="dex"), server
        server = start(Broken(how) if how else Oauth2ProxyGateway())
        return connect(server.url, authentication=name, **fields(server)), server

    def fields(server: Any) -> dict[str, Any]:
        if name == "token_file":
            Path(tmp_path / "token").write_text(SECRET)
            server.tokens[SECRET] = "ann"
            return {"token_file": str(tmp_path / "token")}
        if name == "oauth2":
            issuer = start(TokenEndpoint(clients={"airflow": SECRET}))
            server.tokens = issuer.tokens
            return {"login": "airflow", "password": SECRET, "token_url": f"{issuer.url}/token"}
        if name == "kubernetes":
            cluster = start(TokenRequestApi(accounts={"team/default-editor"}))
            server.tokens = cluster.tokens
            connection = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(cluster.kubeconfig())}}
            monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
            return {"service_account_namespace": "team", "kubernetes_conn_id": "cluster"}
        server.tokens[SECRET] = "ann"
        return {"login": "ann", "password": f"session={SECRET}" if name == "cookie" else SECRET}

    return make


def secrets_of(server: Any) -> list[str]:
    sessions = [half for session in getattr(server, "sessions", {}) for half in (session, session[:40], session[-40:])]
    pair = b64encode(f"ann:{SECRET}".encode()).decode()
    return [SECRET, pair, *getattr(server, "tokens", {}), *sessions]


@pytest.mark.parametrize("how", [None, "hang up", "redirect", "html", "400", "401", "403", "500"])
def test_no_secret_is_told(ask, mode, caplog, how):
    caplog.set_level(logging.DEBUG)
    client, server = mode(how)
    told = [repr(client), repr(client.settings), repr(client._auth), str(vars(client))]
    try:
        ask(client, "POST", RUNS, json={}, params={"filter": SEARCHED_FOR})
    except KubeflowProviderError as error:
        told += [str(error), repr(error), *traceback.format_exception(error)]
    told += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    found = [secret for secret in [*secrets_of(server), SEARCHED_FOR] if secret in "\n".join(told)]
    assert found == []
    assert len(told) > 4, "something was told at all"


def test_a_failed_login_tells_none_either(ask, start, connect, caplog):
    caplog.set_level(logging.DEBUG)
    server = start(Oauth2ProxyGateway(dex=Dex(wrong_password_status=401)))
    with pytest.raises(KubeflowProviderError) as caught:
        ask(connect(server.url, login=USER, password=SECRET, authentication="dex"), "GET", RUNS)
    told = "\n".join([*traceback.format_exception(caught.value), caplog.text])
    states = [asked.query["state"] for asked in server.asked if "state" in asked.query]
    assert states
    assert [secret for secret in [SECRET, *states] if secret in told] == []


def test_airflow_blots_out_what_it_has_not_seen_in_a_connection(ask, mode, monkeypatch):
    monkeypatch.setattr(flow, "_renewed", count())
    client, server = mode(None)
    with suppress(KubeflowProviderError):  # a cookie or basic login, which this gateway does not know
        ask(client, "GET", RUNS)
    cookies = client._auth._credential.value.jar if isinstance(client._auth, DexSession) else []
    for secret in [SECRET, *getattr(server, "tokens", {}), *(cookie.value for cookie in cookies)]:
        assert secret not in str(redact(f"a line with {secret} in it"))


def test_the_masker_is_not_fed_for_ever(monkeypatch):
    monkeypatch.setattr(flow, "_renewed", count())
    tokens = [f"one-of-many-tokens-{number:03}" for number in range(flow.MOST_MASKED + 5)]
    flow.mask_renewed(*tokens)
    assert [token for token in tokens if redact(token) == token] == tokens[flow.MOST_MASKED :]
