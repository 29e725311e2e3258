"""A browser's share of a login: it follows redirects and keeps cookies."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from kubeflow_provider.exceptions import PermissionDeniedError
from kubeflow_provider.http.answers import address
from kubeflow_provider.http.authentication.flow import Steps, follow_up

_MOST_REDIRECTS = 20


class Browser:
    """Opens pages one after the other, with one cookie jar.

    :param request: the request that the login is made for, for its time limits.
    """

    def __init__(self, request: httpx.Request) -> None:
        self.cookies = httpx.Cookies()
        self._request = request

    def open(
        self, url: httpx.URL | str, *, method: str = "GET", form: Mapping[str, str] | None = None
    ) -> Steps[httpx.Response]:
        """Open a page, and the one that it leads to.

        :return: the first answer that is no redirect.
        :raises PermissionDeniedError: when the way leads nowhere, or would betray the login.
        """
        for _ in range(_MOST_REDIRECTS):
            step = follow_up(self._request, method, url, form=form)
            self.cookies.set_cookie_header(step)
            answer: httpx.Response = yield step
            self.cookies.extract_cookies(answer)
            if not answer.has_redirect_location:
                return answer
            url, method, form = _target(answer), "GET", None
        raise PermissionDeniedError(f"The login at {address(answer.request)} redirects in a circle.")


def _target(answer: httpx.Response) -> httpx.URL:
    came_from = address(answer.request)
    try:
        url = answer.url.join(answer.headers["location"])
    except httpx.InvalidURL:
        raise PermissionDeniedError(f"The login at {came_from} redirects to something that is no URL.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise PermissionDeniedError(f"The login at {came_from} redirects to something that is no web page.")
    if answer.url.scheme == "https" and url.scheme == "http":
        raise PermissionDeniedError(
            f"The login at {came_from} redirects from https to http, which would send the password readable for "
            "everybody; have the gateway's external URL corrected."
        )
    return url
