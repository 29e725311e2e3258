"""Modes that send the same header with every request."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator
from copy import copy

import httpx

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import WrongPasswordError
from kubeflow_provider.http.answers import address
from kubeflow_provider.http.authentication.flow import header_problem, mask
from kubeflow_provider.http.settings import HttpSettings


class FixedHeader(httpx.Auth):
    """Sends one header.

    :param name: header.
    :param value: never shown.
    :param hint: what to check when the service refuses.
    """

    def __init__(self, name: str, value: str, *, hint: str) -> None:
        self.hint = hint
        self._name = name
        self._value = value

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with the header."""
        request.headers[self._name] = self._value
        yield request


class BasicPassword(FixedHeader):
    """Sends user and password, until the proxy that asks for them says that they are wrong."""

    _refusal: WrongPasswordError | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with the header."""
        if self._refusal:
            raise copy(self._refusal)
        request.headers[self._name] = self._value
        answer = yield request
        asks_for = answer.headers.get("www-authenticate", "").lower()
        # A 401 without it is the service's own, behind the proxy.
        if answer.status_code == httpx.codes.UNAUTHORIZED and asks_for.startswith("basic"):
            self._refusal = WrongPasswordError(
                f"{address(request)} does not accept user and password. {self.hint}", http_status=answer.status_code
            )
            raise copy(self._refusal)


def bearer(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode in which the password is a bearer token."""
    token = _password(fields, "the bearer token").removeprefix("Bearer ").strip()
    hint = f"The password of connection {fields.conn_id!r} is the bearer token: give it one that is still valid."
    return FixedHeader("Authorization", f"Bearer {token}", hint=hint)


def cookie(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode in which the password is the Cookie header of a browser that is logged in."""
    value = _password(fields, "the Cookie header, `name=value; name=value`").removeprefix("Cookie:").strip()
    if value and "=" not in value:
        fields.problems.append("password: a cookie has the form `name=value`")
    hint = f"The password of connection {fields.conn_id!r} is a cookie: copy a new one from a browser."
    return FixedHeader("Cookie", value, hint=hint)


def basic(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode in which a proxy before the service asks for user and password."""
    if not fields.login or ":" in fields.login:
        fields.problems.append("login: a user without a colon is needed for basic authentication")
    pair = b64encode(f"{fields.login}:{fields.password}".encode()).decode()
    mask(pair)
    hint = f"Check login and password of connection {fields.conn_id!r}."
    return BasicPassword("Authorization", f"Basic {pair}", hint=hint)


def _password(fields: ConnectionFields, meaning: str) -> str:
    value = fields.password.strip()
    if problem := header_problem(value):
        fields.problems.append(f"password: {meaning} belongs here; it {problem}")
    return value
