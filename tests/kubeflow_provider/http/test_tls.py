"""Certificates: whom the client believes, what it shows of itself, and what it says when one does not fit."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.http.client import HttpClient, HttpSettings
from tests.kubeflow_provider.http.conftest import HASTY, RUNS, Scripted, client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of an authority nobody knows, and of a server and a client that it vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("An authority", ca_key, ca_key, "An authority", is_authority=True)
    files = {"ca": folder / "ca.pem"}
    files["ca"].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, ca_key, "An authority")
        files[name], files[f"{name}_key"] = folder / f"{name}.pem", folder / f"{name}.key"
        files[name].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[f"{name}_key"].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return files


def _certificate(subject: str, key: Any, issuer_key: Any, issuer: str, *, is_authority: bool = False) -> Any:
    now = datetime.datetime.now(tz=datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture
def https(serve: Callable[..., Scripted], authority: dict[str, Path]) -> Callable[..., Scripted]:
    """Return ``start(*replies, asks_client=False)`` for servers with a certificate of that authority."""

    def start(*replies: Any, asks_client: bool = False) -> Scripted:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority["server"], authority["server_key"])
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
    bundle.write_bytes(authority["server"].read_bytes())
    server = https()
    with pytest.raises(ServiceUnavailableError):
        ask(client(server, verify=str(bundle)), "GET", RUNS)
    bundle.write_bytes(authority["ca"].read_bytes())
    assert ask(client(server, verify=str(bundle)), "GET", RUNS) == {"fine": True}
