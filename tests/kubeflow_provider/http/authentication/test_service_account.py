"""Tokens of a Kubernetes service account."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.http.authentication import flow
from kubeflow_provider.http.client import HttpClient
from tests.doubles.login import Oauth2ProxyGateway
from tests.doubles.tokens import TokenRequestApi

RUNS = "/apis/v2beta1/runs"


@pytest.fixture
def cluster(start, monkeypatch) -> TokenRequestApi:
    """Return a cluster with the account `team/default-editor`; `cluster` is the Airflow connection to it."""
    api = start(TokenRequestApi(accounts={"team/default-editor"}))
    point_to(api.kubeconfig(), monkeypatch)
    return api


def point_to(kubeconfig: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(kubeconfig)}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))


@pytest.fixture
def gateway(start, cluster) -> Oauth2ProxyGateway:
    server = start(Oauth2ProxyGateway())
    server.tokens = cluster.tokens
    return server


@pytest.fixture
def client(gateway, connect) -> Callable[..., HttpClient]:
    def client(**extra: str) -> HttpClient:
        fields = {"service_account_namespace": "team", "kubernetes_conn_id": "cluster", **extra}
        return connect(gateway.url, authentication="kubernetes", **fields)

    return client


def test_the_token_is_asked_for_once_with_its_audience(ask, client, cluster):
    one = client()
    for _ in range(3):
        assert ask(one, "GET", RUNS)["user"] == "system:serviceaccount:team:default-editor"
    assert [spec["audiences"] for spec in cluster.specs] == [["pipelines.kubeflow.org"]]
    assert cluster.specs[0]["expirationSeconds"] == 3600


def test_audience_and_account_can_be_chosen(ask, client, cluster):
    cluster.accounts.add("team/robot")
    other = client(service_account="robot", audience="istio-ingressgateway.istio-system.svc.cluster.local")
    assert ask(other, "GET", RUNS)["user"] == "system:serviceaccount:team:robot"
    assert cluster.specs[0]["audiences"] == ["istio-ingressgateway.istio-system.svc.cluster.local"]


def test_the_profile_of_the_connection_is_the_namespace_where_no_other_is_given(ask, client):
    assert ask(client(service_account_namespace="", namespace="team"), "GET", RUNS)["user"].endswith(
        "team:default-editor"
    )


def test_it_is_renewed_at_four_fifths_of_the_life_that_was_granted(ask, client, cluster, monkeypatch):
    cluster.life_seconds = 1000
    one = client()
    ask(one, "GET", RUNS)
    now = time.time()
    monkeypatch.setattr(flow.time, "time", lambda: now + 790)
    ask(one, "GET", RUNS)
    assert len(cluster.specs) == 1
    monkeypatch.setattr(flow.time, "time", lambda: now + 810)
    ask(one, "GET", RUNS)
    assert len(cluster.specs) == 2


def test_a_refused_token_is_replaced_once(ask, client, cluster):
    one = client()
    ask(one, "GET", RUNS)
    cluster.tokens.clear()
    assert ask(one, "GET", RUNS)["user"].endswith("default-editor")
    assert len(cluster.specs) == 2


def test_a_token_that_the_service_never_takes_is_explained(ask, client, gateway):
    gateway.tokens = {}
    with pytest.raises(PermissionDeniedError, match=r"team/default-editor with audience 'pipelines\.kubeflow\.org'"):
        ask(client(), "GET", RUNS)


def test_an_account_that_does_not_exist_is_named(ask, client):
    with pytest.raises(InvalidRequestError, match=r"team/robot.*no such account"):
        ask(client(service_account="robot"), "GET", RUNS)


def test_a_caller_without_the_role_is_told_which(ask, client, cluster):
    cluster.refuses = True
    with pytest.raises(PermissionDeniedError, match="serviceaccounts/token"):
        ask(client(), "GET", RUNS)


def test_a_cluster_that_is_out_of_order_is_an_outage(ask, client, cluster):
    cluster.broken_status = 500
    with pytest.raises(ServiceUnavailableError, match="team/default-editor") as caught:
        ask(client(), "POST", RUNS, json={})
    assert not caught.value.was_sent


def test_a_cluster_that_does_not_answer_is_an_outage(ask, client, cluster, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        cluster.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    point_to(cluster.kubeconfig(), monkeypatch)
    with pytest.raises(ServiceUnavailableError, match="did not answer") as caught:
        ask(client(), "POST", RUNS, json={})
    assert not caught.value.was_sent


def test_a_missing_cluster_connection_is_named(ask, client):
    with pytest.raises(InvalidRequestError, match="kubernetes_conn_id"):
        ask(client(kubernetes_conn_id="no_such_connection"), "GET", RUNS)


def test_a_cluster_connection_that_holds_no_kubeconfig_is_named(ask, client, monkeypatch):
    broken = {"conn_type": "kubernetes", "extra": {"kube_config": "no kubeconfig"}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(broken))
    with pytest.raises(InvalidRequestError, match="connection 'cluster', which `kubernetes_conn_id` names"):
        ask(client(), "GET", RUNS)


def test_the_event_loop_goes_on_while_the_token_is_asked_for(client, cluster):
    async def watch() -> int:
        beats = 0
        asked = asyncio.create_task(client().arequest("GET", RUNS))
        while not asked.done():
            beats += 1
            await asyncio.sleep(0.005)
        await asked
        return beats

    answer, cluster.answer = cluster.answer, lambda asked: cluster.closing.wait(0.3) or answer(asked)
    assert asyncio.run(watch()) > 10
