"""What the commands about one release read of the registry, whichever it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from include.contracts.registry_tags import ReleaseState
from model_releases.registry import get_registry_service
from model_releases.registry.service import RegistryService, Release
from tests.doubles.model_registry import model_registry

ROOT = Path(__file__).parents[2]
MODEL, OLD, LIVE = "reviews", "20260101000000", "20260102000000"


@pytest.fixture(params=[pytest.param("mlflow", marks=pytest.mark.long), "kubeflow_model_registry"])
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RegistryService]:
    """Return the registry that the model's YAML names, with two releases in it."""
    settings = {"name": MODEL, "store": "s3://models", "data": {"train": "train.csv", "labels": ["bad", "good"]}}
    (tmp_path / "models").mkdir()
    settings["connections"] = {"registry": "elsewhere"}
    (tmp_path / "models" / "reviews.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    with ExitStack() as servers:
        if request.param == "mlflow":
            database = shutil.copy(request.getfixturevalue("empty_mlflow"), tmp_path)
            fields: dict[str, Any] = {"extra": {"tracking_uri": f"sqlite:///{database}"}}
        else:
            fields = {"host": servers.enter_context(model_registry()).url}
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps({"conn_type": request.param, **fields}))
        found = get_registry_service("elsewhere")
        for version in (OLD, LIVE):
            facts = {"archive_sha256": version[:8] * 8}
            made = Release(model=MODEL, version=version, state=ReleaseState.CANDIDATE, facts=facts)
            found.register(made, metrics={})
            found.set_state(MODEL, version, ReleaseState.LIVE)
        yield found


@pytest.fixture
def one_release(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the commands."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("one_release")


@pytest.fixture
def started(one_release: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Return what was started of the pipeline half, which is not."""
    found: list[tuple[str, list[str]]] = []

    def start(module: str, arguments: list[str], question: str | None = None) -> int:
        found.append((module, arguments))
        return 0

    monkeypatch.setattr(one_release, "_module", start)
    return found


def recorded(version: str) -> list[str]:
    return ["--candidate-uri", f"s3://models/{MODEL}/{version}/candidate.json", "--archive-sha256", version[:8] * 8]


def test_a_release_is_made_again_as_it_is_recorded(
    registry: RegistryService, one_release: Any, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELEASE", OLD)
    with pytest.raises(SystemExit) as end:
        one_release.reproduce(MODEL)

    assert end.value.code == 0
    ((module, arguments),) = started
    assert module == "include.classifier.lookback.reproduce"
    assert arguments[:4] == recorded(OLD)


def test_one_that_is_in_no_record_is_named_beside_those_that_are(
    registry: RegistryService, one_release: Any, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELEASE", "20250101000000")
    with pytest.raises(SystemExit, match=f"is in no record; there are {LIVE}, {OLD}"):
        one_release.reproduce(MODEL)
    assert started == []


def test_what_is_live_is_explained_unless_another_is_asked_for(
    registry: RegistryService, one_release: Any, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT", "a good place")
    for version, chosen in ((LIVE, ""), (OLD, OLD)):
        monkeypatch.setenv("VERSION", chosen)
        with pytest.raises(SystemExit):
            one_release.explain(MODEL, SimpleNamespace(status=list))
        assert started[-1] == ("include.classifier.lookback.explain", recorded(version))


def test_records_are_copied_to_the_registry_of_another_connection(
    registry: RegistryService, one_release: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with model_registry() as server:
        connection = {"conn_type": "kubeflow_model_registry", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
        for said in ("2 records copied, 0 were there", "0 records copied, 2 were there"):
            one_release.copy_records("elsewhere", "other", [MODEL])
            assert f"{MODEL}: {said}; live is {LIVE}." in capsys.readouterr().out
        with pytest.raises(SystemExit, match="FROM and TO must name two connections"):
            one_release.copy_records("other", "other", [MODEL])
