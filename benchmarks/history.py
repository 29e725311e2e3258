"""Fills the databases of an Airflow and of its MLflow with a year of releases.

One release is made as a real one is, and the database copies its rows: DAG run, task instances, XComs, the audit log,
the registry's version with its tags. PostgreSQL only; Airflow's settings must be in place.
"""

# ruff: noqa: S608  the words of these statements are its own

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from include.contracts.registry_tags import LIVE_ALIAS, PREVIOUS_ALIAS, ReleaseState
from model_releases import ids
from model_releases.memory import xcoms
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.service import Release

ROOT = Path(__file__).parent.parent
#: Of the releases, which run over one year back from here.
NEWEST = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
_YEAR = timedelta(days=365)
#: Every so many-th release fails before it is registered.
_FAILS = 20
_TEMPLATE = "20250101030000"
_FIRST = "model-000"


def names(models: int) -> list[str]:
    """Return the names of so many models."""
    return [f"model-{number:03d}" for number in range(models)]


def write_models(folder: Path, models: int) -> None:
    """Write the YAML of so many models, as the trial model's is but for the name."""
    sample = (ROOT / "include" / "models" / "sample-reviews.yaml").read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names(models):
        (folder / f"{name}.yaml").write_text(sample.replace("sample-reviews", name), encoding="utf-8")


class DatabaseRegistry(MlflowHook):
    """MLflow's registry on a database, in this process: what a server would ask of it, without the server.

    :param uri: SQLAlchemy's address.
    """

    def __init__(self, uri: str) -> None:
        extra = json.dumps({"tracking_uri": "sqlite:////nowhere.db"})
        super().__init__("registry", connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra))
        self._uri = uri

    @property
    def tracking_uri(self) -> str:
        """The database."""
        return self._uri

    def _database_lock(self) -> Any:
        return nullcontext()


def sync_dags(files: tuple[str, ...] = ("release_models.py", "roll_back.py")) -> None:
    """Read DAG files and write their DAGs to Airflow's database, as the DAG processor does; release DAGs are on."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    DagBundlesManager().sync_bundles_to_db()
    for file in files:
        bag = DagBag(str(ROOT / "dags" / file), safe_mode=False)
        assert not bag.import_errors, bag.import_errors
        sync_bag_to_db(bag, "dags-folder", None)
    with create_session() as session:
        session.execute(update(DagModel).where(DagModel.dag_id.like("release_%")).values(is_paused=False))


def fill_airflow(releases: Mapping[str, int]) -> None:
    """Leave runs behind for so many releases of each model."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import text

    _make_template()
    with create_session() as session:
        _wanted(session, {ids.release_dag(model): count for model, count in releases.items()})
        times = dict.fromkeys(
            ("logical_date", "run_after", "start_date", "queued_at", "created_at", "data_interval_start"), "w.due"
        )
        times |= dict.fromkeys(("end_date", "updated_at", "data_interval_end"), "w.due + interval '20 minutes'")
        own = {"dag_id": "w.dag_id", "run_id": "w.run_id"}
        state = "CASE WHEN w.failed THEN 'failed' ELSE 'success' END"
        run = own | times | {"state": state, "created_dag_version_id": "w.dag_version", "run_type": "'scheduled'"}
        template = f"t.run_id = 'manual__{_TEMPLATE}'"
        session.execute(text(_copied(DagRun, run, without=("id",)) + f" WHERE {template}"))
        task_state = (
            "CASE WHEN NOT w.failed THEN 'success' WHEN t.task_id = 'check' THEN 'success' "
            "WHEN t.task_id IN ('preprocess', 'report') THEN 'failed' ELSE 'upstream_failed' END"
        )
        task = own | {"id": "gen_random_uuid()", "dag_version_id": "w.dag_version", "state": task_state}
        task |= {"start_date": "w.due", "end_date": "w.due + interval '1 minute'", "updated_at": "w.due"}
        session.execute(text(_copied(TaskInstance, task) + f" WHERE {template}"))
        value = f"replace(t.value::text, '{_TEMPLATE}', w.version)::jsonb"
        xcom = own | {"dag_run_id": "r.id", "value": value, "timestamp": "w.due"}
        session.execute(
            text(
                _copied(XComModel, xcom) + " JOIN dag_run r ON r.dag_id = w.dag_id AND r.run_id = w.run_id "
                f"WHERE {template} AND (t.key <> '{xcoms.FAILURE}' OR w.failed)"
            )
        )
        session.execute(
            text(
                "INSERT INTO log (dttm, dag_id, task_id, run_id, map_index, try_number, event, owner) "
                "SELECT i.end_date, i.dag_id, i.task_id, i.run_id, i.map_index, 1, i.state, 'ml-platform' "
                "FROM task_instance i"
            )
        )
    _analyse()


def leave_under_way(models: list[str]) -> None:
    """Leave the newest release of these models in the middle of its training."""
    from airflow.utils.session import create_session
    from sqlalchemy import text

    with create_session() as session:
        dag_ids = [ids.release_dag(model) for model in models]
        newest = (
            "SELECT DISTINCT ON (dag_id) id, dag_id, run_id FROM dag_run "
            "WHERE dag_id = ANY(:dags) AND state = 'success' ORDER BY dag_id, run_after DESC"
        )
        session.execute(text(f"CREATE TEMP TABLE under_way AS {newest}"), {"dags": dag_ids})
        session.execute(
            text("UPDATE dag_run SET state = 'running', end_date = NULL WHERE id IN (SELECT id FROM under_way)")
        )
        session.execute(
            text(
                "UPDATE task_instance t SET state = CASE WHEN t.task_id IN ('check', 'preprocess') THEN 'success' "
                "WHEN t.task_id = 'train' THEN 'deferred' ELSE NULL END "
                "FROM under_way u WHERE t.dag_id = u.dag_id AND t.run_id = u.run_id"
            )
        )


def fill_registry(uri: str, releases: Mapping[str, int]) -> None:
    """Register the releases that :func:`fill_airflow` has made runs of, but for those that failed."""
    from mlflow.store.model_registry.dbmodels import models as tables
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session

    registry = DatabaseRegistry(uri)
    registry.register(_record(_TEMPLATE), metrics=_METRICS)
    registry.set_state(_FIRST, _TEMPLATE, ReleaseState.LIVE, reason="passed every test")
    with Session(create_engine(uri)) as session, session.begin():
        now = {"name": "m.name"}
        session.execute(text("CREATE TEMP TABLE models (name text, releases int)"))
        rows = [{"name": name, "releases": count} for name, count in releases.items()]
        session.execute(text("INSERT INTO models VALUES (:name, :releases)"), rows)
        others = f"FROM registered_models t JOIN models m ON m.name <> t.name WHERE t.name = '{_FIRST}'"
        columns, values = _columns(tables.SqlRegisteredModel, now)
        session.execute(text(f"INSERT INTO registered_models ({columns}) SELECT {values} {others}"))
        _wanted(session, dict(releases), registered=True)
        version = {
            "name": "w.dag_id",
            "version": "w.n + 1",
            "creation_time": "extract(epoch FROM w.due)::bigint * 1000",
        }
        template = f"t.name = '{_FIRST}' AND t.version = 1"
        session.execute(text(_copied(tables.SqlModelVersion, version) + f" WHERE {template}"))
        value = (
            "CASE t.key WHEN 'release.version' THEN w.version WHEN 'fact.dag_run_id' THEN w.run_id "
            "WHEN 'fact.dag_id' THEN 'release_' || replace(w.dag_id, '-', '_') "
            "WHEN 'release.state' THEN CASE WHEN w.n = w.most THEN 'live' WHEN w.n % 7 = 3 THEN 'rejected' "
            "ELSE 'retired' END ELSE t.value END"
        )
        tag = {"name": "w.dag_id", "version": "w.n + 1", "value": value}
        session.execute(text(_copied(tables.SqlModelVersionTag, tag) + f" WHERE {template}"))
        session.execute(text("DELETE FROM registered_model_aliases"))
        for alias, back in ((LIVE_ALIAS, 0), (PREVIOUS_ALIAS, 1)):
            session.execute(
                text(
                    "INSERT INTO registered_model_aliases (name, alias, version) "
                    f"SELECT dag_id, '{alias}', n + 1 FROM wanted w WHERE n = most - {back}"
                )
            )
        session.execute(text("DELETE FROM model_version_tags WHERE version = 1"))
        session.execute(text("DELETE FROM model_versions WHERE version = 1"))
    with create_engine(uri, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _wanted(session: Any, releases: Mapping[str, int], *, registered: bool = False) -> None:
    """Make a table of the releases to be copied: spread over a year, each model's at a minute of its own.

    :param releases: DAG, or model, -> how many.
    :param registered: leave out those that failed; they know no version of a DAG.
    """
    from sqlalchemy import text

    session.execute(text("CREATE TEMP TABLE counts (dag_id text, place int, most int)"))
    rows = [{"dag_id": dag_id, "place": place, "most": count} for place, (dag_id, count) in enumerate(releases.items())]
    session.execute(text("INSERT INTO counts VALUES (:dag_id, :place, :most)"), rows)
    due = (
        f"timestamptz '{NEWEST.isoformat()}' + c.place * interval '1 minute' "
        f"- (c.most - n) * interval '{_YEAR.total_seconds():.0f} seconds' / c.most"
    )
    due = f"date_trunc('second', {due})"
    version = f"to_char({due} AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')"
    failed = f"n % {_FAILS} = 7 AND n < c.most - 1"
    join = "" if registered else "JOIN dag_version v ON v.dag_id = c.dag_id"
    session.execute(
        text(
            f"CREATE TEMP TABLE wanted AS SELECT c.dag_id, c.most, n, {due} AS due, {version} AS version, "
            f"'scheduled__' || {version} AS run_id, {failed} AS failed"
            f"{'' if registered else ', v.id AS dag_version'} "
            f"FROM counts c {join} CROSS JOIN LATERAL generate_series(1, c.most) AS n "
            f"WHERE NOT ({failed}) OR {'FALSE' if registered else 'TRUE'}"
        )
    )


def _copied(table: Any, own: Mapping[str, str], *, without: tuple[str, ...] = ()) -> str:
    """Return SQL that copies the template's rows of a table for each wanted release, but for some columns."""
    columns, values = _columns(table, own, without=without)
    name = table.__tablename__
    return f"INSERT INTO {name} ({columns}) SELECT {values} FROM {name} t CROSS JOIN wanted w"


def _columns(table: Any, own: Mapping[str, str], *, without: tuple[str, ...] = ()) -> tuple[str, str]:
    names = [column.name for column in table.__table__.columns if column.name not in without]
    return ", ".join(names), ", ".join(own.get(name, f"t.{name}") for name in names)


def _make_template() -> None:
    """Make one release of the first model, with what its tasks leave."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import update

    dag_id, run_id = ids.release_dag(_FIRST), f"manual__{_TEMPLATE}"
    due = datetime.strptime(_TEMPLATE, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.TIMETABLE, run_id=run_id, run_after=due)
    with create_session() as session:
        here = {"dag_id": dag_id, "run_id": run_id}
        session.execute(update(DagRun).filter_by(**here).values(state=DagRunState.SUCCESS))
        session.execute(
            update(TaskInstance).filter_by(**here).values(state=TaskInstanceState.SUCCESS, try_number=1, operator="Any")
        )
    left: dict[str, dict[str, Any]] = {
        "check": {"return_value": {"version": _TEMPLATE, "live_version": _TEMPLATE, "store": "s3://models/releases"}},
        "preprocess": {xcoms.FAILURE: {"task_id": "preprocess", "error": "InvalidRequestError", "message": "No rows."}},
        "train": {
            "return_value": "a-run",
            "run_id": "a-run",
            "run_url": "https://kubeflow.example/#/runs/details/a-run",
        },
        "gate": {
            "return_value": {"passed": True},
            xcoms.GATE: "passed: macro F1 0.91, live 0.90",
            xcoms.JUDGED: "ab" * 32,
        },
        "deploy_candidate": {xcoms.ENDPOINT: "http://endpoint.example", xcoms.PREVIOUS_VERSION: _TEMPLATE},
        "register": {xcoms.REGISTRY_URL: "https://mlflow.example/#/models/1", "return_value": "1"},
        "report": {xcoms.CARD: "# Release\n" * 20, xcoms.OUTCOME: {"label": "released"}},
    }
    for task_id, entries in left.items():
        for key, value in entries.items():
            XComModel.set(key=key, value=value, dag_id=dag_id, task_id=task_id, run_id=run_id)


def _analyse() -> None:
    from airflow import settings

    with settings.get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def main() -> None:
    """Fill both databases; a program of its own, because Airflow has one database in a process."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("registry", help="SQLAlchemy's address of the registry's database")
    parser.add_argument("releases", help="model -> how many, as JSON; empty only syncs the DAGs")
    parser.add_argument("--under-way", type=int, default=0, help="leave so many models in the middle of a training")
    given = parser.parse_args()
    releases = json.loads(given.releases)
    if not releases:
        sync_dags()
        return
    fill_airflow(releases)
    fill_registry(given.registry, releases)
    leave_under_way([*releases][: given.under_way])


_METRICS = {
    f"{who}.{metric}": 0.9
    for who in ("candidate", "live", "baseline")
    for metric in ("macro_f1", "accuracy", "log_loss", "expected_calibration_error")
}


def _record(version: str) -> Release:
    """Return a release with as many facts as real ones have."""
    facts = {
        "archive_sha256": "cd" * 32,
        "base_model": "scratch",
        "code_revision": "ef" * 20,
        "dag_id": ids.release_dag(_FIRST),
        "dag_run_id": f"manual__{version}",
        "data_changes": "1,200 rows more than what is live; labels alike.",
        "dataset_sha256": "ab" * 32,
        "dataset_uri": f"s3://models/releases/{version}/dataset/dataset.json",
        "gate_settings": json.dumps({"min_macro_f1": 0.9, "max_regression": 0.02}),
        "image": "registry.example.com/training@sha256:" + "ab" * 32,
        "package_uri": f"s3://models/releases/{version}/package",
        "pipeline_run_id": "a-run",
        "pipeline_run_url": "https://kubeflow.example/#/runs/details/a-run",
        "report_uri": f"s3://models/releases/{version}/report/report.html",
        "serving_runtime": "torchserve",
        "trigger": "scheduled",
    }
    return Release(
        model=_FIRST,
        version=version,
        state=ReleaseState.CANDIDATE,
        archive_uri=f"s3://models/{version}.mar",
        facts=facts,
    )


if __name__ == "__main__":
    main()
