"""What the Releases page and the watch ask of databases, and how long that takes; a program of its own.

Airflow has one database in a process: ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` names it, ``MODELS_DIR`` the models, and
the arguments the registry's database and how often each page is asked for. Prints one line of JSON: thing -> figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from benchmarks.history import DatabaseRegistry, names
from benchmarks.query_plans import Query, plan_of, recorded
from include.contracts.registry_tags import ReleaseState
from model_releases import ids
from model_releases.config import read_model_configs

#: The model whose pages are asked for: of all, it has the most releases.
MODEL = names(1)[0]


class Serving:
    """A serving system that answers at once: what is measured is what databases are asked."""

    def __init__(self, live: Mapping[str, str]) -> None:
        self._live = live

    def get_traffic(self, model: str) -> Mapping[str, int]:
        """Return the version with all of the traffic."""
        return {self._live[model]: 100}

    def endpoint_url(self, model: str) -> str:
        """Return an address."""
        return f"http://{model}.example/v1/models/{model}:predict"


def page_client(registry: Any, serving: Any) -> Any:
    """Return a client of the Releases page, signed in as somebody who may do everything."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from model_releases.releases_page.airflow_runs import AirflowRuns
    from model_releases.releases_page.app import make_app
    from model_releases.releases_page.desk import ReleaseDesk
    from model_releases.releases_page.reading import Reader

    create_auth_manager()
    desk = ReleaseDesk(
        reader=Reader(wait_seconds=120, keep_seconds=0),  # nothing is remembered from one request to the next
        runs=AirflowRuns(),
        get_registry=lambda conn_id: registry,
        get_serving=lambda conn_id: serving,
        get_pipelines=lambda conn_id: SimpleNamespace(run_url=lambda run_id: None),
    )
    configs = read_model_configs()
    app = make_app(lambda: configs, desk=desk)
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="ada", role="admin")
    airflow = FastAPI()
    airflow.mount("/releases", app)
    return TestClient(airflow, base_url="http://airflow.example", headers={"Accept": "text/html"})


def paths(version: str, older: str) -> Iterator[str]:
    """Yield an address of every page that there is, by the application's own routes, and those with a query.

    :param version: of the model that is looked at.
    :param older: one that has two pages of the history before it.
    """
    from model_releases.releases_page.routes import router
    from model_releases.releases_page.web import PageRoute

    for route in router.routes:
        if isinstance(route, PageRoute) and "GET" in route.methods and "static" not in route.path:
            yield route.path.format(name=MODEL, version=version, run=version)
    yield "/?after=model-010"
    yield "/?words=model"
    yield f"/models/{MODEL}?before={older}"
    yield f"/models/{MODEL}?state=failed"
    yield f"/models/{MODEL}?state=rejected"
    yield f"/models/{MODEL}/compare?one={version}&other={older}"


def watch(registry: Any) -> None:
    """Ask the registry what ``watch_releases`` asks it about a model."""
    registry.list_releases(MODEL, limit=1)
    registry.get_live(MODEL)
    registry.list_releases(MODEL, state=ReleaseState.CANDIDATE)


def asked_by_tasks() -> list[Query]:
    """Return the queries of Airflow's Execution API behind what tasks ask about other runs (``memory/active_runs``)."""
    from airflow import settings
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.variable import Variable
    from airflow.models.xcom import XComModel
    from sqlalchemy import func

    dag_id = ids.release_dag(MODEL)
    one_run = TaskInstance.dag_id == dag_id, TaskInstance.run_id.in_(["scheduled__20260101030000"])
    statements = [
        select(func.count())
        .select_from(DagRun)
        .where(DagRun.dag_id == dag_id, DagRun.state.in_(["queued", "running"])),
        select(TaskInstance.id).where(TaskInstance.dag_id == dag_id, TaskInstance.task_id.in_([ids.CHECK])),
        select(TaskInstance.id).where(*one_run),
        select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == "scheduled__20260101030000"),
        select(XComModel.value).where(
            XComModel.dag_id == dag_id, XComModel.run_id == "a", XComModel.task_id == ids.CHECK, XComModel.key == "key"
        ),
        select(Variable.val).where(Variable.key == "watched.model"),
    ]
    engine = settings.get_engine()
    dialect = postgresql.dialect() if engine.dialect.name == "postgresql" else engine.dialect
    texts = (statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}) for statement in statements)
    return [Query(engine=engine, statement=str(text).replace("%", "%%"), parameters=()) for text in texts]


def figures_of(ask: Callable[[], Any], times: int) -> dict[str, Any]:
    """Ask so many times, once more to see the queries; return milliseconds, queries, rows and what is read whole."""
    ask()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    with recorded() as queries:
        ask()
    plans = [(str(query), plan_of(query)) for query in queries]
    return {
        "ms": median(took) if took else 0.0,
        "queries": len(queries),
        "visited": sum(plan.visited for _, plan in plans),
        "whole": [f"{', '.join(plan.whole)}: {text} {plan.lines}" for text, plan in plans if plan.whole],
        "plans": sorted({f"{plan.visited} {line}" for _, plan in plans for line in plan.lines}),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("registry")
    parser.add_argument("--times", type=int, default=7)
    given = parser.parse_args()
    registry = DatabaseRegistry(given.registry)
    live = {
        config.name: release.version for config in read_model_configs() if (release := registry.get_live(config.name))
    }
    history = registry.list_releases(MODEL, limit=30)
    found: dict[str, Any] = {}
    with page_client(registry, Serving(live)) as client:
        for path in paths(live[MODEL], history[-1].version):

            def ask(path: str = path) -> None:
                answer = client.get(f"/releases{path}")
                assert answer.status_code in (200, 404), f"{path}: {answer.status_code} {answer.text[:500]}"

            found[path.replace(live[MODEL], "VERSION").replace(history[-1].version, "OLDER")] = figures_of(
                ask, given.times
            )
    found["watch"] = figures_of(lambda: watch(registry), given.times)
    plans = [(str(query), plan_of(query)) for query in asked_by_tasks()]
    whole = [f"{', '.join(plan.whole)}: {text}" for text, plan in plans if plan.whole]
    found["tasks"] = {"ms": 0.0, "queries": len(plans), "visited": 0, "whole": whole, "plans": []}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
