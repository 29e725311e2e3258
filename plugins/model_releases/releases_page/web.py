"""What every request of the page has in common: addresses, headers, errors, and forms that are its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.configuration import conf
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from model_releases.releases_page.rendering import render

#: Nothing from elsewhere, and no script or style but the page's own two files. It may be framed by Airflow only.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


#: Where the plugin mounts the application; Airflow's own pages are beside it.
URL_PREFIX = "/releases"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLinks:
    """Addresses, below whatever prefix Airflow itself is served under.

    :param page: of the page, without a slash at its end.
    :param airflow: of Airflow, without a slash at its end.
    """

    page: str
    airflow: str

    @classmethod
    def of(cls, request: Request) -> PageLinks:
        """Return the addresses as the browser of this request has them."""
        page = str(request.scope.get("root_path") or "")
        return cls(page=page, airflow=page.removesuffix(URL_PREFIX))

    def model(self, name: str) -> str:
        """Return a model's page."""
        return f"{self.page}/models/{_segment(name)}"

    def version(self, name: str, version: str) -> str:
        """Return a version's page."""
        return f"{self.model(name)}/versions/{_segment(version)}"

    def dag(self, dag_id: str) -> str:
        """Return a DAG's page in Airflow."""
        return f"{self.airflow}/dags/{_segment(dag_id)}"

    def run(self, dag_id: str, run_id: str) -> str:
        """Return a DAG run's page in Airflow."""
        return f"{self.dag(dag_id)}/runs/{_segment(run_id)}"

    def question(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the page in Airflow on which a person answers a task."""
        return f"{self.run(dag_id, run_id)}/tasks/{_segment(task_id)}/required_actions"


class PageRoute(APIRoute):
    """A route that answers HEAD wherever it answers GET; the server leaves the body out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "GET" in self.methods:
            self.methods.add("HEAD")


def refuse_foreign_forms(request: Request) -> None:
    """Take a form only from a page of this Airflow: the cookie of a session comes along with any.

    A browser names the origin of every POST, and no page can make it name another one. A program that signs in with a
    token in its header names none, and has no cookie that somebody else could ride on.

    :raises HTTPException: 403 for a form from elsewhere.
    """
    origin = request.headers.get("origin")
    if origin is None and request.headers.get("authorization"):
        return
    known = {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="") or "").netloc}
    if urlsplit(origin or "").netloc not in known - {"", None}:
        raise HTTPException(
            403, "This form did not come from a page of this Airflow. Open the Releases page and try again."
        )


def add_headers(app: FastAPI) -> None:
    """Give every answer the headers of the page, where it has none of its own."""

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer


def add_error_pages(app: FastAPI) -> None:
    """Answer people with a page that says what to do, and programs with JSON."""

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and request.method in ("GET", "HEAD") and _is_for_people(request):
            here = f"{request.url.path}?{request.url.query}".rstrip("?")
            login = get_auth_manager().get_url_login(next_url=here)
            return RedirectResponse(login, status_code=303)
        return _answer(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Not what was sent: a reason is a person's own text.
        fields = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        return _answer(request, 422, fields)


def _answer(request: Request, status: int, message: str) -> Response:
    if not _is_for_people(request):
        return JSONResponse({"detail": message}, status_code=status)
    return HTMLResponse(render("error.html", links=PageLinks.of(request), message=message, status=status), status)


def _is_for_people(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _segment(text: str) -> str:
    return quote(text, safe="")
