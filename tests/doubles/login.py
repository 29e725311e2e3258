"""Gateways of a Kubeflow platform, with the Dex behind them.

Each protects an inner server: ``Oauth2ProxyGateway(inner_url=...)`` asks it whatever a caller with a session asks,
with the ``kubeflow-userid`` header that the platform would add. Without an inner server it answers by itself.
"""

from __future__ import annotations

import html
import re
import secrets
import ssl
from abc import abstractmethod
from dataclasses import dataclass, field
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from tests.doubles.web import Asked, Reply, WebServer

USER, PASSWORD = "user@example.com", "a-long-password"
_INNER_SECONDS = 30
_NOT_PASSED_ON = {"host", "cookie", "content-length", "connection", "accept-encoding"}


@dataclass
class Dex:
    """Dex's pages: choice of a connector, form, approval.

    :param users: passwords by login.
    :param connectors: with one of them there is no choice.
    :param asks_approval: shows the approval page (``skipApprovalScreen: false``).
    :param wrong_password_status: newer ones answer 401 with the form, older ones 200.
    :param broken_status: answers everything with this, as when its storage is down.
    """

    users: dict[str, str] = field(default_factory=lambda: {USER: PASSWORD})
    connectors: tuple[str, ...] = ("local",)
    asks_approval: bool = False
    wrong_password_status: int = 200
    broken_status: int | None = None

    def __post_init__(self) -> None:
        self.forms_posted = 0
        self.used_connectors: list[str] = []
        self._requests: dict[str, dict[str, str]] = {}
        self._codes: dict[str, str] = {}

    def answer(self, asked: Asked) -> Reply:
        """Answer a request below ``/dex``."""
        if self.broken_status:
            return Reply.html("Database error.", self.broken_status)
        steps = asked.path.removeprefix("/dex/").split("/")
        if steps == ["auth"]:
            return self._choice(asked)
        if steps[0] == "auth" and steps[1] in self.connectors:
            return self._begin(asked, steps[1]) if len(steps) == 2 else self._form(asked, steps[1])
        if steps == ["approval"]:
            return self._approval(asked)
        return Reply.html("Requested resource does not exist.", 400)

    def redeem(self, code: str) -> str | None:
        """Return the user that a code was given for, once."""
        return self._codes.pop(code, None)

    def _choice(self, asked: Asked) -> Reply:
        if len(self.connectors) == 1:
            return Reply.redirect(f"/dex/auth/{self.connectors[0]}?{urlencode(asked.query)}")
        links = "".join(f'<a href="/dex/auth/{name}?{urlencode(asked.query)}">{name}</a>' for name in self.connectors)
        return Reply.html(links)

    def _begin(self, asked: Asked, connector: str) -> Reply:
        if "redirect_uri" not in asked.query:
            return Reply.html("Unregistered redirect_uri.", 400)
        request_id = secrets.token_urlsafe(18)
        self._requests[request_id] = {**asked.query, "connector": connector}
        return Reply.redirect(f"/dex/auth/{connector}/login?back=&state={request_id}")

    def _form(self, asked: Asked, connector: str) -> Reply:
        request_id = asked.query.get("state", "")
        request = self._requests.get(request_id)
        if request is None or request["connector"] != connector:
            return Reply.html("User session error.", 400)
        if asked.method == "GET":
            return self._form_page(asked.target)
        self.forms_posted += 1
        login, password = asked.form.get("login", ""), asked.form.get("password", "")
        if not login or self.users.get(login) != password:
            return self._form_page(asked.target, "Invalid Email Address and password.", self.wrong_password_status)
        self.used_connectors.append(connector)
        request["user"] = login
        if self.asks_approval:
            return Reply.redirect(f"/dex/approval?req={request_id}&hmac={request_id[::-1]}", status=303)
        return self._finish(request_id)

    @staticmethod
    def _form_page(target: str, error: str = "", status: int = 200) -> Reply:
        fields = '<input name="login"><input name="password" type="password">'
        return Reply.html(f'<form method="post" action="{html.escape(target)}">{fields}{error}</form>', status)

    def _approval(self, asked: Asked) -> Reply:
        request_id = asked.query.get("req", "")
        if asked.query.get("hmac") != request_id[::-1] or "user" not in self._requests.get(request_id, {}):
            return Reply.html("Unauthorized request", 401)
        if asked.method == "GET":
            return Reply.html('<form method="post"><button name="approval" value="approve"></button></form>')
        if asked.form.get("approval") != "approve":
            return Reply.html("Approval rejected.", 500)
        return self._finish(request_id)

    def _finish(self, request_id: str) -> Reply:
        request = self._requests.pop(request_id)
        code = secrets.token_urlsafe(18)
        self._codes[code] = request["user"]
        back = urlencode({"code": code, "state": request["state"]})
        return Reply.redirect(f"{request['redirect_uri']}?{back}", status=303)


class Gateway(WebServer):
    """What both generations have in common: sessions, and an inner server.

    :param inner_url: what is protected.
    :param dex: where people log in.
    :param requests_per_session: so many requests, then the session is over.
    :param tokens: users by bearer token; whoever shows a token is never sent to the login.
    """

    def __init__(
        self,
        *,
        inner_url: str | None = None,
        dex: Dex | None = None,
        requests_per_session: int | None = None,
        tokens: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self.inner_url = inner_url
        self.dex = dex or Dex()
        self.requests_per_session = requests_per_session
        self.tokens = tokens or {}
        self.sessions: dict[str, str] = {}
        self.logins = 0
        self.passed_on: list[Asked] = []
        self._left: dict[str, int] = {}
        #: False: whoever has just logged in is sent to log in again, as when nobody can look up sessions.
        self.lets_in = True

    @abstractmethod
    def session_of(self, asked: Asked) -> str:
        """Return the session that a request's cookies stand for."""

    @abstractmethod
    def turn_away(self, asked: Asked) -> Reply:
        """Answer somebody without a session."""

    @abstractmethod
    def own_page(self, asked: Asked) -> Reply | None:
        """Answer what belongs to the login."""

    def answer(self, asked: Asked) -> Reply:
        if asked.path.startswith("/dex/"):
            return self.dex.answer(asked)
        if (reply := self.own_page(asked)) is not None:
            return reply
        if (token := asked.headers.get("authorization", "")).startswith("Bearer "):
            user = self.tokens.get(token.removeprefix("Bearer "))
            return (
                self._pass_on(asked, user) if user else Reply(401, b"Jwt is expired", [("Content-Type", "text/plain")])
            )
        session = self.session_of(asked)
        user = self.sessions.get(session)
        if user is None or not self.lets_in or not self._is_alive(session):
            return self.turn_away(asked)
        return self._pass_on(asked, user)

    def end_sessions(self) -> None:
        """End every session, as a restart with a new cookie secret does."""
        self.sessions.clear()

    def _open_session(self, user: str) -> str:
        # Longer than a cookie may be, like a session with Dex's token in it: it travels in two.
        session = secrets.token_urlsafe(60)
        self.sessions[session] = user
        self.logins += 1
        if self.requests_per_session is not None:
            self._left[session] = self.requests_per_session
        return session

    def _is_alive(self, session: str) -> bool:
        if session not in self._left:
            return True
        self._left[session] -= 1
        if self._left[session] >= 0:
            return True
        del self.sessions[session]
        return False

    def _pass_on(self, asked: Asked, user: str) -> Reply:
        self.passed_on.append(asked)
        if self.inner_url is None:
            return Reply.json({"path": asked.path, "user": user, "method": asked.method})
        headers = {name: value for name, value in asked.headers.items() if name not in _NOT_PASSED_ON}
        request = Request(
            self.inner_url + asked.target,
            data=asked.body or None,
            method=asked.method,
            headers={**headers, "kubeflow-userid": user},
        )
        try:
            with urlopen(request, timeout=_INNER_SECONDS) as answer:
                return Reply(answer.status, answer.read(), _content_type(answer))
        except HTTPError as error:
            with error:
                return Reply(error.code, error.read(), _content_type(error))


def _content_type(answer: object) -> list[tuple[str, str]]:
    value = answer.headers.get("Content-Type")  # type: ignore[attr-defined]
    return [("Content-Type", value)] if value else []


class Oauth2ProxyGateway(Gateway):
    """Kubeflow since 1.9: an oauth2-proxy with the platform's settings."""

    _COOKIE = "oauth2_proxy_kubeflow"
    _API_ROUTE = re.compile("/apis/|/api/")

    def session_of(self, asked: Asked) -> str:
        return asked.cookies.get(f"{self._COOKIE}_0", "") + asked.cookies.get(f"{self._COOKIE}_1", "")

    def turn_away(self, asked: Asked) -> Reply:
        is_api = self._API_ROUTE.search(asked.path) or asked.headers.get("accept") == "application/json"
        reply = Reply.json({}, 401) if is_api else Reply.html('<form action="/oauth2/start">Sign in</form>', 403)
        return reply.forget(f"{self._COOKIE}_0").forget(f"{self._COOKIE}_1") if asked.cookies else reply

    def own_page(self, asked: Asked) -> Reply | None:
        if asked.path == "/oauth2/start":
            nonce = secrets.token_urlsafe(24)
            query = {
                "client_id": "kubeflow-oidc-authservice",
                "redirect_uri": f"{self.url}/oauth2/callback",
                "response_type": "code",
                "state": f"{nonce}:{asked.query.get('rd', '/')}",
            }
            return Reply.redirect(f"/dex/auth?{urlencode(query)}").cookie(f"{self._COOKIE}_csrf", nonce)
        if asked.path == "/oauth2/callback":
            nonce, _, target = asked.query.get("state", "").partition(":")
            if not nonce or asked.cookies.get(f"{self._COOKIE}_csrf") != nonce:
                return Reply.html("Login Failed: Unable to find a valid CSRF token.", 403)
            user = self.dex.redeem(asked.query.get("code", ""))
            if user is None:
                return Reply.html("Internal Server Error", 500)
            session = self._open_session(user)
            half = len(session) // 2
            reply = Reply.redirect(target if target.startswith("/") else "/").forget(f"{self._COOKIE}_csrf")
            return reply.cookie(f"{self._COOKIE}_0", session[:half]).cookie(f"{self._COOKIE}_1", session[half:])
        return None


class AuthserviceGateway(Gateway):
    """Kubeflow until 1.8: an oidc-authservice, which redirects everybody, programs too."""

    _COOKIE = "authservice_session"

    def session_of(self, asked: Asked) -> str:
        return asked.cookies.get(self._COOKIE, "")

    def turn_away(self, asked: Asked) -> Reply:
        state = secrets.token_urlsafe(24)
        query = {
            "client_id": "kubeflow-oidc-authservice",
            "redirect_uri": "/login/oidc",
            "response_type": "code",
            "state": f"{state}:{quote(asked.target)}",
        }
        return Reply.redirect(f"/dex/auth?{urlencode(query)}").cookie("oidc_state_csrf", state)

    def own_page(self, asked: Asked) -> Reply | None:
        if asked.path != "/login/oidc":
            return None
        state, _, target = asked.query.get("state", "").partition(":")
        if asked.cookies.get("oidc_state_csrf") != state:
            return Reply.html("CSRF check failed. Please log in again.", 400)
        user = self.dex.redeem(asked.query.get("code", ""))
        if user is None:
            return Reply.html("Failed to exchange authorization code with token.", 500)
        return Reply.redirect(target or "/").cookie(self._COOKIE, self._open_session(user))
