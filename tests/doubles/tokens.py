"""Where tokens come from: an OAuth 2.0 token endpoint, and the TokenRequest API of Kubernetes."""

from __future__ import annotations

import json
import re
import secrets
import time
from base64 import b64decode
from typing import Any
from urllib.parse import unquote_plus

from tests.doubles.web import Asked, Reply, WebServer


class TokenEndpoint(WebServer):
    """An authorization server's ``/token``.

    :param clients: secrets by client id.
    :param users: passwords by user, for the password grant.
    :param takes_header: knows a client by the Authorization header; else by the form only, as some servers do.
    :param expires_in: announced life of a token in seconds.
    """

    def __init__(
        self,
        *,
        clients: dict[str, str],
        users: dict[str, str] | None = None,
        takes_header: bool = True,
        expires_in: int = 3600,
    ) -> None:
        super().__init__()
        self.clients = clients
        self.users = users or {}
        self.takes_header = takes_header
        self.expires_in = expires_in
        self.broken_status: int | None = None
        #: Users by the tokens that were given out: a gateway's ``tokens``.
        self.tokens: dict[str, str] = {}

    def answer(self, asked: Asked) -> Reply:
        if self.broken_status:
            return Reply.html("Bad Gateway", self.broken_status)
        form = asked.form
        client, secret = self._client(asked)
        if client not in self.clients or self.clients[client] != secret:
            return Reply.json({"error": "invalid_client", "error_description": "Client not authenticated."}, 401)
        if form.get("grant_type") == "password":
            if self.users.get(form.get("username", ""), "") != form.get("password"):
                return Reply.json({"error": "invalid_grant", "error_description": "Invalid user credentials"}, 400)
            return self._grant(form["username"])
        if form.get("grant_type") == "client_credentials":
            return self._grant(client)
        return Reply.json({"error": "unsupported_grant_type"}, 400)

    def _client(self, asked: Asked) -> tuple[str, str]:
        header = asked.headers.get("authorization", "")
        if header.startswith("Basic ") and self.takes_header:
            client, _, secret = b64decode(header.removeprefix("Basic ")).decode().partition(":")
            return unquote_plus(client), unquote_plus(secret)
        return asked.form.get("client_id", ""), asked.form.get("client_secret", "")

    def _grant(self, user: str) -> Reply:
        token = secrets.token_urlsafe(40)
        self.tokens[token] = user
        return Reply.json({"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in})


class TokenRequestApi(WebServer):
    """As much of a Kubernetes API server as gives tokens to service accounts.

    :param accounts: namespaces and names, ``namespace/name``.
    :param life_seconds: what it grants, whatever is asked for.
    """

    _PATH = re.compile(r"/api/v1/namespaces/([^/]+)/serviceaccounts/([^/]+)/token")

    def __init__(self, *, accounts: set[str], life_seconds: int = 3600) -> None:
        super().__init__()
        self.accounts = accounts
        self.life_seconds = life_seconds
        self.refuses = False
        self.broken_status: int | None = None
        self.specs: list[dict[str, Any]] = []
        self.tokens: dict[str, str] = {}

    def kubeconfig(self) -> dict[str, Any]:
        """Return the configuration of a client of this server."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": "the-callers-own-token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }

    def answer(self, asked: Asked) -> Reply:
        match = self._PATH.fullmatch(asked.path)
        if self.broken_status:
            return _status(self.broken_status, "the server is currently unable to handle the request")
        if self.refuses:
            return _status(403, 'cannot create resource "serviceaccounts/token"')
        if match is None or asked.method != "POST" or "/".join(match.groups()) not in self.accounts:
            return _status(404, "serviceaccounts not found")
        body = json.loads(asked.body)
        self.specs.append(body["spec"])
        token = f"eyJhbGciOiJSUzI1NiJ9.{secrets.token_urlsafe(40)}.{secrets.token_urlsafe(20)}"
        self.tokens[token] = f"system:serviceaccount:{match[1]}:{match[2]}"
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.life_seconds))
        spec = {**body["spec"], "expirationSeconds": self.life_seconds}
        return Reply.json({**body, "spec": spec, "status": {"token": token, "expirationTimestamp": expires}}, 201)


def _status(code: int, message: str) -> Reply:
    return Reply.json(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}, code
    )
