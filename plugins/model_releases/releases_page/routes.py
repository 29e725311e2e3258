"""The page's addresses. Every one of them takes a :class:`Visit`, so that none answers without a session."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import KubeflowProviderError
from model_releases.config import ModelConfig
from model_releases.releases_page import report
from model_releases.releases_page.comparison import compare, plain_facts
from model_releases.releases_page.visit import VisitDep, check_version
from model_releases.releases_page.web import PageRoute, refuse_foreign_forms

_VERSION_PATTERN = r"^[0-9]{14}$"
_MAX_REASON_CHARACTERS = 500
_STATIC = {
    "releases.css": "text/css",
    "releases.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}

VersionQuery = Annotated[str | None, Query(pattern=_VERSION_PATTERN)]
NameQuery = Annotated[str, Query(max_length=100)]
WordsQuery = Annotated[str, Query(max_length=100)]

router = APIRouter(route_class=PageRoute)


@router.get("/static/{name}")
def static(name: str, visit: VisitDep) -> Response:
    """Return the page's style or script."""
    if name not in _STATIC:
        raise HTTPException(404, "There is no such file.")
    content = files("model_releases.releases_page").joinpath("static", name).read_bytes()
    return Response(content, media_type=_STATIC[name], headers={"Cache-Control": "private, max-age=300"})


@router.get("/")
def models(visit: VisitDep, after: NameQuery = "", words: WordsQuery = "") -> Response:
    """Show the models that the user may see, page by page."""
    chosen, has_more = visit.models(after=after, words=words)
    return visit.html(
        "models.html",
        overviews=visit.overviews(chosen, is_brief=True),
        after=after,
        words=words,
        next_after=chosen[-1].name if has_more else "",
        sees_pipelines=visit.sees_pipelines,
    )


@router.get("/without-airflow")
def without_airflow(visit: VisitDep) -> Response:
    """Show what pipelines have released without Airflow: a look through the whole registry, so not for every day."""
    return visit.html("without_airflow.html", made_by_pipelines=visit.made_by_pipelines())


@router.get("/models/{name}")
def model(name: str, visit: VisitDep, state: str = "", before: VersionQuery = None) -> Response:
    """Show what is live and the history, page by page."""
    overview = visit.overviews([visit.model(name)])[0]
    chosen = _state(state)
    history, reading = visit.desk.history(overview, state=chosen, before=before)
    return visit.html_of(
        overview,
        "model.html",
        history=history,
        history_reading=reading,
        state=chosen,
        states=list(ReleaseState),
        before=before,
    )


@router.get("/models/{name}/compare")
def comparison(name: str, visit: VisitDep, one: VersionQuery = None, other: VersionQuery = None) -> Response:
    """Show two releases beside each other, or the form that asks which."""
    chosen = visit.model(name)
    found = compare(visit.release(chosen, one), visit.release(chosen, other)) if one and other else None
    overview = visit.overviews([chosen])[0]
    return visit.html_of(overview, "compare.html", comparison=found, one=one or "", other=other or "")


@router.get("/models/{name}/versions/{version}")
def version(name: str, version: str, visit: VisitDep) -> Response:
    """Show all that is recorded of one release."""
    chosen = visit.model(name)
    release = visit.release(chosen, version)
    overview = visit.overviews([chosen])[0]
    row = visit.desk.row(overview, release)
    return visit.html_of(overview, "version.html", release=release, row=row, facts=plain_facts(release))


@router.get("/models/{name}/versions/{version}/report")
def show_report(name: str, version: str, visit: VisitDep) -> Response:
    """Show a release's report. It need not be registered: a gate's link leads here before it is."""
    check_version(version)
    return _shown(report.read, visit.model(name), version)


@router.get("/models/{name}/drift")
def show_newest_drift(name: str, visit: VisitDep) -> Response:
    """Show the newest drift report."""
    return _shown(report.read_drift, visit.model(name), None)


@router.get("/models/{name}/drift/{run}")
def show_drift(name: str, run: str, visit: VisitDep) -> Response:
    """Show the drift report that an alert leads to."""
    check_version(run)
    return _shown(report.read_drift, visit.model(name), run)


@router.get("/models/{name}/staleness")
def show_staleness(name: str, visit: VisitDep) -> Response:
    """Show what older versions lose on newer data."""
    return _shown(report.read_staleness, visit.model(name))


@router.post("/models/{name}/roll-back", dependencies=[Depends(refuse_foreign_forms)])
def roll_back(
    name: str,
    visit: VisitDep,
    request: Request,
    version: Annotated[str, Form(pattern=_VERSION_PATTERN)],
    reason: Annotated[str, Form(max_length=_MAX_REASON_CHARACTERS)],
) -> Response:
    """Start the DAG that puts a release back, in the user's name, and lead to its run."""
    chosen = visit.model(name)
    if not visit.can_roll_back(chosen):
        raise HTTPException(403, f"You may not start runs of the DAG {chosen.roll_back_dag_id}.")
    if not reason.strip():
        raise HTTPException(422, "Say why: the reason goes to the registry with your name.")
    release = visit.release(chosen, version)
    if not visit.desk.row(visit.overviews([chosen])[0], release).can_go_back:
        raise HTTPException(
            409, f"{name} {version} cannot be put back: it is live, never was, or its archive has been deleted."
        )
    run_id = visit.desk.start_roll_back(chosen, version, reason.strip(), visit.user)
    url = visit.links.run(chosen.roll_back_dag_id, run_id)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"dag_run_id": run_id, "url": url}, status_code=201)
    return RedirectResponse(url, status_code=303)


def _shown(read: Callable[..., str], *arguments: ModelConfig | str | None) -> Response:
    try:
        return HTMLResponse(read(*arguments), headers=dict(report.HEADERS))
    except KubeflowProviderError as error:
        raise HTTPException(error.http_status or 503, str(error)) from error


def _state(text: str) -> ReleaseState | None:
    """Read the filter; empty means all."""
    try:
        return ReleaseState(text) if text else None
    except ValueError:
        raise HTTPException(404, f"There is no state {text!r}.") from None
