"""The plugin: what it tells Airflow and the page, and that it costs a task nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "plugins" / "releases_plugin.py"


@pytest.fixture
def plugin() -> ModuleType:
    spec = util.spec_from_file_location("releases_plugin", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_is_on_the_page_with_its_own_dag_connections_and_store(
    plugin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = "{train: a.csv, labels: [good, bad]}"
    (tmp_path / "one.yaml").write_text(f"name: short-reviews\ndescription: Short ones.\ndata: {labels}\n")
    (tmp_path / "two.yaml").write_text(
        f"name: long-reviews\nstore: s3://models\nconnections: {{serving: kserve_team, store: minio}}\ndata: {labels}\n"
    )
    (tmp_path / "wrong.yaml").write_text("name: wrong\n")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("MODEL_STORE", "file:///store")
    short, long = plugin.ReleasesApp().models()
    assert (short.name, short.release_dag_id, short.description) == (
        "short-reviews",
        "release_short_reviews",
        "Short ones.",
    )
    assert (short.connection("serving"), short.connection("registry"), short.store_conn_id) == (
        "serving_default",
        "registry_default",
        None,
    )
    assert short.report_uri("20260101000000") == "file:///store/short-reviews/20260101000000/report/report.html"
    assert (long.connection("serving"), long.store_conn_id, long.store_uri) == (
        "kserve_team",
        "minio",
        "s3://models/long-reviews",
    )


def test_its_dag_ids_are_those_of_the_dags(plugin: ModuleType) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag_ids = set(DagBag(ROOT / "dags").dags)
    models = plugin.ReleasesApp().models()
    assert {dag_id for model in models for dag_id in (model.release_dag_id, model.roll_back_dag_id)} <= dag_ids


@pytest.mark.parametrize(
    ("base_url", "href"),
    [
        ("", "/releases/"),
        ("http://airflow.example", "/releases/"),
        ("https://example.org/team/airflow/", "/team/airflow/releases/"),
    ],
)
def test_its_entry_leads_to_the_page_wherever_airflow_is_served(
    monkeypatch: pytest.MonkeyPatch, plugin: ModuleType, base_url: str, href: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert plugin._href() == href


def test_its_entry_has_an_icon_of_its_own_for_light_and_dark(plugin: ModuleType) -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    from model_releases.releases_page import routes

    (view,) = (ExternalViewResponse(**view) for view in plugin.ReleasesPlugin.external_views)
    files = [str(address).removeprefix("/releases/static/") for address in (view.icon, view.icon_dark_mode)]
    assert [routes._STATIC[name] for name in files] == ["image/svg+xml"] * 2
    light, dark = (ElementTree.parse(Path(routes.__file__).parent / "static" / name).getroot() for name in files)
    assert light.tag == dark.tag == "{http://www.w3.org/2000/svg}svg"
    assert light.get("stroke") != dark.get("stroke")


@pytest.mark.processes
def test_a_task_that_loads_it_does_not_load_the_page() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(PLUGIN.parent)!r}); import releases_plugin; "
        "print([name for name in ('model_releases.releases_page', 'include', 'fastapi') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip().splitlines()[-1] == "[]"
