"""Services and documents that the steps of a release work on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState
from model_releases.registry import get_registry_service
from model_releases.registry.service import RegistryService
from tests.candidates import document, scores
from tests.connected import connect
from tests.doubles.model_registry import model_registry

MODEL, VERSION = "reviews", "20260102000000"


#: What reads and writes the record does not know which registry keeps it. MLflow's takes seconds, so what the steps do
#: with it is tried on the long way round; what it is itself, ``tests/contract`` asks each time.
REGISTRIES = [pytest.param("mlflow", marks=pytest.mark.long), "kubeflow_model_registry"]


@pytest.fixture(params=REGISTRIES)
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RegistryService]:
    """Return a real registry, or a server that answers as a real one; ``registry_default`` leads to it."""
    with ExitStack() as servers:
        if request.param == "mlflow":
            database = shutil.copy(request.getfixturevalue("empty_mlflow"), tmp_path)
            fields: dict[str, Any] = {"extra": {"tracking_uri": f"sqlite:///{database}"}}
        else:
            fields = {"host": servers.enter_context(model_registry()).url}
        monkeypatch.setenv("AIRFLOW_CONN_REGISTRY_DEFAULT", json.dumps({"conn_type": request.param, **fields}))
        yield get_registry_service("registry_default")


class MemoryServing:
    """As much of a serving system as the record of a release needs."""

    def __init__(self) -> None:
        self.live: str | None = None
        self.previous: str | None = None
        self.deployed: set[str] = set()
        self.stuck: set[str] = set()

    def get_live(self, model: str) -> Deployment | None:
        if self.live is None:
            return None
        return Deployment(model=model, version=self.live, state=DeploymentState.READY, is_live=True)

    def get_previous(self, model: str) -> str | None:
        return self.previous

    def promote(self, model: str, version: str) -> None:
        self.deployed.add(version)
        if self.live != version:
            self.live, self.previous = version, self.live

    def remove(self, model: str, version: str) -> None:
        if version == self.live or version in self.stuck:
            raise InvalidRequestError(f"{version} cannot be removed.")
        self.deployed.discard(version)

    def endpoint_url(self, model: str) -> str:
        return f"http://127.0.0.1:8999/v1/models/{model}:predict"


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> MemoryServing:
    """Return a serving system in memory; ``serving_default`` leads to it."""
    instance = MemoryServing()
    connect(monkeypatch, serving_default=instance)
    return instance


@pytest.fixture
def write_candidate(tmp_path: Path) -> Callable[..., str]:
    """Return ``write(macro_f1, live=None, version=...)``, which writes a ``candidate.json`` and returns its URI.

    Its archive and its report lie beside it, in ``package-<version>``.
    """

    def write(macro_f1: float = 0.9, live: float | None = None, version: str = VERSION, model: str = MODEL) -> str:
        live = None if live is None else scores(live)
        package = tmp_path / f"package-{version}"
        package.mkdir(exist_ok=True)
        content = b"123456789"
        (package / "m.mar").write_bytes(content)
        (package / "report.html").write_text("<h1>a report</h1>", encoding="utf-8")
        archive = {"uri": package.as_uri(), "file": "m.mar", "sha256": sha256(content).hexdigest(), "size_bytes": 9}
        more = {"archive": archive, "report_uri": f"{package.as_uri()}/report.html"}
        made = document(scores(macro_f1), live, version=version, model=model, **more)
        path = tmp_path / f"candidate-{version}.json"
        path.write_text(json.dumps(made), encoding="utf-8")
        return path.as_uri()

    return write


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """Return what Airflow's metrics system is told, as name, value and tags."""
    from airflow.sdk.observability import stats

    found: list[tuple[str, float, dict[str, str]]] = []
    monkeypatch.setattr(stats, "gauge", lambda stat, value, *, tags: found.append((stat, value, tags)))
    return found
