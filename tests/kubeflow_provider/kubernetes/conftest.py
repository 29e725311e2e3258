"""A cluster in which a module can run, and the shortest way to run one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.kubernetes import module_pod, pod_start
from kubeflow_provider.kubernetes.module_pod import ModulePod
from kubeflow_provider.kubernetes.settings import ClusterSettings
from tests.doubles.kubernetes import Cluster, Image, cluster
from tests.doubles.kubernetes.resources import PODS
from tests.rights import MODULES, rights
from tests.waiting import LIMIT_SECONDS

IMAGE = "example/release:1"
CHORE = """
import json, os, sys, time
arguments = dict(item[2:].split("=", 1) for item in sys.argv[1:])
print("arguments", json.dumps(arguments, sort_keys=True))
print("environment", *(f"{name}={os.environ.get(name)}" for name in ("REGION", "KEY", "MODE", "NOTHING")))
what = arguments["do"]
if what == "write":
    with open(arguments["to"], "w") as file:
        file.write("written")
if what == "sleep":
    time.sleep(60)
if what.isdigit():
    print("row 3 of train.csv has no label", file=sys.stderr)
    sys.exit(int(what))
"""


SLEEP = time.sleep


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_pod, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(pod_start, "_POLL_SECONDS", 0.05)
    # PodManager looks at a pod that is not over once in two seconds, a constant of its own.
    monkeypatch.setattr("airflow.providers.cncf.kubernetes.utils.pod_manager.time.sleep", lambda seconds: SLEEP(0.02))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "chore.py").write_text(CHORE, encoding="utf-8")
    return folder


@pytest.fixture
def k8s(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    image = Image(tmp_path / "bin", source=project)
    with cluster(images={IMAGE: image}, claims={"models": tmp_path / "models"}) as k8s:
        k8s.faults.allow_only(rights(MODULES))
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", k8s.connection_variable(tmp_path / "kubeconfig"))
        yield k8s


def module(**settings: Any) -> ModulePod:
    return ModulePod(settings=ClusterSettings.from_mapping({"image": IMAGE} | settings), kubernetes_conn_id="cluster")


def wait_for_pods(k8s: Cluster, phase: str = "Running") -> list[dict[str, Any]]:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (pods := [pod for pod in k8s.pods() if pod.get("status", {}).get("phase") == phase]):
        assert time.monotonic() < deadline, f"pods: {k8s.pods()}"
        SLEEP(0.02)
    return pods


@pytest.fixture
def made(k8s: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list that gets every pod when it is made, with ``beside``: how many others there were."""
    pods: list[dict[str, Any]] = []
    create = k8s.store.create

    def create_and_note(resource: Any, *arguments: Any, **options: Any) -> Any:
        beside = len(k8s.pods())
        new = create(resource, *arguments, **options)
        if resource == PODS:
            pods.append(new | {"beside": beside})
        return new

    monkeypatch.setattr(k8s.store, "create", create_and_note)
    return pods
