"""A token of an OAuth 2.0 authorization server: client credentials (RFC 6749, 4.4) or a user's password (4.3)."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus

import httpx

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import (
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from kubeflow_provider.http.answers import address, server_message
from kubeflow_provider.http.authentication.flow import (
    Credential,
    RenewableAuth,
    Steps,
    follow_up,
    header_problem,
    mask,
    mask_renewed,
)
from kubeflow_provider.http.settings import HttpSettings

#: Where the server does not say how long its token lives.
_LIFE_SECONDS = 300.0
_SHARE_OF_LIFE = 0.8


class OAuth2Token(RenewableAuth):
    """Asks the authorization server for a token, uses it for most of its life and then asks for another.

    :param token_url: the server's token endpoint.
    :param client_id: who asks.
    :param client_secret: empty for a public client.
    :param grant: the grant's own fields.
    :param conn_id: connection, for messages.
    """

    is_login = True

    def __init__(
        self, *, token_url: str, client_id: str, client_secret: str, grant: dict[str, str], conn_id: str
    ) -> None:
        super().__init__(
            hint=f"The token from {token_url} is not accepted: check scope and client of connection {conn_id!r}."
        )
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._grant = grant
        self._conn_id = conn_id

    def obtain(self, request: httpx.Request) -> Steps[Credential]:
        """Ask for a token."""
        asked_at = time.time()
        answer = yield self._question(request, in_header=bool(self._client_secret))
        if self._client_secret and _refuses_client(answer):
            # Every server should take the secret as a header; some take it in the form only.
            answer = yield self._question(request, in_header=False)
        if not answer.is_success:
            raise self._refused(answer)
        try:
            body = answer.json()
            token, life = str(body["access_token"]), float(body.get("expires_in") or _LIFE_SECONDS)
        except (ValueError, KeyError, TypeError, AttributeError):
            token, life = "", 0.0
        if header_problem(token):
            raise ServiceUnavailableError(
                f"{address(answer.request)} gave no access token; is it the token endpoint?",
                http_status=answer.status_code,
                was_sent=False,
            )
        mask_renewed(token)
        return Credential(token, renew_at=asked_at + _SHARE_OF_LIFE * life)

    def apply(self, credential: Credential, request: httpx.Request) -> None:
        """Put the token into the request."""
        request.headers["Authorization"] = f"Bearer {credential.value}"

    def _question(self, request: httpx.Request, *, in_header: bool) -> httpx.Request:
        form, headers = dict(self._grant), {"Accept": "application/json"}
        if in_header:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self._client_id
            if self._client_secret:
                form["client_secret"] = self._client_secret
        return follow_up(request, "POST", self._token_url, form=form, headers=headers)

    def _refused(self, answer: httpx.Response) -> KubeflowProviderError:
        status, words = answer.status_code, server_message(answer).rstrip(".")
        what = f"{address(answer.request)} answered {status} when asked for a token{': ' if words else ''}{words}."
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
            return ServiceUnavailableError(what, http_status=status, was_sent=False)
        is_password = "password" in self._grant and _error_of(answer) == "invalid_grant"
        return (WrongPasswordError if is_password else PermissionDeniedError)(
            f"{what} Check token_url, scope, client and password of connection {self._conn_id!r}.", http_status=status
        )


def _refuses_client(answer: httpx.Response) -> bool:
    if answer.status_code not in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED):
        return False
    error = _error_of(answer)
    if error is None:
        return answer.status_code == httpx.codes.UNAUTHORIZED
    return error in ("invalid_client", "unauthorized_client", "invalid_request")


def _error_of(answer: httpx.Response) -> Any:
    """Return the server's word for what is wrong, ``None`` where it answers in another form."""
    try:
        return answer.json().get("error", "")
    except (ValueError, AttributeError):
        return None


def oauth2(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode's fields; with `client_id`, login and password are those of a user."""
    token_url = fields.required("token_url", "the token endpoint of the authorization server is needed")
    if token_url and not token_url.startswith(("https://", "http://")):
        fields.problems.append("token_url: must be a URL")
    client_id = fields.text("client_id")
    if not fields.login or not fields.password:
        fields.problems.append("login, password: client id and secret are needed, or a user's with client_id beside")
    client_secret = fields.text("client_secret")
    if client_id:
        grant = {"grant_type": "password", "username": fields.login, "password": fields.password}
        mask(client_secret)
    else:
        grant = {"grant_type": "client_credentials"}
        client_id, client_secret = fields.login, fields.password
    if scope := fields.text("scope"):
        grant["scope"] = scope
    return OAuth2Token(
        token_url=token_url, client_id=client_id, client_secret=client_secret, grant=grant, conn_id=fields.conn_id
    )
