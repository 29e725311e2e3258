"""What version 0.1.0 stored is found: Airflow's database, compose files and DAGs of users hold names of modules."""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest

import kubeflow_provider

PACKAGE = Path(kubeflow_provider.__file__).parent

#: Triggers of deferred tasks, callbacks and references of deadlines.
STORED_CLASSES = (
    "kubeflow_provider.triggers.pipelines.PipelineRunTrigger",
    "kubeflow_provider.triggers.serving.DeploymentTrigger",
    "kubeflow_provider.alerts.deadlines.LiveModelTrained",
    "kubeflow_provider.alerts.deadlines.tell_of_age",
    "kubeflow_provider.alerts.deadlines.tell_of_slow_release",
)
#: What ``python -m`` starts in docker-compose.yaml.
STARTED_MODULES = ("kubeflow_provider.pipeline_worker", "kubeflow_provider.torchserve_server")


@pytest.mark.parametrize("path", STORED_CLASSES)
def test_a_stored_path_leads_to_what_it_named(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name).__qualname__ == name


def test_an_old_name_is_the_same_thing_and_no_copy() -> None:
    from kubeflow_provider.alerts.deadlines import tell_of_age as old  # type: ignore[import-not-found]
    from model_releases.alerts.deadlines import tell_of_age

    assert old is tell_of_age


@pytest.mark.parametrize("module", STARTED_MODULES)
def test_a_compose_file_of_before_starts_what_it_means(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_nothing_else_is_kept() -> None:
    kept = {str(path.relative_to(PACKAGE)) for path in (PACKAGE / "_moved").rglob("*.py")}
    assert kept == {
        "_moved/__init__.py",
        "_moved/alerts/__init__.py",
        "_moved/alerts/deadlines.py",
        "_moved/pipeline_worker.py",
        "_moved/torchserve_server.py",
        "_moved/triggers/__init__.py",
        "_moved/triggers/serving.py",
    }
