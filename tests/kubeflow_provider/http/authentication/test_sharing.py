"""Who shares a login with whom."""

from __future__ import annotations

from kubeflow_provider.http import authentication
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway

RUNS = "/apis/v2beta1/runs"


def test_hooks_with_the_same_fields_share_a_session(ask, start, connect):
    server = start(Oauth2ProxyGateway())
    for _ in range(3):
        ask(connect(server.url, login=USER, password=PASSWORD, authentication="dex"), "GET", RUNS)
    assert server.logins == 1


def test_a_changed_password_means_another_login(ask, start, connect):
    server = start(Oauth2ProxyGateway())
    ask(connect(server.url, login=USER, password=PASSWORD, authentication="dex"), "GET", RUNS)
    server.dex.users[USER] = "another-password"
    ask(connect(server.url, login=USER, password="another-password", authentication="dex"), "GET", RUNS)
    assert server.logins == 2


def test_old_logins_make_room(connect, monkeypatch):
    monkeypatch.setattr(authentication, "mask", lambda secret: None)  # Airflow's masker forgets nothing
    for number in range(authentication._KEEP + 10):
        connect("http://kf", password=f"token-{number}")
    assert len(authentication._logins) == authentication._KEEP
