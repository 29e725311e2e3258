"""docker-compose.yaml on a real engine: it comes up, releases, survives its own parts, and keeps its secrets.

``make test-compose`` runs it. The tests build on one installation, in the order in which they stand here.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from deploy.compose.tracking_proxy import ROUTES
from tests.compose import attack_on_registry
from tests.compose.stack import MODEL, NATIVE, NATIVE_DAG, Stack, docker, installation, models_dir, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]

#: Which of the secrets a service's environment may hold.
AIRFLOW = {"AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY", "AIRFLOW_DB_PASSWORD"}
MAY_KNOW = {
    "postgres": {"POSTGRES_PASSWORD", "AIRFLOW_DB_PASSWORD", "MLFLOW_DB_PASSWORD"},
    "init": AIRFLOW,
    "api-server": AIRFLOW | {"AIRFLOW_PASSWORDS"},
    "scheduler": AIRFLOW,
    "dag-processor": AIRFLOW,
    "triggerer": AIRFLOW,
    "mlflow": {"MLFLOW_DB_PASSWORD"},
    "pipelines": set(),
    "tracking": set(),
    "torchserve": set(),
    "native": set(),
}
IMAGES = ("airflow", "airflow-with-pipelines", "mlflow")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    # Not below pytest's own folder, which no other user can enter.
    with (
        tempfile.TemporaryDirectory(prefix="models-") as folder,
        installation(MODELS_DIR=str(models_dir(Path(folder)))) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
def backup(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a back-up of what is there when it is first asked for."""
    folder = tmp_path_factory.mktemp("backups") / "first"
    stack.make("backup", BACKUP=str(folder))
    return folder


def test_the_env_file_is_private_and_never_written_over(stack: Stack) -> None:
    before = stack.env_file.read_text()
    assert stack.env_file.stat().st_mode & 0o777 == 0o600
    assert "stays as it is" in stack.make("env")
    assert stack.env_file.read_text() == before


def test_a_release_asked_for_with_a_password_completes_and_answers(stack: Stack) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        stack.token(password="wrong")
    assert refusal.value.code == 401

    run = stack.release()
    assert stack.wait(run) == "success", stack.why(run)
    version = stack.live()
    assert version
    # What the Releases page shows lies in PostgreSQL.
    assert stack.sql("mlflow", "SELECT value FROM model_version_tags WHERE key = 'release.version'") == version
    assert stack.sql("airflow", f"SELECT state FROM dag_run WHERE run_id = '{run}'") == "success"
    assert stack.training_runs() == 1


def test_a_native_model_is_released_switched_and_put_back_without_losing_a_request(stack: Stack) -> None:
    run = stack.release(NATIVE_DAG)
    assert stack.wait(run, NATIVE_DAG) == "success", stack.why(run, NATIVE_DAG)
    first, other = stack.live(NATIVE), stack.live()
    assert first
    assert other, "the other model goes on where it is"
    with stack.users(NATIVE) as users:
        run = stack.release(NATIVE_DAG, seed=2)
        assert stack.wait(run, NATIVE_DAG) == "success", stack.why(run, NATIVE_DAG)
        second = stack.live(NATIVE)
        undo = NATIVE_DAG.replace("release_", "roll_back_", 1)
        run = stack.release(undo, reason="to see it come back")
        assert stack.wait(run, undo) == "success", stack.why(run, undo)
        assert stack.live(NATIVE) == first
    assert {*users.answers} == {first, second}
    assert first != second

    with urllib.request.urlopen(f"{stack.native_metrics}/metrics") as page:
        numbers = page.read().decode()
    assert f'model_server_ready{{model="{NATIVE}",version="{first}"}} 1' in numbers
    # Airflow's workers ask, and start no server of their own.
    assert "include.classifier.native" in processes(stack, "native")
    assert "include.classifier.native" not in processes(stack, "scheduler")


def test_the_native_servers_come_back_and_end_without_being_killed(stack: Stack) -> None:
    live = stack.live(NATIVE)
    stack.compose("kill", "native")
    assert stack.live(NATIVE) is None
    start(stack, "native")
    assert stack.live(NATIVE) == live
    stack.compose("stop", "native")
    assert stack.inspect("native")["State"]["ExitCode"] == 0
    start(stack, "native")
    assert stack.live(NATIVE) == live


def test_a_viewer_may_look_and_not_release(stack: Stack) -> None:
    import httpx

    headers = {"Authorization": f"Bearer {stack.token('viewer')}"}
    dag = f"{stack.airflow}/api/v2/dags/release_sample_reviews"
    assert httpx.get(dag, headers=headers).status_code == 200
    answer = httpx.post(f"{dag}/dagRuns", headers=headers, json={"logical_date": None})
    assert answer.status_code == 403


def test_what_trains_cannot_write_the_record_of_what_is_live(stack: Stack) -> None:
    def attack(service: str, python: str, *routes: str) -> dict[str, Any]:
        words = ("mlflow:5000", MODEL, number, *routes)
        text = Path(attack_on_registry.__file__).read_text()
        return json.loads(stack.compose("exec", "-T", service, python, "-c", text, *words).splitlines()[-1])

    number = stack.sql("mlflow", f"SELECT max(version) FROM model_versions WHERE name = '{MODEL}'")
    told = stack.compose("exec", "-T", "mlflow", "python", "-c", attack_on_registry.ROUTES_OF_THE_SERVER)
    routes = json.loads(told.splitlines()[-1])
    assert len(routes) > 400
    recorded = registry(stack)
    tried = attack("pipelines", "/opt/venv/bin/python", json.dumps(routes))
    assert tried["done"] == []
    assert {(method, path) for method, path in tried["handed on"]} == ROUTES
    assert registry(stack) == recorded
    # Whoever needs the registry reaches it, or all of this would say nothing.
    assert {"tag", "alias", "stage", "new version"} <= set(attack("scheduler", "/opt/airflow/bin/python")["done"])
    assert registry(stack) != recorded


def test_what_trains_reaches_no_other_service_by_its_address(stack: Stack) -> None:
    def networks(service: str) -> list[dict[str, Any]]:
        return list(stack.inspect(service)["NetworkSettings"]["Networks"].values())

    ports = {"mlflow": 5000, "postgres": 5432, "api-server": 8080, "torchserve": 8085, "tracking": 5000}
    ports |= {"native": 8088}
    doors = {f"{network['IPAddress']}:{port}": name for name, port in ports.items() for network in networks(name)}
    (own,) = networks("pipelines")
    doors |= {f"{own['Gateway']}:{url.rpartition(':')[2]}": f"host, {url}" for url in stack.published}
    told = stack.compose("exec", "-T", "pipelines", "python", "-c", WHICH_ARE_OPEN, *doors)
    assert [doors[door] for door in told.split()] == ["tracking"]


def test_no_container_has_more_rights_than_it_needs(stack: Stack) -> None:
    for service in MAY_KNOW:
        container = stack.inspect(service)
        host, config = container["HostConfig"], container["Config"]
        assert host["ReadonlyRootfs"] and not host["Privileged"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] and host["PidsLimit"], service
        # PostgreSQL's own entrypoint makes its folders as root and then becomes the user postgres.
        assert config["User"] == ("" if service == "postgres" else "1000:0"), service
        for bindings in (host["PortBindings"] or {}).values():
            assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}, service
    assert stack.compose("exec", "-T", "postgres", "sh", "-c", "cat /proc/[0-9]*/comm").count("postgres")


def test_a_secret_is_known_only_to_the_services_that_need_it(stack: Stack) -> None:
    settings = stack.settings
    all_of_them = {name: settings[name] for names in MAY_KNOW.values() for name in names}
    for service, may_know in MAY_KNOW.items():
        told = json.dumps(stack.inspect(service))
        for name, secret in all_of_them.items():
            values = stack.passwords.values() if name == "AIRFLOW_PASSWORDS" else [secret]
            assert any(value in told for value in values) == (name in may_know), f"{service} {name}"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_tells_no_secret_and_has_no_file_for_one(stack: Stack, image: str) -> None:
    name = image_name(stack, image)
    told = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", name) + docker("image", "inspect", name)
    assert not [secret for secret in secrets(stack) if secret in told]
    # An address of a package index may have a password in it.
    assert "PIP_INDEX_URL=" not in told and "PIP_EXTRA_INDEX_URL=" not in told
    names = "-name .env -o -name .env.* -o -name .git -o -name secrets.json -o -name .netrc -o -name .pypirc"
    assert docker("run", "--rm", "--user", "0", "--network", "none", name, *f"find / -xdev {names}".split()) == ""


def test_no_layer_of_any_image_holds_a_secret(stack: Stack) -> None:
    # What is saved has every layer as it is, and with it what a later layer may have deleted.
    names = [image_name(stack, image) for image in IMAGES]
    with subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE) as save:
        assert save.stdout
        assert find_any(save.stdout, [b"kubeflow_provider", *(secret.encode() for secret in secrets(stack))]) == {
            b"kubeflow_provider"  # so that nobody looks into nothing
        }
    assert save.returncode == 0


@pytest.mark.parametrize(("image", "has"), [("airflow", False), ("airflow-with-pipelines", True)])
def test_only_the_embedded_world_carries_the_pipeline_half(stack: Stack, image: str, has: bool) -> None:
    listed = docker("run", "--rm", "--network", "none", image_name(stack, image), "ls", "/opt").split()
    assert ("venv" in listed) is has


def test_mlflow_finds_its_database_up_to_date_and_can_upgrade_it(stack: Stack) -> None:
    # docs/compose.md names this command for a change of MLflow's version.
    stack.compose("run", "--rm", "-T", "mlflow", "sh", "-c", 'mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"')
    assert len(versions(stack)) == 1


def test_every_service_may_be_killed_during_a_release(stack: Stack, backup: Path) -> None:
    before, trainings = stack.live(), stack.training_runs()
    runs = [release_that_trains(stack, seed=2)]
    stack.compose("kill", "torchserve")
    assert stack.live() is None
    start(stack, "torchserve")
    assert stack.live() == before
    for service in ("triggerer", "scheduler", "api-server", "postgres", "mlflow", "tracking", "dag-processor"):
        if stack.task_state(runs[-1], "train") != "deferred":
            # This machine trains faster than it restarts services: the others are killed during another release.
            assert stack.wait(runs[-1]) == "success", stack.why(runs[-1])
            runs.append(release_that_trains(stack, seed=20 + len(runs)))
        with stack.users() as users:
            stack.compose("kill", service)
            start(stack, service)
        assert users.answers
        assert None not in users.answers, f"the endpoint did not answer while {service} was away"

    for run in runs:
        assert stack.wait(run) == "success", stack.why(run)
    assert stack.training_runs() == trainings + len(runs)
    assert stack.live() == versions(stack)[-1] != before


def test_a_training_that_is_killed_with_its_container_begins_again_and_its_release_ends(stack: Stack) -> None:
    before, trainings = stack.live(), stack.training_runs()
    run = stack.release(seed=3)
    wait_for(lambda: stack.training_runs() == trainings + 1, "the training is asked for")
    wait_for(lambda: stack.compose("logs", "pipelines").count(" was started") == trainings + 1, "the training begins")
    with stack.users() as users:
        stack.compose("kill", "pipelines")
        start(stack, "pipelines")
    assert users.answers
    assert None not in users.answers, "the endpoint did not answer while pipelines was away"

    assert stack.wait(run) == "success", stack.why(run)
    assert "was interrupted and waits for its turn again" in stack.compose("logs", "pipelines")
    assert stack.training_runs() == trainings + 1
    assert stack.live() != before


def test_the_live_version_answers_again_after_a_reboot(stack: Stack) -> None:
    live, trainings, recorded = stack.live(), stack.training_runs(), versions(stack)
    native = stack.live(NATIVE)
    stack.make("down")
    assert stack.live() is None
    stack.make("up")
    assert (stack.live(), stack.live(NATIVE)) == (live, native)
    assert native
    assert stack.training_runs() == trainings
    assert versions(stack) == recorded


def test_a_back_up_takes_the_place_of_what_came_after_it(stack: Stack, backup: Path) -> None:
    assert not [path for path in (backup, *backup.iterdir()) if path.stat().st_mode & 0o077]
    later = versions(stack)
    assert len(later) >= 3
    stack.make("restore", BACKUP=str(backup))
    assert versions(stack) == later[:1]
    assert stack.live() == later[0]
    # What was restored can be worked with.
    run = stack.release(seed=4)
    assert stack.wait(run) == "success", stack.why(run)
    assert stack.live() == versions(stack)[-1] != later[0]


def test_a_back_up_fills_an_empty_installation(stack: Stack, backup: Path) -> None:
    stack.compose("down", "--volumes")
    stack.make("up")
    assert stack.live() is None
    assert not versions(stack)
    stack.make("restore", BACKUP=str(backup))
    (version,) = versions(stack)
    assert stack.live() == version
    assert stack.live(NATIVE)
    releases = "SELECT count(*) FROM dag_run WHERE dag_id = 'release_sample_reviews' AND state = 'success'"
    assert stack.sql("airflow", releases) == "1"


#: Prints those of its arguments, as host:port, that take a connection.
WHICH_ARE_OPEN = """
import socket, sys
for door in sys.argv[1:]:
    host, _, port = door.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        continue
    print(door)
"""


def registry(stack: Stack) -> list[str]:
    """Return all that MLflow's registry holds."""
    tables = ("registered_models", "registered_model_tags", "registered_model_aliases", "model_versions")
    return [stack.sql("mlflow", f"SELECT * FROM {table} ORDER BY 1, 2") for table in (*tables, "model_version_tags")]


def release_that_trains(stack: Stack, *, seed: int) -> str:
    """Start a release that trains for minutes; return its DAG run when the training is waited for."""
    run = stack.release(epochs=12, seed=seed)
    wait_for(lambda: stack.task_state(run, "train") == "deferred", "the training is waited for")
    return run


def start(stack: Stack, service: str) -> None:
    """Start a service that was killed, and wait until it is healthy."""
    stack.compose("up", "--detach", "--no-build", "--no-deps", "--wait", service)


def image_name(stack: Stack, image: str) -> str:
    return f"kubeflow-model-release-{image}:{stack.settings['IMAGE_TAG']}"


def secrets(stack: Stack) -> list[str]:
    """Return everything secret in the ``.env``."""
    keys = [value for name, value in stack.settings.items() if name.endswith(("_PASSWORD", "_KEY", "_SECRET"))]
    assert len(keys) == 6
    return [*keys, *stack.passwords.values()]


def find_any(stream: IO[bytes], wanted: list[bytes]) -> set[bytes]:
    """Return which of some texts occur in a stream, which may be larger than the memory."""
    longest = max(map(len, wanted))
    found, end = set(), b""
    while block := stream.read(1 << 24):
        end += block
        found |= {text for text in wanted if text not in found and text in end}
        end = end[-longest:]
    return found


def versions(stack: Stack) -> list[str]:
    """Return the recorded releases, the oldest first."""
    query = f"SELECT value FROM model_version_tags WHERE key = 'release.version' AND name = '{MODEL}' ORDER BY value"
    return stack.sql("mlflow", query).split()


def processes(stack: Stack, service: str) -> str:
    """Return the command lines of a service's processes."""
    return stack.compose("exec", "-T", service, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
