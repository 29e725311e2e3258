"""Clusters to test the double with, spoken to by the real clients."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.kubernetes import Cluster, cluster
from tests.doubles.kubernetes_tests.kserve_support import Serving, serving

IMAGE = "release:1.0"
PYTHON = Path(sys.executable).parent


@pytest.fixture
def k8s(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that knows one image, which holds this interpreter."""
    with cluster(images={IMAGE: PYTHON}, claims={"models": tmp_path / "models"}, speed=50) as made:
        yield made


@pytest.fixture
def core(k8s: Cluster) -> Any:
    from kubernetes import client

    return client.CoreV1Api(k8s.api_client())


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Return ``wait(question)``, which asks until the answer is true, and returns it."""

    def wait(question: Callable[[], Any], seconds: float = 15) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := question():
                return answer
            time.sleep(0.02)
        raise AssertionError("it never came to be")

    return wait


@pytest.fixture
def python_pod() -> Callable[..., dict[str, Any]]:
    """Return ``make(code, name, **spec)``: a pod that runs a line of Python once."""

    def make(code: str, name: str = "a-pod", *, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        base = {"name": "base", "image": IMAGE, "command": ["python", "-c"], "args": [code], **(container or {})}
        spec = {"restartPolicy": "Never", **spec}
        return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [base], **spec}}

    return make


@pytest.fixture(params=["Knative", "Standard"])
def either(request: pytest.FixtureRequest) -> Iterator[Serving]:
    with serving(request.param) as made:
        yield made


@pytest.fixture
def knative() -> Iterator[Serving]:
    with serving("Knative") as made:
        yield made


@pytest.fixture
def standard() -> Iterator[Serving]:
    with serving("Standard") as made:
        yield made
