"""How to reach a service, read from an Airflow connection."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import httpx
from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Address, TLS, proxy and patience.

    :param base_url: URL that every path is put behind, without a slash at its end.
    :param verify: True: certificates must be signed by a known authority; False: anything goes; text: path of a file
        or folder with the authorities to trust.
    :param client_certificate: path of a PEM file that says who the client is.
    :param client_key: path of its private key, where the certificate's file does not hold it.
    :param proxy: URL of a proxy; without it the environment's ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` count.
    :param connect_timeout_seconds: longest wait for a connection.
    :param read_timeout_seconds: longest wait for the next piece of an answer.
    :param headers: sent with every request to the service, never to an identity provider.
    """

    base_url: str
    verify: bool | str = True
    client_certificate: str | None = None
    client_key: str | None = None
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    connect_timeout_seconds: float = 10
    read_timeout_seconds: float = 60
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_connection(cls, connection: Connection) -> HttpSettings:
        """Read the connection's fields.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        settings = cls.read(fields)
        fields.check()
        return settings

    @classmethod
    def read(cls, fields: ConnectionFields) -> HttpSettings:
        """Like :meth:`from_connection`, but leaves what is wrong in ``fields.problems``."""
        verify: bool | str = fields.flag("verify", True)
        ca_bundle = fields.path("ca_bundle")
        if verify and ca_bundle:
            verify = ca_bundle
        certificate, key = fields.path("client_certificate"), fields.path("client_key")
        if key and not certificate:
            fields.problems.append("client_key: needs client_certificate beside it")
        return cls(
            base_url=_read_base_url(fields),
            verify=verify,
            client_certificate=certificate,
            client_key=key,
            proxy=_read_proxy(fields),
            connect_timeout_seconds=fields.seconds("connect_timeout_seconds", 10),
            read_timeout_seconds=fields.seconds("read_timeout_seconds", 60),
            headers=_read_headers(fields),
        )

    @property
    def timeout(self) -> httpx.Timeout:
        """Every wait has an end."""
        return httpx.Timeout(self.read_timeout_seconds, connect=self.connect_timeout_seconds)

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context; it is expensive to make, so a process keeps it until one of its files changes.

        :raises InvalidRequestError: when a file holds no certificate or key that can be used.
        """
        if self.verify is False:
            _warn_unverified(self.base_url)
        files = [str(path) for path in (self.verify, self.client_certificate, self.client_key) if isinstance(path, str)]
        changed_at = tuple(_changed_at(path) for path in files)
        return _ssl_context(self.verify, self.client_certificate, self.client_key, changed_at)


def _read_base_url(fields: ConnectionFields) -> str:
    host, schema, port = fields.connection.host or "", fields.connection.schema or "", fields.connection.port
    try:
        url = httpx.URL(host if "://" in host else f"{schema or 'http'}://{host}")
        if port and not url.port:
            url = url.copy_with(port=port)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        fields.problems.append("host: the full address is needed, for example https://kubeflow.example.com/pipeline")
    if url.userinfo or url.query or url.fragment:
        fields.problems.append("host: no user, query or fragment belongs into it")
    return str(url.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")


def _read_proxy(fields: ConnectionFields) -> str | None:
    proxy = fields.text("proxy")
    if not proxy:
        return None
    try:
        is_valid = httpx.URL(proxy).scheme in ("http", "https") and bool(httpx.URL(proxy).host)
    except httpx.InvalidURL:
        is_valid = False
    if not is_valid:
        fields.problems.append("proxy: must be the URL of an HTTP proxy, for example http://proxy.example.com:3128")
        return None
    return proxy


def _read_headers(fields: ConnectionFields) -> dict[str, str]:
    """Read the identity that a gateway would have put into a header; for a port-forward past the gateway only."""
    user = fields.text("user_id")
    if not user:
        return {}
    name = fields.text("user_id_header", "kubeflow-userid")
    if not (user.isascii() and user.isprintable() and name.replace("-", "").replace("_", "").isalnum()):
        fields.problems.append("user_id, user_id_header: only plain characters can stand in a header")
        return {}
    return {name: user}


@lru_cache
def _warn_unverified(base_url: str) -> None:
    log.warning(
        "The certificate of %s is not verified: whoever stands between can read and change everything. "
        "Give `ca_bundle` instead of switching `verify` off.",
        base_url,
    )


def _changed_at(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}.") from error


@lru_cache(maxsize=32)
def _ssl_context(
    verify: bool | str, certificate: str | None, key: str | None, changed_at: tuple[float, ...]
) -> ssl.SSLContext:
    try:
        if isinstance(verify, bool):
            context = httpx.create_ssl_context(verify=verify)
        elif Path(verify).is_dir():
            context = ssl.create_default_context(capath=verify)
        else:
            context = ssl.create_default_context(cafile=verify)
    except OSError as error:
        raise InvalidRequestError(f"ca_bundle: {verify} holds no certificates in PEM form ({error}).") from error
    if certificate:
        try:
            # An encrypted key would ask for its password on the terminal; there is none.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise InvalidRequestError(
                f"client_certificate, client_key: {certificate} and {key or 'its own key'} do not work together, "
                f"or the key has a password ({type(error).__name__})."
            ) from error
    return context
