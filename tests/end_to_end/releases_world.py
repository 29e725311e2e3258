"""An Airflow with releases to look at: four models, a serving system in the middle of a rollout, and runs of DAGs.

Only Airflow's API server runs; what a scheduler would have left is written into its database.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.service import Release
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import kserve, release, settled, version_of
from tests.serving_support import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]

#: In the middle of its life, without any release, and with a thousand of them.
MODEL, NEW_MODEL, BUSY_MODEL = "sample-reviews", "new-reviews", "busy-reviews"
FIRST, REJECTED, TAKEN_BACK, LIVE, ROLLING = (f"202609{day:02d}030000" for day in (1, 8, 15, 22, 29))
#: It failed before it was registered.
BROKEN = "20260925030000"
BUSY_RELEASES = 1000
GATE_LINE = "rejected: macro F1 0.871, live 0.893, difference -0.022, 95 % interval -0.035 to -0.009, margin 0.01"
FAILURE = "The evaluation rows lack the label `3 stars`."
REPORT = "<!doctype html><title>Report</title><h1>Report of the first</h1><script>document.title = 'run'</script>"
#: A model of which everything that others may write is meant to hurt whoever reads it, and what would show that it did.
HOSTILE_MODEL, HOSTILE_VERSION, HOSTILE_RUN = "hostile-reviews", "20260901040000", "20260930040000"
HURT, ELSEWHERE = "hurt", "elsewhere.example"
HOSTILE_WORDS = (
    f"<script>document.title = '{HURT}'; fetch('http://{ELSEWHERE}/')</script>",
    f"<img src=x onerror=\"document.title = '{HURT}'\"><svg onload=alert(1)><img src='http://{ELSEWHERE}/a.png'>",
    f"[a link](javascript:alert(1)) ![a picture](http://{ELSEWHERE}/b.png) <a href='javascript:alert(1)'>another</a>",
    f"</textarea></td></table></dialog><style>@import 'http://{ELSEWHERE}/c.css'; main {{ display: none }}</style>",
    f"\"' autofocus onfocus=\"document.title = '{HURT}'\" x='",
    "{{ 7 * 7 }} {% raw %} ${7 * 7} &lt;b&gt; %3Cscript%3E",
    "from the right \u202e\u2067 to the left",
    "w" * 2000,
)
#: User -> role; the password is the name twice.
USERS = {"ada": "admin", "uli": "user", "vera": "viewer"}


@dataclass
class ReleasesWorld:
    """The running server.

    :param url: of Airflow.
    :param home: its ``AIRFLOW_HOME``.
    """

    url: str
    home: Path

    def ask(self, path: str, *, user: str | None = None, method: str = "GET", body: Any = None) -> Any:
        """Ask Airflow's REST API as a user and return its JSON."""
        headers = {"Content-Type": "application/json"}
        if user:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def token(self, user: str) -> str:
        """Return a token with which a program signs in."""
        return self.ask("/auth/token", method="POST", body={"username": user, "password": user * 2})["access_token"]


@contextmanager
def releases_world(folder: Path, airflow_database: str = "") -> Iterator[ReleasesWorld]:
    """Yield an Airflow with releases.

    :param airflow_database: SQLAlchemy's address of an empty database; by default, Airflow makes one in the folder.
    """
    with kserve(folder, settings=KServeSettings(default_mode="Knative")) as serving:
        release(serving.hook, MODEL, LIVE)
        serving.hook.deploy_candidate(version_of(MODEL, ROLLING))
        settled(serving.hook, MODEL, ROLLING)
        serving.hook.shift_traffic(MODEL, ROLLING, 20)
        settled(serving.hook, MODEL, ROLLING)
        database = folder / "mlflow.db"
        _fill_registry(database)
        _write_models(folder / "models")
        _write_report(folder / "store")
        env = _environment(folder, serving.connection, database, port=free_port())
        if airflow_database:
            env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = airflow_database
        subprocess.run([sys.executable, "-m", "tests.end_to_end.releases_runs"], env=env, cwd=ROOT, check=True)
        with _api_server(folder, env) as url:
            yield ReleasesWorld(url=url, home=folder)


def _environment(folder: Path, serving: Connection, database: Path, *, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    (folder / "passwords.json").write_text(json.dumps({name: name * 2 for name in USERS}))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return inherited | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_KUBERNETES_TEST": os.environ["AIRFLOW_CONN_KUBERNETES_TEST"],
        "AIRFLOW_CONN_SERVING_DEFAULT": json.dumps(
            {"conn_type": serving.conn_type, "host": serving.host, "extra": serving.extra_dejson}
        ),
        # Kept in Airflow's database, as a connection is that somebody made in the UI.
        "REGISTRY_TRACKING_URI": f"sqlite:///{database}",
        "MODELS_DIR": str(folder / "models"),
        "MODEL_STORE": (folder / "store").as_uri(),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }


@contextmanager
def _api_server(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    url = env["AIRFLOW__API__BASE_URL"]
    with (folder / "api-server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_up(url, process, folder / "api-server.log")
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def is_up() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-5000:]
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/v2/version", timeout=60):
            return True
        return False

    wait_for(is_up, lambda: f"Airflow's API server starts\n{log.read_text(errors='replace')[-5000:]}", pause=0.3)


def _write_models(folder: Path) -> None:
    folder.mkdir()
    sample = (ROOT / "include" / "models" / f"{MODEL}.yaml").read_text()
    for name in (MODEL, NEW_MODEL, BUSY_MODEL, HOSTILE_MODEL):
        (folder / f"{name}.yaml").write_text(sample.replace(f"name: {MODEL}", f"name: {name}"))
    with (folder / f"{NEW_MODEL}.yaml").open("a") as new:
        new.write("tasks: {pool: absent}\n")


def _write_report(store: Path) -> None:
    report = store / MODEL / FIRST / "report" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text(REPORT)


def register_hostile(database: Path) -> None:
    """Give the hostile model releases; by themselves they would cost each world seconds."""
    registry = _registry(database)
    start = datetime.strptime(HOSTILE_VERSION, "%Y%m%d%H%M%S")
    for number, words in enumerate(HOSTILE_WORDS):
        version = f"{start + timedelta(hours=number):%Y%m%d%H%M%S}"
        hostile = dict.fromkeys(("base_model", "code_revision", "dataset_uri", "pipeline_run_url", "trigger"), words)
        record = _record(HOSTILE_MODEL, version)
        registry.register(replace(record, facts={**record.facts, **hostile}), metrics=_metrics(0.9))
        registry.set_state(HOSTILE_MODEL, version, ReleaseState.LIVE, reason=words)


def _registry(database: Path) -> MlflowHook:
    extra = json.dumps({"tracking_uri": f"sqlite:///{database}"})
    return MlflowHook("registry", connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra))


def _fill_registry(database: Path) -> None:
    registry = _registry(database)
    for number, version in enumerate([FIRST, REJECTED, TAKEN_BACK, LIVE, ROLLING]):
        registry.register(_record(MODEL, version), metrics=_metrics(0.87 + number / 100))
        if version == REJECTED:
            registry.set_state(MODEL, version, ReleaseState.REJECTED, reason=GATE_LINE)
        elif version != ROLLING:
            registry.set_state(MODEL, version, ReleaseState.LIVE, reason="passed every test")
        if version == TAKEN_BACK:
            registry.set_state(MODEL, FIRST, ReleaseState.LIVE, reason="put back by ada: wrong on short texts")
            reason = f"rolled back to {FIRST} by ada: wrong on short texts"
            registry.set_state(MODEL, version, ReleaseState.ROLLED_BACK, reason=reason)
    registry.add_facts(MODEL, FIRST, {"report_uri": f"s3://elsewhere/{FIRST}/report/report.html"})
    alone = {"trigger": "pipeline", "pipeline_run_id": "a-run", "archive_sha256": "cd" * 32}
    registry.register(replace(_record("without-airflow", FIRST), facts=alone), metrics=_metrics(0.9))
    registry.set_state("without-airflow", FIRST, ReleaseState.LIVE, reason="released by its pipeline")
    registry.register(_record(BUSY_MODEL, busy_version(1)), metrics=_metrics(0.9))
    _multiply(database, BUSY_MODEL, BUSY_RELEASES)
    registry.set_state(BUSY_MODEL, busy_version(BUSY_RELEASES), ReleaseState.LIVE, reason="passed every test")


def _record(model: str, version: str) -> Release:
    facts = {
        "base_model": "scratch",
        "dag_id": f"release_{model.replace('-', '_')}",
        "dag_run_id": f"manual__{version}",
        "dataset_sha256": "ab" * 32,
        "code_revision": version[::-1],
        "pipeline_run_url": f"https://kubeflow.example/#/runs/details/{version}",
        "trigger": "scheduled",
    }
    state = ReleaseState.CANDIDATE
    return Release(model=model, version=version, state=state, archive_uri=f"s3://models/{version}", facts=facts)


def _metrics(macro_f1: float) -> dict[str, float]:
    scores = {"macro_f1": macro_f1, "accuracy": 0.9, "log_loss": 0.3, "expected_calibration_error": 0.02}
    who = {"candidate": 0.0, "live": -0.01, "baseline": -0.05}
    return {f"{name}.{metric}": value + less for name, less in who.items() for metric, value in scores.items()}


def busy_version(number: int) -> str:
    """Return the n-th version of the busy model."""
    return f"{datetime(2020, 1, 1) + number * timedelta(hours=6):%Y%m%d%H%M%S}"


def _multiply(database: Path, model: str, count: int) -> None:
    """Copy a model's only version: registering a thousand one by one would take minutes."""
    with sqlite3.connect(database) as store:
        columns = [row[1] for row in store.execute("pragma table_info(model_versions)")]
        row = dict(
            zip(columns, store.execute("select * from model_versions where name = ?", [model]).fetchone(), strict=True)
        )
        tags = store.execute("select key, value from model_version_tags where name = ?", [model]).fetchall()
        marks = ", ".join("?" * len(columns))
        for number in range(2, count + 1):
            row["version"] = number
            store.execute(f"insert into model_versions ({', '.join(columns)}) values ({marks})", list(row.values()))
            store.executemany(
                "insert into model_version_tags (name, version, key, value) values (?, ?, ?, ?)",
                [
                    (model, number, key, busy_version(number) if key == "release.version" else value)
                    for key, value in tags
                ],
            )
    store.close()
