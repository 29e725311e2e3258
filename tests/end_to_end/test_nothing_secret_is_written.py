"""Forty secrets are planted, releases succeed and fail with them, and nothing that is written or shown holds one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alert_listener import Listener, alert_listener
from tests.end_to_end.embedded_world import PROJECT, EmbeddedWorld, request_json
from tests.end_to_end.planted_marks import WRITTEN_BY_THE_USER, Marks, command_lines, quoting_server
from tests.serving_support import free_port
from tests.toy_package import LABELS
from tests.waiting import wait_for

pytestmark = [
    *(pytest.mark.airflow, pytest.mark.torchserve, pytest.mark.pipelines, pytest.mark.long),
    pytest.mark.timeout(1800),
]

#: What the world keeps its own secrets in, for the owner alone; Airflow's database is looked through by column.
OWN = ("secrets.json", "passwords.json", "airflow.cfg", "airflow.db", "airflow.db-wal", "airflow.db-shm")
ON_PURPOSE = "shown on purpose, at the end"
GOOD, AWAY = "toy", ("toy-registry", "toy-pipelines", "toy-serving")
ROWS = "\n".join(["text,label", *(f'"{label} place number {n}",{label}' for n in range(40) for label in LABELS)])


@dataclass
class Story:
    """What was planted and what came of it.

    :ivar ends: why each run in Airflow ended as it did, the first of its tasks that failed.
    :ivar shown: what a person or a program was shown, by where.
    :ivar arguments: secret -> programs in whose arguments it stood.
    """

    world: EmbeddedWorld
    marks: Marks
    signed: str
    ends: list[str] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, set[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("planted")
    marks = Marks()
    login = marks.pair("a source")
    with ExitStack() as stack:
        server, asked = stack.enter_context(quoting_server({"/train.csv": (login, ROWS.encode())}))
        listener, alert_url = stack.enter_context(alert_listener())
        signed = f"http://{login}@{server}/train.csv?X-Amz-Signature={marks('signature')}&X-Amz-Security-Token={marks('token')}"
        environment = {
            **_process_environment(marks, folder),
            **_connections(marks, folder, server),
            "ALERT_URL": f"json://{marks.pair('the alerts')}@{alert_url.split('/')[2]}/{marks('path of the alerts')}",
            "MODELS_DIR": str(_models(folder, signed)),
            "ALLOWED_SOURCES": "*",
        }
        world = EmbeddedWorld(folder / "state", **environment)
        story = Story(world, marks, signed, asked=asked)
        story.arguments = stack.enter_context(command_lines(marks))
        try:
            _play(story, server, listener)
            yield story
        finally:
            world.make("stop")


def _process_environment(marks: Marks, folder: Path) -> dict[str, str]:
    """Return what the processes are started with."""
    home = folder / "home"
    home.mkdir()
    user, password = marks.pair(".netrc").split(":")
    (home / ".netrc").write_text(f"machine 127.0.0.1 login {user} password {password}\n")
    names = (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_API_KEY"),
        *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY"),
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        *("AIRFLOW__SMTP__SMTP_PASSWORD", "DATABASE_URL", "SOME_API_KEY"),
    )
    proxy = f"http://{marks.pair('a proxy')}@127.0.0.1:{free_port()}"
    return {name: marks(name) for name in names} | {
        "HOME": str(home), "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "HF_ENDPOINT": f"http://127.0.0.1:{free_port()}",
    }  # fmt: skip


def _connections(marks: Marks, folder: Path, server: str) -> dict[str, str]:
    """Return connections of the good world, and of those of whose services one does not let us in."""

    def connection(conn_type: str, what: str, *, host: str = "", **extra: Any) -> str:
        login, password = marks.pair(what).split(":")
        extra = {"outage_seconds": 1, **extra}
        return json.dumps({"conn_type": conn_type, "host": host, "login": login, "password": password, "extra": extra})

    state, python = folder / "state", str(PROJECT / ".venv" / "pipelines" / "bin" / "python")
    away = f"http://{server}"
    proxied = {"namespace": "team", "authentication": "basic"}
    cluster = {
        "clusters": [{"name": "c", "cluster": {"server": away}}],
        "users": [{"name": "u", "user": {"token": marks("token of a cluster")}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x", "apiVersion": "v1", "kind": "Config",
    }  # fmt: skip
    made = {
        "pipelines_default": connection(
            "local_pipelines", "the pipelines", python=python, project_dir=str(PROJECT), runs_dir=str(state / "runs"),
            token=marks("extra of the pipelines"),
        ),
        "registry_default": connection(
            "mlflow", "the registry", tracking_uri=f"sqlite:///{state}/mlflow.db", token=marks("token of the registry")
        ),
        "model_store": connection("generic", "the store", key=marks("extra of the store")),
        "pipelines_away": connection(
            "kubeflow_pipelines", "pipelines elsewhere", host=away, **proxied, kubernetes_conn_id="kubernetes_away",
            client_secret=marks("client secret"),
        ),
        "serving_away": connection(
            "kserve", "serving elsewhere", host=away, **proxied, door="gateway", kubernetes_conn_id="kubernetes_away"
        ),
        "kubernetes_away": connection("kubernetes", "a cluster", kube_config=json.dumps(cluster)),
        "registry_away": connection(
            "mlflow", "a registry elsewhere", tracking_uri=f"http://{marks.pair('the address of MLflow')}@{server}"
        ),
    }  # fmt: skip
    return {f"AIRFLOW_CONN_{name.upper()}": value for name, value in made.items()}


def _models(folder: Path, signed: str) -> Path:
    """Write the models: one that can be released, and one for each service that lets nobody in."""
    models = folder / "models"
    models.mkdir()
    (models / "train.csv").write_text(ROWS)
    elsewhere = {
        GOOD: {"store": "model_store"},
        "toy-unavailable": {},
        "toy-registry": {"registry": "registry_away"},
        "toy-pipelines": {"pipelines": "pipelines_away"},
        "toy-serving": {"serving": "serving_away"},
    }
    for name, connections in elsewhere.items():
        settings = {
            "name": name,
            "pipeline": "tests/test_pipelines/publish_toy_package.yaml",
            "data": {
                "train": signed if name == GOOD else str(models / "train.csv"),
                "labels": list(LABELS),
                "min_evaluation_rows": 2,
            },
            "training": {"base_model": "sound"},
            "connections": connections,
            "cluster": {"image": "example/image:1"},
        }
        (models / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    return models


def _refused_sources(marks: Marks, server: str) -> list[str]:
    """Return addresses of every kind that cannot be read, with what is secret of them."""
    return [
        f"http://{marks.pair('a wrong login')}@{server}/train.csv",
        f"http://{server}/a.csv?sv=2024-11-04&se=2027&sp=r&sig={marks('signature of Azure')}",
        f"http://{server}/b.csv?GoogleAccessId=me&X-Goog-Signature={marks('signature of Google')}",
        f"HTTP://{marks.pair('an address in capitals')}@{server}/c.csv#token={marks('fragment')}",
        f"simplecache::http://{marks.pair('a chain')}@{server}/d.csv?sig={marks('signature in a chain')}",
        f"zip://x.csv::https://{marks.pair('an archive')}@{server}/d.zip",
        f"postgresql://{marks.pair('a database')}@{server}/e.csv",
        f"az://container/f.csv?sig={marks('signature of a container')}",
        f"gs://bucket/g.csv?X-Goog-Signature={marks('signature of a bucket')}",
        f"abfss://container:{marks('key of an account')}@account.example/h.csv",
        f"ftp://{marks.pair('an FTP server')}@{server}/i.csv",
        f"me:{marks('password of a mistyped address')}@{server}:/j.csv",
        f"http://me:{marks('password with a slash')}/@{server}/k.csv",
        f"hub:https://{marks('token of the Hub')}@huggingface.co/owner/name",
    ]


def _play(story: Story, server: str, listener: type[Listener]) -> None:
    """Release from a terminal, then in a running Airflow: well, with a broken model, and with all that goes wrong."""
    world, marks = story.world, story.marks
    world.env |= {"TRAIN": story.signed, "DATA": story.signed.replace("/train.csv", "/nowhere.csv")}
    story.shown["make release"] = _said(world.make("release", MODEL=GOOD))
    story.shown["make preview"] = _said(world.make("preview", MODEL=GOOD))
    del world.env["TRAIN"]
    started = world.make("airflow")
    assert started.returncode == 0, started.stdout + started.stderr
    token = world.token(started.stdout)
    listener.refuse = listener.calls + 4
    unavailable = f"http://{marks.pair('a server that is away')}@127.0.0.1:{free_port()}/a.csv?token={marks('a token')}"
    stories: list[tuple[str, dict[str, Any]]] = [
        *((name, {}) for name in AWAY),
        (GOOD, {"train": _refused_sources(marks, server)}),
        ("toy-unavailable", {"train": [unavailable]}),
        ("toy-pipelines", {"train": [story.signed]}),
        (GOOD, {"base_model": f"https://{marks.pair('a base model')}@{server}/model"}),
        (GOOD, {"base_model": "labels permuted"}),
        ("toy-unavailable", {"base_model": "pipeline fails", "train": [story.signed]}),
    ]
    runs = [_trigger(world, token, model, conf) for model, conf in stories]
    story.ends += [_end(story, token, run) for run in runs]
    _end(story, token, _trigger(world, token, "watch_releases", {}))
    _look_at_the_pages(story, token)
    story.shown["make status"] = _said(world.make("status"))
    story.shown["alerts"] = json.dumps(listener.alerts)
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()", marks(ON_PURPOSE)]
    with subprocess.Popen(waits, stdin=subprocess.PIPE):
        wait_for(lambda: ON_PURPOSE in story.arguments, "whoever looks at arguments sees one")


def _trigger(world: EmbeddedWorld, token: str, model: str, conf: dict[str, Any]) -> str:
    dag_id = model if model == "watch_releases" else f"release_{model.replace('-', '_')}"
    runs, run = f"{world.airflow}/api/v2/dags/{dag_id}/dagRuns", dict[str, Any]()

    def is_triggered() -> bool:
        with suppress(OSError):  # the DAG is not parsed yet
            run.update(request_json(runs, {"logical_date": None, "conf": conf}, token))
        return bool(run)

    wait_for(is_triggered, f"{dag_id} is parsed", pause=1)
    return f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"


def _end(story: Story, token: str, run: str) -> str:
    """Wait until a run is over, and return which of its tasks failed first."""
    url = f"{story.world.airflow}/api/v2{run}"
    wait_for(lambda: request_json(url, token=token)["state"] in ("success", "failed"), run, pause=1)
    instances = request_json(f"{url}/taskInstances", token=token)["task_instances"]
    story.shown[run] = json.dumps(instances)
    failed = [task for task in instances if task["state"] == "failed"]
    return min(failed, key=lambda task: task["end_date"])["task_id"] if failed else "success"


def _look_at_the_pages(story: Story, token: str) -> None:
    """Open the Releases page of every model and version, those that cannot be read as well."""
    world = story.world
    versions = sorted(path.name for path in (world.state / "store" / GOOD).iterdir())
    pages = ["/releases/", f"/releases/models/{GOOD}/compare?one={versions[0]}&other={versions[-1]}"]
    pages += [f"/releases/models/{name}" for name in (GOOD, *AWAY)]
    for version in versions:
        pages += [f"/releases/models/{GOOD}/versions/{version}{more}" for more in ("", "/report")]
    for page in pages:
        asked = urllib.request.Request(f"{world.airflow}{page}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                story.shown[page] = answer.read().decode()
        except urllib.error.HTTPError as error:
            story.shown[page] = error.read().decode()


def _said(answer: Any) -> str:
    return f"{answer.stdout}\n{answer.stderr}"


def test_the_story_was_played(story: Story) -> None:
    assert len(set(story.marks.names.values())) >= 40
    assert "Done in" in story.shown["make release"], story.shown["make release"]
    ends = ["check", "check", "check", "preprocess", "preprocess", "check", "check", "smoke_test", "train"]
    assert story.ends[: len(ends)] == ends
    (login,) = [mark for mark, what in story.marks.names.items() if what == "login of a source"]
    assert any(login in asked for asked in story.asked)
    assert "smoke_test" in story.shown["alerts"], "what was refused at first arrived at last"


def test_nobody_was_shown_a_secret(story: Story) -> None:
    found = {where: seen for where, text in story.shown.items() if (seen := story.marks.found(text.encode()))}
    assert found == {}


def test_no_process_had_one_in_its_arguments(story: Story) -> None:
    assert story.arguments.keys() == {ON_PURPOSE}, story.arguments


def test_no_file_holds_one(story: Story) -> None:
    found, files = story.marks.in_files(story.world.state, without=OWN)
    assert files > 50
    assert found == {}


def test_airflows_database_holds_them_where_the_user_wrote_them_alone(story: Story) -> None:
    found = story.marks.in_database(story.world.state / "airflow" / "airflow.db")
    assert found.pop(("dag_run", "conf"))
    assert {place: seen for place, seen in found.items() if place not in WRITTEN_BY_THE_USER} == {}
