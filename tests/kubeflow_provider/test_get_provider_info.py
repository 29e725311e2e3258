"""What Airflow's provider manager is told is what the package holds, and what Airflow's own schemas take."""

from __future__ import annotations

import inspect
import json
import pkgutil
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink
from airflow.sdk.bases.sensor import BaseSensorOperator
from airflow.triggers.base import BaseTrigger

import kubeflow_provider
from kubeflow_provider.get_provider_info import get_provider_info

PACKAGE = Path(__file__).parents[2] / "plugins" / "kubeflow_provider"
INFO = get_provider_info()
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Old names, examples, and the module of the lineage, which needs a provider that need not be there.
NO_PART = ("_moved", "example_dags", "docs", "_lineage")


def modules() -> Iterator[str]:
    """Yield every module that users may import: none that begins with an underscore, nor in such a package."""
    for found in pkgutil.walk_packages([str(PACKAGE)], "kubeflow_provider."):
        if not any(part.startswith("_") or part in NO_PART for part in found.name.split(".")):
            yield found.name


def classes(base: type) -> Iterator[type]:
    """Yield what users may use of a kind: classes that can be made, each from the module that defines it."""
    for name in modules():
        for cls in vars(import_module(name)).values():
            is_its_own = isinstance(cls, type) and issubclass(cls, base) and cls.__module__ == name
            if is_its_own and not cls.__name__.startswith("_") and not inspect.isabstract(cls):
                yield cls


def listed(section: str) -> set[str]:
    return {module for part in INFO.get(section, ()) for module in part["python-modules"]}


@pytest.mark.parametrize(
    ("section", "base", "other"),
    [
        ("operators", BaseOperator, BaseSensorOperator),
        ("sensors", BaseSensorOperator, ()),
        ("triggers", BaseTrigger, ()),
        ("hooks", BaseHook, ()),
    ],
)
def test_every_module_that_has_one_is_listed_and_no_other(section: str, base: type, other: Any) -> None:
    found = {cls.__module__ for cls in classes(base) if not issubclass(cls, other)}

    # What users look for in other packages, such as Airflow's own Kubernetes hook with a connection, is no part of it.
    assert listed(section) == {module for module in found if module.startswith(f"kubeflow_provider.{section}.")}


def test_every_link_is_listed() -> None:
    links = {f"{cls.__module__}.{cls.__name__}" for cls in classes(BaseOperatorLink)}

    assert set(INFO["extra-links"]) == links


def test_every_decorator_is_listed() -> None:
    """Each module of the package ``decorators`` has one, ``<name>_task``."""
    package = PACKAGE / "decorators"
    found = {path.stem for path in package.glob("*.py") if not path.stem.startswith("_")}
    paths = [decorator["class-name"] for decorator in INFO.get("task-decorators", ())]

    assert {path.split(".")[-2] for path in paths} == found
    for path in paths:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))


def test_every_connection_type_has_its_hook_and_its_entry_point() -> None:
    types = {kind["connection-type"]: kind for kind in INFO["connection-types"]}
    hooks = {cls.conn_type: cls for cls in classes(BaseHook) if getattr(cls, "conn_type", None) in types}
    points = PROJECT["entry-points"]
    groups = points["kubeflow_provider.pipeline_services"] | points["kubeflow_provider.serving_services"]

    assert set(hooks) == set(types)
    for name, kind in types.items():
        hook = hooks[name]
        assert kind["hook-class-name"] == f"{hook.__module__}.{hook.__name__}"
        assert kind["hook-name"] == hook.hook_name
        assert hook.default_conn_name == f"{name}_default"
        assert groups[name] == f"{hook.__module__}:{hook.__name__}"


def test_every_page_of_the_operators_is_a_guide_of_an_integration() -> None:
    guides = [guide for integration in INFO["integrations"] for guide in integration.get("how-to-guide", ())]

    pages = {f"/docs/{PROJECT['name']}/operators/{path.name}" for path in (PACKAGE / "docs" / "operators").glob("*.md")}
    assert set(guides) == pages
    assert len(guides) == len(pages)


def test_whatever_names_an_integration_names_one_that_there_is() -> None:
    known = {integration["integration-name"] for integration in INFO["integrations"]}
    named = {
        part["integration-name"] for section in ("operators", "sensors", "hooks", "triggers") for part in INFO[section]
    }

    assert named <= known


@pytest.mark.parametrize("schema", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_airflows_schemas_take_it(schema: str) -> None:
    document = json.loads((Path(airflow.__file__).parent / schema).read_text(encoding="utf-8"))
    # What only those have who build their packages as Airflow does.
    info = INFO | {"state": "ready", "source-date-epoch": 0}

    jsonschema.Draft7Validator(document).validate(info)
    assert set(info) <= set(document["properties"]) | {"versions", "state", "source-date-epoch"}


def test_there_is_one_name_and_one_version() -> None:
    assert INFO["package-name"] == PROJECT["name"]
    assert INFO["versions"][0] == PROJECT["version"] == kubeflow_provider.__version__


@pytest.mark.parametrize("kind", INFO["connection-types"], ids=lambda kind: kind["connection-type"])
def test_the_form_explains_each_field(kind: dict[str, Any]) -> None:
    for name, field in kind["conn-fields"].items():
        assert field["label"], name
        assert field["description"].endswith("."), name
        if choices := field["schema"].get("enum"):
            assert [choice for choice in choices if choice not in field["description"]] == [], name
