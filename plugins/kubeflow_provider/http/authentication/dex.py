"""A session at a Kubeflow gateway, logged in through Dex's form as a person would be.

The way there differs between platforms, its stations are the same:

- since Kubeflow 1.9 an oauth2-proxy guards the gateway. It answers 401 or 403 and starts a login at
  ``/oauth2/start``; its session is ``oauth2_proxy_kubeflow``, in parts (``_0``, ``_1``) when it is long.
- until 1.8 an oidc-authservice does. It redirects to Dex by itself; its session is ``authservice_session``.

Both lead to Dex: choice of a connector (``/dex/auth``, left out when there is only one), form
(``/dex/auth/<connector>/login``), approval (``/dex/approval``, mostly switched off), and back through a callback that
compares its state with a cookie.
"""

from __future__ import annotations

import re

import httpx

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import PermissionDeniedError, ServiceUnavailableError, WrongPasswordError
from kubeflow_provider.http.answers import address, server_message
from kubeflow_provider.http.authentication.browser import Browser
from kubeflow_provider.http.authentication.flow import Credential, RenewableAuth, Steps, mask_renewed
from kubeflow_provider.http.settings import HttpSettings

CONNECTORS = ("local", "ldap")

_AT_DEX = re.compile(r"/auth(/[^/]+(/login)?)?$")
_AT_CHOICE = re.compile(r"/auth$")
_AT_FORM = re.compile(r"/auth/[^/]+/login$")
_AT_CALLBACK = re.compile(r"/callback$")
_AT_APPROVAL = re.compile(r"/approval$")
#: Shorter cookies are settings, not secrets; to blot them out would blot out common words.
_SHORTEST_SECRET = 16


class DexSession(RenewableAuth):
    """Logs in with user and password and sends the session's cookies; logs in anew when the session is over.

    :param base_url: address of the service behind the gateway.
    :param login: user, for Kubeflow mostly an e-mail address.
    :param password: of the user.
    :param connector: which of Dex's ways to choose where it offers several.
    :param conn_id: connection, for messages.
    """

    is_login = True

    def __init__(self, *, base_url: str, login: str, password: str, connector: str, conn_id: str) -> None:
        super().__init__(hint=f"Connection {conn_id!r} logs in through Dex; the service does not accept that session.")
        self._base_url = httpx.URL(base_url)
        self._form = {"login": login, "password": password}
        self._connector = connector
        self._conn_id = conn_id

    def obtain(self, request: httpx.Request) -> Steps[Credential]:
        """Log in."""
        browser = Browser(request)
        answer = yield from self._log_in(browser)
        if answer.status_code == httpx.codes.FORBIDDEN and _AT_CALLBACK.search(answer.url.path):
            # It found a login that is not the one it knows; a fresh browser has none to mistake.
            browser = Browser(request)
            answer = yield from self._log_in(browser)
        if answer.status_code == httpx.codes.FORBIDDEN or _AT_DEX.search(answer.url.path):
            raise PermissionDeniedError(
                f"Dex accepted login and password of connection {self._conn_id!r}, but {address(answer.request)} "
                f"answered {answer.status_code}{_words(answer)}. Is this user allowed in?",
                http_status=answer.status_code,
            )
        _mask_cookies(browser.cookies)
        return Credential(browser.cookies)

    def apply(self, credential: Credential, request: httpx.Request) -> None:
        """Put the session's cookies into the request."""
        request.headers.pop("Cookie", None)
        credential.value.set_cookie_header(request)

    def received(self, credential: Credential, response: httpx.Response) -> None:
        """Keep cookies that the gateway renews on the way."""
        if "set-cookie" in response.headers:
            credential.value.extract_cookies(response)
            _mask_cookies(response.cookies)

    def _log_in(self, browser: Browser) -> Steps[httpx.Response]:
        """Go the whole way; return the page behind the login, or the one before it where there is no login."""
        page = yield from self._find_dex(browser)
        if not _AT_DEX.search(page.url.path):
            return page
        if _AT_CHOICE.search(page.url.path):
            page = yield from browser.open(page.url.copy_with(path=f"{page.url.path}/{self._connector}"))
        if not (page.is_success and _AT_FORM.search(page.url.path)):
            raise PermissionDeniedError(
                f"{address(page.request)} is no login form of Dex: it answered {page.status_code}{_words(page)}. "
                f"Does Dex have the connector that connection {self._conn_id!r} names in dex_connector?",
                http_status=page.status_code,
            )
        answer = yield from browser.open(page.url, method="POST", form=self._form)
        if answer.request.method == "POST":  # Dex redirects whoever it lets in
            raise self._refused(answer)
        if _AT_APPROVAL.search(answer.url.path):
            answer = yield from browser.open(answer.url, method="POST", form={"approval": "approve"})
        _check_up(answer)
        return answer

    def _find_dex(self, browser: Browser) -> Steps[httpx.Response]:
        """Return Dex's first page, or the service's own answer where it stands open."""
        first = yield from browser.open(self._base_url)
        if _AT_DEX.search(first.url.path):
            return _check_up(first)
        started = yield from browser.open(
            self._base_url.copy_with(path="/oauth2/start", params={"rd": self._base_url.path or "/"})
        )
        if _AT_DEX.search(started.url.path):
            return _check_up(started)
        _check_up(first)
        if first.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            _check_up(started)
            raise PermissionDeniedError(
                f"{address(first.request)} wants a login, but no Dex was found: neither there nor at "
                f"{address(started.request)} (answered {started.status_code}). Choose another `authentication` in "
                f"connection {self._conn_id!r}.",
                http_status=first.status_code,
            )
        return first

    def _refused(self, answer: httpx.Response) -> Exception:
        _check_up(answer)
        if answer.status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED):
            return WrongPasswordError(
                f"Dex does not accept login and password of connection {self._conn_id!r} at "
                f"{address(answer.request)}. Check both, and that the user may log in with a password there. They are "
                "not tried again: restart the triggerer where the user was mended and the connection was not.",
                http_status=answer.status_code,
            )
        message = f"The login form {address(answer.request)} answered {answer.status_code}{_words(answer)}."
        return PermissionDeniedError(message, http_status=answer.status_code)


def _check_up(answer: httpx.Response) -> httpx.Response:
    """Tell a login that is out of order from one that refuses."""
    if answer.status_code < 500 and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return answer
    raise ServiceUnavailableError(
        f"The login at {address(answer.request)} answered {answer.status_code}{_words(answer)}.",
        http_status=answer.status_code,
        was_sent=False,
    )


def _words(answer: httpx.Response) -> str:
    words = server_message(answer).rstrip(".")
    return f": {words}" if words else ""


def _mask_cookies(cookies: httpx.Cookies) -> None:
    mask_renewed(*(cookie.value for cookie in cookies.jar if cookie.value and len(cookie.value) >= _SHORTEST_SECRET))


def dex(fields: ConnectionFields, settings: HttpSettings) -> httpx.Auth:
    """Read the mode's fields."""
    if not fields.login or not fields.password:
        fields.problems.append("login, password: user and password for Dex are needed")
    return DexSession(
        base_url=settings.base_url,
        login=fields.login,
        password=fields.password,
        connector=fields.choice("dex_connector", CONNECTORS, "local"),
        conn_id=fields.conn_id,
    )
