"""Reads answers: what a good one holds, and which error a bad one is."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

import httpx
from airflow.sdk.log import redact

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.server_words import without_logins

Expect = Literal["json", "text"]

_LONGEST_MESSAGE = 500
_SECRET_FIELDS = {"password", "client_secret"}
#: To blot out shorter values would blot out common words.
_SHORTEST_SECRET = 6
#: The request cannot have reached the server: no connection came about.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
#: Words of OpenSSL, and what to do about them.
_TLS_TROUBLE = {
    "CERTIFICATE_VERIFY_FAILED": "shows a certificate that is not trusted; give its authority's as `ca_bundle`",
    "ALERT_CERTIFICATE_REQUIRED": "wants to see a certificate; give `client_certificate` and `client_key`",
    "WRONG_VERSION_NUMBER": "does not speak https there; is it http, or another port?",
}
#: Answers that say nothing against the request: the same one may succeed in a moment.
_PASSING = {408, 425, 429}


def is_html(response: httpx.Response) -> bool:
    """Tell whether an answer is a page for people; where an API was asked, that is a login page.

    Some servers call every text HTML, so the text itself must look like it too.
    """
    return _content_type(response) == "text/html" and response.text.lstrip()[:1] == "<"


def wants_login(response: httpx.Response) -> bool:
    """Tell whether a gateway answered in the service's place because it does not know who is asking."""
    return (
        response.status_code == httpx.codes.UNAUTHORIZED
        or response.is_redirect
        or (response.status_code in (httpx.codes.OK, httpx.codes.FORBIDDEN) and is_html(response))
    )


def read_answer(response: httpx.Response, *, service: str, expect: Expect, hint: str) -> Any:
    """Return what the answer holds.

    :param service: name for messages.
    :param expect: ``json`` for parsed JSON, ``text`` for the body as it is.
    :param hint: what to check when the service does not let the caller in.
    :raises KubeflowProviderError: of the kind that the status stands for.
    """
    request = response.request
    what = f"{service} at {address(request)} answered {response.status_code} to {request.method}"
    status = response.status_code
    if wants_login(response):
        raise PermissionDeniedError(f"{what}{_refusal(response)}. {hint}", http_status=status)
    if not response.is_success:
        raise _error(response, what)
    if expect == "text":
        return response.text
    try:
        if _content_type(response) != "application/json":
            raise ValueError
        with _uncollected():
            return response.json()
    except ValueError:
        raise ServiceUnavailableError(
            f"{what} with {_content_type(response) or 'an unnamed type'} that is not JSON; is host the address of "
            "its API?",
            http_status=status,
        ) from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from running in the block, for everybody in the process.

    A list of a hundred runs becomes ten thousand objects and more at once. They outlive several collections while they
    are being made, count as long-lived, and after a few lists bring a collection of everything that the process has:
    in a triggerer 0.2 s in which no trigger moves. Parsing makes no garbage, and what it makes dies within moments.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def no_answer(error: httpx.RequestError | OSError, *, service: str, request: httpx.Request) -> ServiceUnavailableError:
    """Return the error that says why there was no answer.

    :param error: httpx's; an alert of TLS 1.3 that comes after the handshake reaches us as an ``OSError``.
    :param request: what was to be asked; the failed request may be one of the login before it.
    """
    failed = error.request if isinstance(error, httpx.RequestError) else request
    is_login = failed is not request
    what = f"{service}: the login at {address(failed)}" if is_login else f"{service} at {address(failed)}"
    cause = f"{type(error).__name__}: {redact(str(error))}" if str(error) else type(error).__name__
    for words, meaning in _TLS_TROUBLE.items():
        if words in str(error):
            return ServiceUnavailableError(f"{what} {meaning} ({cause}).", was_sent=False)
    was_sent = not (is_login or isinstance(error, _NEVER_SENT))
    ending = "broke off or took too long" if was_sent else "did not answer"
    return ServiceUnavailableError(f"{what} {ending} ({cause}).", was_sent=was_sent)


def address(request: httpx.Request) -> str:
    """Return the URL for a message: without its query, which may hold codes and search terms."""
    return str(request.url.copy_with(query=None, fragment=None, userinfo=b""))


def server_message(response: httpx.Response) -> str:
    """Return the server's own words, shortened; empty when it had none.

    What the request proved itself with is blotted out, for some servers quote it, and so is what Airflow knows.
    """
    if is_html(response):
        return ""
    try:
        words = _words(response.json())
    except ValueError:
        words = response.text
    words = " ".join(without_logins(words, _secrets_of(response.request)).split())
    return words if len(words) <= _LONGEST_MESSAGE else f"{words[:_LONGEST_MESSAGE]} ..."


def _secrets_of(request: httpx.Request) -> Iterator[str]:
    values = request.headers.get("authorization", "").split()[1:]
    values += [pair.partition("=")[2].strip() for pair in request.headers.get("cookie", "").split(";")]
    if request.headers.get("content-type") == "application/x-www-form-urlencoded":
        values += [value for name, value in parse_qsl(request.content.decode()) if name in _SECRET_FIELDS]
    yield from (value for value in values if len(value) >= _SHORTEST_SECRET)


def _words(body: Any) -> str:
    """Find the message in an error body of KFP (gRPC gateway, upload), OAuth2, Kubernetes or FastAPI."""
    if not isinstance(body, Mapping):
        return "" if body is None else json.dumps(body)
    details = body.get("details")
    if isinstance(details, list) and details and isinstance(details[0], Mapping) and details[0].get("message"):
        return str(details[0]["message"])
    for key in ("message", "error_message", "error_description", "detail", "error"):
        if body.get(key):
            return str(body[key])
    return ""


def _error(response: httpx.Response, what: str) -> KubeflowProviderError:
    status = response.status_code
    message = f"{what}: {server_message(response) or response.reason_phrase or 'no reason given'}"
    message = message if message.endswith((".", "...")) else f"{message}."
    if status == httpx.codes.FORBIDDEN:
        advice = "Give the caller a role that allows this in that namespace (RoleBinding)."
        return PermissionDeniedError(f"{message} {advice}", http_status=status)
    if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
        return PermissionDeniedError(f"{message} The proxy wants a user and a password.", http_status=status)
    if status in _PASSING or status >= 500:
        return ServiceUnavailableError(message, http_status=status, retry_after_seconds=_retry_after(response))
    return InvalidRequestError(message, http_status=status)


def _refusal(response: httpx.Response) -> str:
    if response.is_redirect:
        # Shown without query and fragment: they hold the login's state, or a token.
        target = re.split("[?#]", response.headers.get("location", ""), maxsplit=1)[0]
        return f" with a redirect to {target[:_LONGEST_MESSAGE]}"
    if is_html(response):
        return " with a page for people where its API was asked, most likely a login page"
    message = server_message(response).rstrip(".")
    return f": {message}" if message else ""


def _retry_after(response: httpx.Response) -> float | None:
    """Read the header in both of its forms: seconds, or a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(tz=UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _content_type(response: httpx.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
