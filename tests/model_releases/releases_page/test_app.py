"""The application with services that misbehave, and with every right and none, without a browser."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection
from fastapi import FastAPI
from starlette.testclient import TestClient

from include.contracts.registry_tags import ReleaseState
from include.contracts.schedule import TasksConfig
from include.contracts.settings import DataConfig
from kubeflow_provider.exceptions import ServiceUnavailableError
from model_releases.config import TextClassifierConfig
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service import Release
from model_releases.releases_page import permissions
from model_releases.releases_page.airflow_runs import AirflowRun
from model_releases.releases_page.app import make_app
from model_releases.releases_page.desk import ReleaseDesk
from model_releases.releases_page.reading import Reader
from model_releases.releases_page.visit import MODELS_ON_A_PAGE
from tests.doubles.model_registry import model_registry

OLD, LIVE = "20260101030000", "20260108030000"
PAGE = {"Accept": "text/html"}


class Registry:
    """Two releases of each model."""

    def __init__(self) -> None:
        self.releases = {
            version: Release(
                model="reviews",
                version=version,
                state=state,
                reason="<script>alert(1)</script>",
                facts={"pipeline_run_url": "javascript:alert(1)", "metric.candidate.macro_f1": "0.9"},
                times={state: "2026-01-08T04:00:00+00:00"},
            )
            for version, state in ((LIVE, ReleaseState.LIVE), (OLD, ReleaseState.RETIRED))
        }

    def get_live(self, model: str) -> Release | None:
        return self.releases[LIVE]

    def get_release(self, model: str, version: str) -> Release | None:
        return self.releases.get(version)

    def list_releases(self, model: str, **condition: Any) -> list[Release]:
        return [release for release in self.releases.values() if condition.get("state") in (None, release.state)]

    def list_made_by_pipelines(self) -> list[Release]:
        return [made_by_a_pipeline(model) for model in ("reviews", "secret", "elsewhere")]


def made_by_a_pipeline(model: str) -> Release:
    facts = {"trigger": "pipeline", "pipeline_run_id": f"run-of-{model}", "archive_sha256": "abcdef" * 10 + "0123"}
    facts["metric.candidate.macro_f1"] = "0.8125"
    return Release(model=model, version=OLD, state=ReleaseState.LIVE, reason="released by its pipeline", facts=facts)


class Pipelines:
    """Knows where the pages of runs are."""

    def run_url(self, run_id: str) -> str:
        return f"https://kubeflow.example/#/runs/details/{run_id}"


class Serving:
    """Serves the live version, unless it is told something else."""

    def __init__(self) -> None:
        self.traffic: Callable[[], Mapping[str, int]] = lambda: {LIVE: 100}

    def get_traffic(self, model: str) -> Mapping[str, int]:
        return self.traffic()

    def endpoint_url(self, model: str) -> str:
        return "http://127.0.0.1:8085/v1/models/reviews:predict"


class Runs:
    """Airflow's part: nothing runs, and what is triggered is kept."""

    def __init__(self) -> None:
        self.triggered: list[Any] = []
        self.under_way: list[AirflowRun] = []

    def active(self, dag_ids: Any) -> list[AirflowRun]:
        return [run for run in self.under_way if run.dag_id in dag_ids]

    def known(self, dag_id: str, run_ids: Any) -> dict[str, AirflowRun]:
        return {}

    def failed(self, dag_id: str, **between: Any) -> list[AirflowRun]:
        return []

    def is_paused(self, dag_id: str) -> bool:
        return False

    def missing_pools(self, pools: Any) -> set[str]:
        return set()

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any], user: Any) -> str:
        self.triggered.append((dag_id, dict(conf), user.get_name()))
        return "manual__2026-01-09T00:00:00+00:00"


@pytest.fixture
def parts() -> SimpleNamespace:
    return SimpleNamespace(registry=Registry(), serving=Serving(), pipelines=Pipelines(), runs=Runs(), rights=set())


@pytest.fixture
def client(parts: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Return a client of somebody with the rights in ``parts.rights``: (method, DAG id)."""
    from airflow.api_fastapi.core_api.security import get_user

    def may(self: Any, method: str, dag_id: str, entity: Any) -> bool:
        return (method, dag_id) in parts.rights

    monkeypatch.setattr(permissions.Permissions, "_is_authorized", may)
    data = DataConfig(train=[], labels={"0": "bad", "1": "good"})
    models = [
        TextClassifierConfig(name=name, store=tmp_path.as_uri(), data=data, tasks=TasksConfig(pool="a-pool"))
        for name in ("reviews", "secret")
    ]
    desk = ReleaseDesk(
        reader=Reader(wait_seconds=30),
        runs=parts.runs,
        get_registry=lambda conn_id: parts.registry,
        get_serving=lambda conn_id: parts.serving,
        get_pipelines=lambda conn_id: parts.pipelines,
    )
    parts.desk = desk
    app = parts.app = make_app(lambda: models, desk=desk)
    app.dependency_overrides[get_user] = lambda: SimpleNamespace(get_name=lambda: "ada")
    parts.rights = EDITOR - {("POST", "release_reviews")}
    airflow = FastAPI()
    airflow.mount("/releases", app)
    with TestClient(airflow, base_url="http://airflow.example", headers=PAGE) as client:
        yield client


def roll_back(client: TestClient, version: str = OLD, reason: str = "wrong", **headers: str) -> Any:
    return client.post(
        "/releases/models/reviews/roll-back",
        data={"version": version, "reason": reason},
        headers={"Origin": "http://airflow.example"} | headers,
        follow_redirects=False,
    )


def test_a_model_whose_dag_may_not_be_read_does_not_exist(client: TestClient, parts: SimpleNamespace) -> None:
    assert "secret" not in client.get("/releases/").text
    hidden, missing = client.get("/releases/models/secret"), client.get("/releases/models/missing")
    assert (hidden.status_code, hidden.text) == (404, missing.text)
    for path in (f"versions/{OLD}", f"versions/{OLD}/report", "compare"):
        assert client.get(f"/releases/models/secret/{path}").status_code == 404
    parts.rights.add(("GET", "release_secret"))
    assert client.get("/releases/models/secret").status_code == 200


def test_the_button_is_for_those_who_may_start_the_dag(client: TestClient, parts: SimpleNamespace) -> None:
    assert f'aria-label="Roll back to {OLD}"' in client.get("/releases/models/reviews").text
    parts.rights.remove(("POST", "roll_back_reviews"))
    for path in ("", f"/versions/{OLD}"):
        page = client.get(f"/releases/models/reviews{path}").text
        assert "roll-back-form" not in page
        assert "Roll back" not in page
    assert roll_back(client).status_code == 403
    assert parts.runs.triggered == []


def test_a_roll_back_is_started_in_the_users_name(client: TestClient, parts: SimpleNamespace) -> None:
    answer = roll_back(client, reason="  wrong on short texts ")
    expected = {"model": "reviews", "version": OLD, "reason": "wrong on short texts"}
    assert parts.runs.triggered == [("roll_back_reviews", expected, "ada")]
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/dags/roll_back_reviews/runs/manual__2026-01-09T00%3A00%3A00%2B00%3A00",
    )
    told = roll_back(client, Accept="application/json")
    assert (told.status_code, told.json()["url"]) == (201, answer.headers["location"])


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"version": LIVE}, {}, 409),
        ({"version": "20250101000000"}, {}, 404),
        ({"version": "../../etc"}, {}, 422),
        ({"reason": "   "}, {}, 422),
        ({"reason": "x" * 501}, {}, 422),
        ({}, {"Origin": "https://elsewhere.example"}, 403),
        ({}, {"Origin": "null"}, 403),
        ({}, {"Origin": "http://airflow.example.elsewhere.example"}, 403),
        ({}, {"Origin": "https://elsewhere.example", "Authorization": "Bearer x"}, 403),
    ],
)
def test_what_cannot_or_must_not_be_put_back_starts_nothing(
    client: TestClient, parts: SimpleNamespace, fields: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = roll_back(client, **(fields | headers))
    assert answer.status_code == status
    assert parts.runs.triggered == []
    assert "xxxx" not in answer.text, "a person's own text is not sent back"


def test_a_form_that_names_no_origin_is_a_programs_or_refused(client: TestClient, parts: SimpleNamespace) -> None:
    form = {"version": OLD, "reason": "wrong"}
    url = "/releases/models/reviews/roll-back"
    assert client.post(url, data=form).status_code == 403
    assert parts.runs.triggered == []
    assert client.post(url, data=form, headers={"Authorization": "Bearer x"}, follow_redirects=False).status_code == 303


def test_nothing_that_was_recorded_can_be_run(client: TestClient) -> None:
    for path in ("models/reviews", f"models/reviews/versions/{OLD}", f"models/reviews/compare?one={OLD}&other={LIVE}"):
        answer = client.get(f"/releases/{path}")
        assert "<script>alert" not in answer.text
        assert 'href="javascript' not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


def test_kubeflows_registry_is_shown_and_linked_as_mlflow_is(client: TestClient, parts: SimpleNamespace) -> None:
    pages = "https://kubeflow.example.com/model-registry/model-registry-service"
    fields = {"conn_type": "kubeflow_model_registry", "extra": json.dumps({"ui_url": pages})}
    with model_registry() as server:
        parts.registry = ModelRegistryHook("r", connection=Connection(conn_id="r", host=server.url, **fields))
        for version, macro_f1 in ((OLD, 0.8), (LIVE, 0.9)):
            facts = {"code_revision": f"revision-{version}", "dataset_sha256": "ab" * 32}
            made = Release(model="reviews", version=version, state=ReleaseState.CANDIDATE, facts=facts)
            parts.registry.register(made, metrics={"candidate.macro_f1": macro_f1})
            parts.registry.set_state("reviews", version, ReleaseState.LIVE, reason="passed every test")
        model, version, compared = (
            client.get(f"/releases/models/reviews{path}").text
            for path in ("", f"/versions/{LIVE}", f"/compare?one={OLD}&other={LIVE}")
        )

    page_of_live = f"{pages}/registered-models/1/versions/3"
    for page in (model, version):
        assert f'href="{page_of_live}"' in page
    assert f'aria-label="Roll back to {OLD}"' in model
    assert "revision-" in version
    assert f"revision-{OLD}" in compared
    assert f"revision-{LIVE}" in compared


def test_a_report_is_closed_in_whatever_it_says(client: TestClient, tmp_path: Path) -> None:
    report = tmp_path / "reviews" / OLD / "report" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<h1>Report</h1>")
    answer = client.get(f"/releases/models/reviews/versions/{OLD}/report")
    assert answer.text == "<h1>Report</h1>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("; sandbox")
    assert "script" not in policy
    for version in (LIVE, "..", "%2e%2e", "1" * 15, "\N{ARABIC-INDIC DIGIT ONE}" * 14):
        assert client.get(f"/releases/models/reviews/versions/{version}/report").status_code == 404


def test_a_drift_report_is_the_one_that_is_asked_for_or_the_newest(client: TestClient, tmp_path: Path) -> None:
    page = "/releases/models/reviews/drift"
    assert client.get(page).status_code == 404
    for run in (OLD, LIVE):
        (tmp_path / "reviews" / "drift" / run).mkdir(parents=True)
        (tmp_path / "reviews" / "drift" / run / "report.html").write_text(f"<h1>{run}</h1>")
    (tmp_path / "reviews" / "drift" / "first-requests").mkdir()

    assert client.get(page).text == f"<h1>{LIVE}</h1>"
    answer = client.get(f"{page}/{OLD}")
    assert answer.text == f"<h1>{OLD}</h1>"
    assert answer.headers["content-security-policy"].endswith("; sandbox")
    for run in ("first-requests", "20200101000000", "1" * 15):
        assert client.get(f"{page}/{run}").status_code == 404


def test_what_older_versions_lose_is_one_click_away_once_it_was_measured(client: TestClient, tmp_path: Path) -> None:
    page = "/releases/models/reviews/staleness"
    assert f'href="{page}"' in client.get("/releases/models/reviews").text
    answer = client.get(page)
    assert (answer.status_code, "make staleness" in answer.text) == (404, True)

    (tmp_path / "reviews" / "staleness").mkdir(parents=True)
    (tmp_path / "reviews" / "staleness" / "report.html").write_text("<h1>Staleness</h1>")
    answer = client.get(page)
    assert answer.text == "<h1>Staleness</h1>"
    assert answer.headers["content-security-policy"].endswith("; sandbox")


@pytest.mark.parametrize(
    ("report_uri", "shown"),
    [
        ("file:///elsewhere/reviews/{version}/attempt-2/report/report.html", "second"),
        ("file:///elsewhere/reviews/{version}/report/report.html", "first"),
        ("file:///elsewhere/reviews/{version}/attempt-2/../../secret/report/report.html", "first"),
        ("/etc/passwd", "first"),
        (None, "first"),
    ],
)
def test_a_report_is_that_of_the_attempt_that_the_candidate_is_of(
    client: TestClient, tmp_path: Path, report_uri: str | None, shown: str
) -> None:
    folder = tmp_path / "reviews" / OLD
    for where, text in (("report", "first"), ("attempt-2/report", "second")):
        (folder / where).mkdir(parents=True)
        (folder / where / "report.html").write_text(text)
    document = json.dumps({"report_uri": report_uri and report_uri.format(version=OLD)})
    (folder / "candidate.json").write_text(document)
    assert client.get(f"/releases/models/reviews/versions/{OLD}/report").text == shown


def test_a_registry_that_is_down_leaves_the_rest_of_the_page(client: TestClient, parts: SimpleNamespace) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise ServiceUnavailableError("Registry http://mlflow: connection refused")

    parts.registry.get_live = parts.registry.list_releases = down
    page = client.get("/releases/models/reviews")
    assert page.status_code == 200
    assert "The registry could not be read" in page.text
    assert "connection refused" in page.text
    assert LIVE in page.text
    assert "disagree" not in page.text


def test_a_serving_system_that_hangs_leaves_the_rest_of_the_page(client: TestClient, parts: SimpleNamespace) -> None:
    release = threading.Event()
    parts.desk._reader._wait_seconds = 0.2
    parts.serving.traffic = lambda: release.wait(60) and {}
    for _ in range(2):
        page = client.get("/releases/models/reviews")
        assert page.status_code == 200
        assert "The serving system could not be read" in page.text
        assert "data-pending" in page.text
        assert f"/versions/{LIVE}" in page.text
    release.set()


@pytest.mark.parametrize("traffic", [{}, {OLD: 100}])
def test_a_difference_between_registry_and_serving_is_said(
    client: TestClient, parts: SimpleNamespace, traffic: dict[str, int]
) -> None:
    parts.serving.traffic = lambda: traffic
    page = client.get("/releases/models/reviews").text
    assert "Registry and serving system disagree" in page
    assert f"users reach {next(iter(traffic), 'nothing')}" in page


def test_a_difference_during_a_release_is_no_alarm(client: TestClient, parts: SimpleNamespace) -> None:
    parts.serving.traffic = lambda: {"20260115030000": 100}
    moment = datetime(2026, 1, 15, 3, tzinfo=UTC)
    run = {"run_id": "run", "version": "20260115030000", "state": "running", "run_after": moment}
    parts.runs.under_way = [
        AirflowRun(dag_id="release_reviews", tasks=("verify",), **run),
        AirflowRun(dag_id="roll_back_other", **run),
    ]
    page = client.get("/releases/models/reviews").text
    assert "disagree" not in page
    assert "a release is under way" in page
    assert "Release 20260115030000 is running: verify" in " ".join(page.split())
    assert "A roll back to" not in page, "another model's"


def test_an_unknown_file_filter_or_page_is_refused(client: TestClient) -> None:
    assert client.get("/releases/static/releases.js").headers["content-type"].startswith("text/javascript")
    for path in ("static/..%2Fapp.py", "static/app.py", "models/reviews?state=odd", "docs", "openapi.json"):
        assert client.get(f"/releases/{path}").status_code == 404
    assert client.get("/releases/models/reviews?before=x").status_code == 422


def test_a_release_that_only_a_pipeline_has_made_is_shown_with_its_run(
    client: TestClient, parts: SimpleNamespace
) -> None:
    parts.registry.releases[OLD] = made_by_a_pipeline("reviews")
    history, page = (client.get(f"/releases/models/reviews{path}").text for path in ("", f"/versions/{OLD}"))
    for text in (history, page):
        assert "in Kubeflow, without Airflow" in text
        assert 'href="https://kubeflow.example/#/runs/details/run-of-reviews"' in text
        assert "0.8125" in text
    assert "abcdef" * 10 in page
    del parts.pipelines  # no such connection
    parts.desk._reader.forget()
    assert "0.8125" in client.get("/releases/models/reviews").text


def test_what_pipelines_made_of_other_models_is_for_those_who_may_see_the_watch(
    client: TestClient, parts: SimpleNamespace
) -> None:
    assert 'href="/releases/without-airflow"' in client.get("/releases/").text
    page = client.get("/releases/without-airflow").text
    assert "Released in Kubeflow, without Airflow" in page
    assert 'href="https://kubeflow.example/#/runs/details/run-of-elsewhere"' in page
    assert "run-of-secret" not in page
    assert "run-of-reviews" not in page, "it has a page of its own"
    parts.registry.list_made_by_pipelines = list
    parts.desk._reader.forget()
    assert "no registry that is known here has a release" in client.get("/releases/without-airflow").text
    parts.rights.remove(("GET", "watch_releases"))
    assert "without-airflow" not in client.get("/releases/").text
    assert client.get("/releases/without-airflow").status_code == 404


def names_on(page: str) -> list[str]:
    return re.findall(r'<h2 id="model-\d+"><a href="[^"]+">([^<]+)</a></h2>', page)


def next_page(page: str) -> str:
    (found,) = re.findall(r'rel="next" href="([^"]+)"', page)
    return str(found).replace("&amp;", "&")


def test_many_models_are_paged_by_name_and_searched_and_nobody_is_asked_about_the_rest(
    client: TestClient, parts: SimpleNamespace
) -> None:
    (one, _) = parts.app.state.models()
    many = [
        one.model_copy(update={"name": f"model-{number:03}", "description": f"of team {number % 2}"})
        for number in range(60)
    ]
    parts.app.state.models = lambda: many[::-1]
    parts.rights = {("GET", f"release_model_{number:03}") for number in range(60) if number != 7}
    asked: list[str] = []
    parts.registry.get_live = asked.append
    first = client.get("/releases/").text
    shown = names_on(first)
    assert shown == [f"model-{number:03}" for number in range(MODELS_ON_A_PAGE + 1) if number != 7]
    assert sorted(asked) == shown
    second = client.get(next_page(first)).text
    third = client.get(next_page(second)).text
    assert [*shown, *names_on(second), *names_on(third)] == [
        f"model-{number:03}" for number in range(60) if number != 7
    ]
    assert 'rel="next"' not in third
    assert 'rel="first"' in third
    found = client.get("/releases/?words=Team 1").text
    assert len(names_on(found)) == MODELS_ON_A_PAGE
    assert "words=Team+1" in next_page(found)
    assert names_on(client.get("/releases/?words=el-059").text) == ["model-059"]
    assert "No model here has this" in client.get("/releases/?words=nothing").text
    assert client.get("/releases/?words=" + "x" * 101).status_code == 422


def test_a_right_is_asked_for_once_and_the_teams_of_all_dags_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    teams: list[list[str]] = []

    class Manager:
        def is_authorized_dag(self, **question: Any) -> bool:
            asked.append((question["method"], question["details"].id, question["details"].team_name))
            return True

    def mapping(dag_ids: list[str]) -> dict[str, str]:
        teams.append(dag_ids)
        return {"one": "red"}

    monkeypatch.setattr(permissions, "get_auth_manager", Manager)
    monkeypatch.setattr(permissions.DagModel, "get_dag_id_to_team_name_mapping", mapping)
    rights = permissions.Permissions("ada", ["one", "other"])
    for _ in range(3):
        assert rights.can_read("one")
        assert rights.can_trigger("other")
    assert asked == [("GET", "one", "red"), ("GET", "one", "red"), ("POST", "other", None)]
    assert teams == [["one", "other"]]


def test_a_pool_that_is_not_there_is_said_where_somebody_looks(client: TestClient, parts: SimpleNamespace) -> None:
    assert "There is no pool" not in client.get("/releases/models/reviews").text
    parts.runs.missing_pools = lambda pools: {*pools}
    assert "There is no pool a-pool" in client.get("/releases/models/reviews").text
    assert "There is no pool a-pool" in client.get("/releases/").text


def test_before_the_first_release_the_page_says_what_will_appear(client: TestClient, parts: SimpleNamespace) -> None:
    first = "Here will appear, for each model"
    assert first not in client.get("/releases/").text
    parts.registry.releases = {}
    parts.registry.get_live = lambda model: None
    parts.registry.list_made_by_pipelines = list
    parts.serving.traffic = dict
    parts.desk._reader.forget()
    page = client.get("/releases/").text
    assert first in page
    assert 'href="/dags/release_reviews"' in page
    parts.rights.clear()
    assert first in client.get("/releases/").text, "nor does it say that there is a model"
    assert "release_reviews" not in client.get("/releases/").text


def test_it_works_below_a_prefix(parts: SimpleNamespace, client: TestClient) -> None:
    airflow = FastAPI(root_path="/team")
    airflow.mount("/releases", parts.app)
    with TestClient(airflow, base_url="http://airflow.example", headers=PAGE) as behind:
        page = behind.get("/team/releases/models/reviews").text
    assert 'href="/team/releases/static/releases.css"' in page
    assert 'href="/team/dags/release_reviews"' in page


VIEWER = {("GET", "release_reviews"), ("GET", "roll_back_reviews"), ("GET", "watch_releases")}
EDITOR = VIEWER | {("POST", "release_reviews"), ("POST", "roll_back_reviews")}
#: What each may do, but for nobody: without a session there are no rights to look for.
ROLES: dict[str, set[tuple[str, str]] | None] = {
    "anonymous": None,
    "nobody's viewer": set(),
    "viewer": VIEWER,
    "editor": EDITOR,
    "editor of one": EDITOR | {("GET", "release_secret")},
    "admin": EDITOR | {(method, f"{dag}_secret") for method in ("GET", "POST") for dag in ("release", "roll_back")},
}
#: Route -> the status for each of them, about the model that viewers may see, and about the one that they may not.
DRIFT_RUN = "20261124043000"
PUBLIC = ((401, 200, 200, 200, 200, 200), (401, 200, 200, 200, 200, 200))
OF_A_MODEL = ((401, 404, 200, 200, 200, 200), (401, 404, 404, 404, 200, 200))
ANSWERS = {
    "GET /": PUBLIC,
    "GET /without-airflow": ((401, 404, 200, 200, 200, 200), (401, 404, 200, 200, 200, 200)),
    "GET /static/releases.css": PUBLIC,
    "GET /models/{name}": OF_A_MODEL,
    "GET /models/{name}/compare": OF_A_MODEL,
    f"GET /models/{{name}}/versions/{OLD}": OF_A_MODEL,
    f"GET /models/{{name}}/versions/{OLD}/report": OF_A_MODEL,
    "GET /models/{name}/drift": OF_A_MODEL,
    f"GET /models/{{name}}/drift/{DRIFT_RUN}": OF_A_MODEL,
    "GET /models/{name}/staleness": OF_A_MODEL,
    "POST /models/{name}/roll-back": ((401, 404, 403, 303, 303, 303), (401, 404, 404, 404, 403, 303)),
}


def test_every_route_answers_everybody_as_their_rights_are(
    client: TestClient, parts: SimpleNamespace, tmp_path: Path
) -> None:
    routes = {f"{method} {route.path}" for route in parts.app.routes for method in route.methods - {"HEAD"}}
    assert routes == {
        path.replace("releases.css", "{name}").replace(OLD, "{version}").replace(DRIFT_RUN, "{run}") for path in ANSWERS
    }, "a new route says here who may have it"
    for name in ("reviews", "secret"):
        report = tmp_path / name / OLD / "report" / "report.html"
        report.parent.mkdir(parents=True)
        report.write_text("<h1>Report</h1>")
        drift = tmp_path / name / "drift" / DRIFT_RUN / "report.html"
        drift.parent.mkdir(parents=True)
        drift.write_text("<h1>Drift</h1>")
        staleness = tmp_path / name / "staleness" / "report.html"
        staleness.parent.mkdir(parents=True)
        staleness.write_text("<h1>Staleness</h1>")

    signed_in = dict(parts.app.dependency_overrides)
    found = {}
    for route in ANSWERS:
        found[route] = tuple(
            tuple(_status(client, parts, route.format(name=name), role, signed_in) for role in ROLES)
            for name in ("reviews", "secret")
        )
    assert found == ANSWERS
    assert {(conf["model"], user) for _, conf, user in parts.runs.triggered} == {("reviews", "ada"), ("secret", "ada")}
    assert len(parts.runs.triggered) == 4, "two editors' and an admin's"


def _status(client: TestClient, parts: SimpleNamespace, route: str, role: str, signed_in: dict[Any, Any]) -> int:
    """Ask as somebody, and check what every answer has."""
    method, path = route.split()
    rights = ROLES[role]
    parts.rights = rights or set()
    parts.app.dependency_overrides = {} if rights is None else signed_in
    options: Any = {
        "data": {"version": OLD, "reason": "wrong"} if method == "POST" else None,
        "headers": {
            "Origin": "http://airflow.example",
            "Accept": "application/json" if rights is None else "text/html",
        },
        "follow_redirects": False,
    }
    answer = client.request(method, f"/releases{path}", **options)
    assert "content-security-policy" in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    if ("GET", "release_secret") not in parts.rights and "secret" not in path:
        assert "secret" not in answer.text
    taken = {"GET", "HEAD"} if method == "GET" else {method}
    if "HEAD" in taken:
        head = client.request("HEAD", f"/releases{path}", **options)
        assert (head.status_code, head.headers) == (answer.status_code, answer.headers)
    for other in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - taken:
        assert client.request(other, f"/releases{path}", headers={"Accept": "text/html"}).status_code == 405
    return answer.status_code
