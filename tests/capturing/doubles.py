"""Records the doubles with the command that records real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests import capture
from tests.captured import runtime
from tests.capturing.kubeflow_pipelines import run_id
from tests.doubles.kfp_server import kfp_server
from tests.doubles.kubernetes import Behaviour, FakeModels, KServeSettings, Lags, cluster
from tests.doubles.kubernetes.kserve.definitions import RUNTIMES
from tests.doubles.model_registry import model_registry
from tests.kserve_support import install_config

#: Of what is recorded; nothing of them may be left in a record.
NAME, NAMESPACE = "acme-reviews", "acme"

#: How the runs of the story go, one entry for each look at them.
_SCRIPTS: dict[str, list[Any]] = {
    "a run that succeeded": [
        "RUNNING",
        {"state": "SUCCEEDED", "steps": [("record", "SUCCEEDED"), ("finish", "SUCCEEDED")]},
    ],
    "a run whose first step failed": [
        "RUNNING",
        {"state": "FAILED", "steps": [("record", "FAILED")], "never": ["finish"]},
    ],
    "a run whose last step failed": [
        "RUNNING",
        {"state": "FAILED", "steps": [("record", "SUCCEEDED"), ("finish", "FAILED")]},
    ],
    "a run of a version": [
        *["RUNNING"] * 3,
        {"state": "FAILED", "steps": [("record-driver", "FAILED")], "never": ["finish"]},
    ],
}


def record(system: str, version: str, folder: Path) -> Path:
    """Run the command on the double of this version and return what it has written."""
    double = {
        "kubeflow_pipelines": _kubeflow_pipelines,
        "kserve": _kserve,
        "model_registry": _model_registry,
    }[system]
    with double(version, folder) as environment, patch.dict(os.environ, environment):
        return capture.main([system, "--into", str(folder), "--name", NAME, "--pause-seconds", "0.02"])


@contextmanager
def _kubeflow_pipelines(version: str, folder: Path) -> Iterator[dict[str, str]]:
    with kfp_server(
        version=version,
        multi_user=True,
        token="a token",
        namespaces=(NAMESPACE,),
        refused_verbs=("archive", "unarchive"),
    ) as server:
        for what, states in _SCRIPTS.items():
            server.script(run_id(NAME, what), states)
        yield {"KFP_ENDPOINT": server.url, "KFP_TOKEN": "a token", "KFP_NAMESPACE": NAMESPACE}


@contextmanager
def _kserve(version: str, folder: Path) -> Iterator[dict[str, str]]:
    """:param version: with the mode: ``0.20.0-standard``."""
    settings = KServeSettings(version=version.partition("-")[0], default_mode="Standard", gateway_api=False)
    # As it was when the version was recorded: what we change in ours since is no drift of the double.
    installed = runtime(version)
    models = FakeModels()
    models.behave("20260202000000", Behaviour.CRASH)
    images = {installed["spec"]["containers"][0]["image"]: models}
    with cluster(images=images, namespace=NAMESPACE, kserve=settings, speed=20, lags=Lags(back_off_seconds=2)) as k8s:
        k8s.add_claim("models")
        k8s.store.create(RUNTIMES, installed, NAMESPACE)
        install_config(k8s, settings)
        yield {
            "KSERVE_KUBECONFIG": str(k8s.kubeconfig(folder / "kubeconfig")),
            "KSERVE_NAMESPACE": NAMESPACE,
            "KSERVE_PACKAGE": "pvc://models/reviews/20260101000000/package",
            "KSERVE_NOTHING": "pvc://models/reviews/20260202000000/package",
        }


@contextmanager
def _model_registry(version: str, folder: Path) -> Iterator[dict[str, str]]:
    with model_registry() as server:
        yield {"MODEL_REGISTRY_URL": server.url, "MODEL_REGISTRY_VERSION": version}
