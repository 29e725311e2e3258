"""Certificates: whom the client believes, what it shows of itself, and what it says when one does not fit."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.http.client import HttpClient, HttpSettings
from tests.certificates import certificates, server_context
from tests.kubeflow_provider.http.conftest import HASTY, RUNS, Scripted, client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def https(serve: Callable[..., Scripted], authority: dict[str, Path]) -> Callable[..., Scripted]:
    """Return ``start(*replies, asks_client=False)`` for servers with a certificate of that authority."""

    def start(*replies: Any, asks_client: bool = False) -> Scripted:
        tls = server_context(authority)
        if asks_client:
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_verify_locations(authority["ca"])
        return serve(*replies, tls=tls)

    return start


def test_an_unknown_authority_is_refused_and_the_message_says_what_to_give(ask, https):
    with pytest.raises(ServiceUnavailableError, match="ca_bundle") as caught:
        ask(client(https()), "POST", RUNS)
    assert not caught.value.was_sent


def test_https_to_a_port_that_speaks_http_is_explained(ask, serve):
    address = serve().url.replace("http://", "https://")
    with pytest.raises(ServiceUnavailableError, match="does not speak https") as caught:
        ask(HttpClient(HttpSettings(base_url=address), service="KFP", patience=HASTY), "POST", RUNS)
    assert not caught.value.was_sent


def test_a_bundle_makes_the_authority_known(ask, https, authority):
    assert ask(client(https(), verify=str(authority["ca"])), "GET", RUNS) == {"fine": True}


def test_verification_can_be_switched_off_and_is_warned_about_once(ask, https, caplog):
    server = https()
    for _ in range(3):
        assert ask(client(server, verify=False), "GET", RUNS) == {"fine": True}
    assert len([record for record in caplog.records if "not verified" in record.message]) == 1


def test_a_client_certificate_is_shown(ask, https, authority):
    server = https(asks_client=True)
    files = {"client_certificate": str(authority["client"]), "client_key": str(authority["client_key"])}
    assert ask(client(server, verify=str(authority["ca"]), **files), "GET", RUNS) == {"fine": True}
    with pytest.raises(ServiceUnavailableError):
        ask(client(server, verify=str(authority["ca"])), "GET", RUNS)


def test_a_file_that_holds_no_certificate_is_named(ask, https, authority, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(InvalidRequestError, match="ca_bundle"):
        ask(client(https(), verify=str(empty)), "GET", RUNS)
    with pytest.raises(InvalidRequestError, match="client_certificate"):
        ask(client(https(), verify=False, client_certificate=str(empty)), "GET", RUNS)


def test_a_renewed_certificate_is_read_without_a_restart(ask, https, authority, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(authority["client"].read_bytes())
    server = https()
    with pytest.raises(ServiceUnavailableError):
        ask(client(server, verify=str(bundle)), "GET", RUNS)
    bundle.write_bytes(authority["ca"].read_bytes())
    assert ask(client(server, verify=str(bundle)), "GET", RUNS) == {"fine": True}
