"""What can be said of docker-compose.yaml and its scripts without an engine."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from airflow.sdk import Connection
from cryptography.fernet import Fernet

from deploy.compose.tracking_proxy import PORT
from local_services.native_server.settings import NativeServerSettings
from local_services.pipelines.settings import LocalPipelinesSettings
from local_services.roles import Role
from local_services.torchserve.settings import TorchServeSettings
from local_services.version_servers.processes import STOP_SECONDS

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_is_locked_down_and_has_limits(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"memory", "pids"} <= service["deploy"]["resources"]["limits"].keys(), name
        assert service["restart"] == ("no" if name == "init" else "unless-stopped"), name


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"init"}


def test_no_image_remembers_the_package_index_that_it_was_built_from() -> None:
    # Docker writes a stage's build arguments into the history of its image, and an index's address may hold a password.
    stages: dict[str, tuple[str, set[str]]] = {}
    name = ""
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"FROM (\S+)(?: AS (\S+))?", line):
            name = match[2] or "last"
            stages[name] = (match[1], set())
        elif name and (argument := re.match(r"ARG (\w+)", line)):
            stages[name][1].add(argument[1])
    assert {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"} <= stages["environment"][1]
    for target in ("airflow", "airflow-with-pipelines", "mlflow", "last"):
        while target in stages:
            base, arguments = stages[target]
            assert not [argument for argument in arguments if argument.startswith("PIP_")], target
            target = base


def test_only_what_needs_the_database_reaches_it(services: dict[str, Any]) -> None:
    outside = {name for name, service in services.items() if "database" not in service["networks"]}
    assert outside == {"pipelines", "torchserve", "native", "tracking"}
    assert not [name for name in outside if "PASSWORD" in json.dumps(services[name])]


def test_what_trains_reaches_the_tracking_of_mlflow_and_no_other_service(services: dict[str, Any]) -> None:
    (network,) = services["pipelines"]["networks"]
    assert {name for name, service in services.items() if network in service["networks"]} == {"pipelines", "tracking"}
    # There it has the name that the connection gives to every training, and asks the true MLflow under another one.
    proxy, mlflow = services["tracking"], services["mlflow"]
    (alias,) = proxy["networks"][network]["aliases"]
    assert connection("REGISTRY_DEFAULT").extra_dejson["tracking_uri"] == f"http://{alias}:{PORT}"
    upstream = proxy["command"][-1].removeprefix("http://")
    assert upstream in mlflow["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    (shared,) = proxy["networks"].keys() & mlflow["networks"].keys()
    assert upstream.partition(":")[0] in mlflow["networks"][shared]["aliases"]


def test_the_trial_world_and_the_cluster_world_have_one_scheduler_each(services: dict[str, Any]) -> None:
    profiles = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert profiles == {
        "scheduler": ["embedded"],
        "pipelines": ["embedded"],
        "tracking": ["embedded"],
        "torchserve": ["embedded"],
        "native": ["embedded"],
        "scheduler-kubeflow": ["kubeflow"],
    }
    assert "with-pipelines" not in services["scheduler-kubeflow"]["image"]


def test_the_connections_are_what_the_hooks_expect() -> None:
    pipelines = LocalPipelinesSettings.from_connection(connection("PIPELINES_DEFAULT"))
    assert pipelines.worker
    client = TorchServeSettings.of(connection("SERVING_DEFAULT"))
    server = TorchServeSettings.of(connection("TORCHSERVE_SERVER"))
    assert (client.role, server.role) == (Role.CLIENT, Role.SERVER)
    assert (client.state_dir, client.socket_dir, client.port) == (server.state_dir, server.socket_dir, server.port)
    assert client.public_address == "http://127.0.0.1:8085"
    asks, runs = (NativeServerSettings.of(connection(name)) for name in ("SERVING_NATIVE", "NATIVE_SERVER"))
    assert (asks.role, runs.role) == (Role.CLIENT, Role.SERVER)
    assert (asks.state_dir, asks.socket_dir, asks.port) == (runs.state_dir, runs.socket_dir, runs.port)
    assert asks.public_address == "http://127.0.0.1:8088"
    assert {client.state_dir, client.socket_dir}.isdisjoint({asks.state_dir, asks.socket_dir})
    assert connection("REGISTRY_DEFAULT").extra_dejson["tracking_uri"] == "http://mlflow:5000"


def test_what_serves_shares_its_folder_with_airflow_and_with_nothing_else(services: dict[str, Any]) -> None:
    for volume, own in (("serving", "torchserve"), ("native", "native")):
        mounts = {
            name: [mount for mount in service.get("volumes", []) if mount.startswith(f"{volume}:")]
            for name, service in services.items()
        }
        assert {name for name, found in mounts.items() if found} == {"api-server", "scheduler", "triggerer", own}
        assert len({mount for found in mounts.values() for mount in found}) == 1
        assert services[own]["volumes"] == mounts[own], "nothing besides"
        assert services[own]["networks"] == ["serving"]
    # The orders are given over the folder: no port is for them.
    native = services["native"]
    inside = {port.rpartition(":")[2] for port in native["ports"]}
    assert inside == {"8088", native["command"][-1]}
    assert str(NativeServerSettings.of(connection("NATIVE_SERVER")).run_dir("any")) in native["healthcheck"]["test"][1]


def test_the_native_servers_have_the_time_to_answer_what_is_under_way(services: dict[str, Any]) -> None:
    grace = int(services["native"]["stop_grace_period"].removesuffix("s"))
    assert grace > 2 * STOP_SECONDS  # the router, and then the servers


def connection(name: str) -> Connection:
    """Read a connection as compose does, with the default of each variable."""
    text = (COMPOSE / "embedded.env").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith(f"AIRFLOW_CONN_{name}="))
    fields = json.loads(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", line.partition("=")[2]))
    return Connection(conn_id=name.lower(), **fields | {"extra": json.dumps(fields["extra"])})


def make_env(file: Path, *world: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(COMPOSE / "make_env.sh"), str(file), *world]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read_env(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.processes
def test_an_env_file_has_keys_that_work_and_is_nobody_elses(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert make_env(file).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    env = read_env(file)
    Fernet(env["AIRFLOW_FERNET_KEY"])
    assert len(env["AIRFLOW_JWT_SECRET"]) >= 64
    passwords = json.loads(env["AIRFLOW_PASSWORDS"].strip("'"))
    users = [user.partition(":")[0] for user in env["AIRFLOW_USERS"].split(",")]
    assert sorted(passwords) == sorted(users)
    # They stand in database URLs as they are.
    assert all(re.fullmatch(r"[\w-]{20,}", env[name]) for name in env if name.endswith("_PASSWORD"))
    another = tmp_path / "another.env"
    make_env(another, "kubeflow")
    secrets = {value for name, value in env.items() if re.search(r"_(KEY|SECRET|PASSWORDS?)$", name)}
    assert len(secrets) == 7
    assert not secrets & set(read_env(another).values())


@pytest.mark.processes
def test_make_takes_files_and_folders_whose_names_have_spaces(tmp_path: Path) -> None:
    file = tmp_path / "of staging" / ".env"
    file.parent.mkdir()

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", f"ENV_FILE={file}", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    answer = make("env", "WORLD=kubeflow")
    assert answer.returncode == 0, answer.stderr
    assert read_env(file)["COMPOSE_PROFILES"] == "kubeflow"
    for target in ("up", "backup", "restore"):
        printed = make("--dry-run", target, "BACKUP=backups/of today").stdout
        words = [word for line in printed.splitlines() for word in shlex.split(line)]
        assert str(file) in words
        assert target == "up" or "backups/of today" in words


@pytest.mark.processes
def test_an_env_file_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("mine")
    answer = make_env(file)
    assert answer.returncode == 0
    assert "stays as it is" in answer.stdout
    assert file.read_text() == "mine"


@pytest.mark.processes
def test_an_unknown_world_is_named(tmp_path: Path) -> None:
    answer = make_env(tmp_path / ".env", "mars")
    assert answer.returncode == 2
    assert "WORLD=mars" in answer.stderr
    assert not list(tmp_path.iterdir())


class Health(BaseHTTPRequestHandler):
    """Answers as Airflow's API server does."""

    parts: ClassVar[dict[str, Any]] = {"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}

    def do_GET(self) -> None:
        """Send the parts' health."""
        self.send_response(200 if self.path == "/health" else 500)
        self.end_headers()
        self.wfile.write(json.dumps(self.parts).encode())

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "part", "complaint"),
    [
        ("/health", [], ""),
        ("/health", ["scheduler"], ""),
        ("/health", ["triggerer"], "triggerer: unhealthy"),
        ("/health", ["dag_processor"], "dag_processor"),
        ("/down", [], "500"),
    ],
)
@pytest.mark.processes
def test_a_health_check_says_what_is_wrong(url: str, path: str, part: list[str], complaint: str) -> None:
    command = [sys.executable, str(COMPOSE / "healthy.py"), url + path, *part]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode == 0) is (complaint == "")
    assert complaint in answer.stderr
