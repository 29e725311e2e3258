"""Whoever copies a block of the provider's pages gets something that works.

Commands are looked at in ``test_commands.py``; the package's examples run in ``tests/kubeflow_provider/example_dags``.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import Connection

from kubeflow_provider.hooks._kserve.settings import KServeSettings
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.http.authentication import MODES
from tests.deploy.manifests import manifest_problems
from tests.docs.test_commands import blocks

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "plugins" / "kubeflow_provider"
PAGES = sorted([*PACKAGE.glob("docs/**/*.md"), PACKAGE / "README.md"])
#: Every block is looked at, here or in `test_commands.py`.
LANGUAGES = {"bash", "ini", "json", "python", "toml", "yaml"}


def found(language: str) -> list[tuple[str, str]]:
    return [(page.stem, block) for page in PAGES for block in blocks(page, language)]


def test_there_is_no_block_that_nobody_looks_at() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```(\S*)", page.read_text(encoding="utf-8"), re.M)
        opened = {fence for fence in fences if fence and not fence.startswith("{")}
        assert opened <= LANGUAGES, page
        assert fences.count("") == len([fence for fence in fences if fence]), page


@pytest.mark.parametrize(("page", "block"), [entry for entry in found("python") if "from kfp" not in entry[1]])
def test_a_block_of_python_runs(page: str, block: str) -> None:
    exec(compile(block, f"{page}.md", "exec"), {})

    assert "with DAG(" in block or "@task." in block


@pytest.mark.processes
def test_the_pipelines_of_the_pages_are_those_of_the_examples(tmp_path: Path) -> None:
    names = []
    for number, block in enumerate(block for _, block in found("python") if "from kfp" in block):
        names.append(f"pipeline_{number}.py")
        (tmp_path / names[-1]).write_text(block)  # kfp reads the source of its components
    all_of_them = f"import runpy\nfor name in {names}:\n    runpy.run_path(name)\n"

    subprocess.run([ROOT / ".venv" / "pipelines" / "bin" / "python", "-c", all_of_them], cwd=tmp_path, check=True)

    compiled = {path.name: yaml.safe_load(path.read_text()) for path in tmp_path.glob("*.yaml")}
    examples = (PACKAGE / "example_dags").glob("*.yaml")
    assert compiled == {path.name: yaml.safe_load(path.read_text()) for path in examples}


def connections() -> list[dict[str, Any]]:
    documents = [json.loads(block) for _, block in found("json")]
    return [document for document in documents if "conn_type" in document]


@pytest.mark.parametrize(
    "document",
    connections(),
    ids=lambda document: document["extra"].get("authentication", "") if "extra" in document else "",
)
def test_a_connection_is_one_that_the_hook_takes(document: dict[str, Any]) -> None:
    connection = Connection(
        conn_id="any",
        conn_type=document["conn_type"],
        host=document.get("host"),
        login=document.get("login"),
        password=document.get("password"),
        extra=json.dumps(document.get("extra", {})),
    )

    if document["conn_type"] == "kserve":
        assert KServeSettings.of(connection).namespace == "models"
    else:
        assert KubeflowPipelinesHook("any", connection=connection).client.settings.base_url == document["host"]


def test_every_way_to_log_in_has_its_connection() -> None:
    kubeflow = [document for document in connections() if document["conn_type"] == "kubeflow_pipelines"]
    ways = {document.get("extra", {}).get("authentication", "none") for document in kubeflow}

    assert ways == set(MODES)


def test_what_kubectl_applies_is_taken_as_it_stands() -> None:
    documents = [document for _, block in found("yaml") for document in yaml.safe_load_all(block)]
    manifests = [document for document in documents if "kind" in document]

    assert {document["kind"] for document in manifests} >= {"Role", "RoleBinding"}
    for document in manifests:
        assert list(manifest_problems(document)) == []


def rights(documents: list[dict[str, Any]]) -> set[tuple[str, str]]:
    rules = [rule for document in documents for rule in document.get("rules", ())]
    return {
        (resource, verb)
        for rule in rules
        if rule["apiGroups"] == ["pipelines.kubeflow.org"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_role_has_what_the_projects_own_roles_have_and_the_table_says() -> None:
    page = [
        document for name, block in found("yaml") if name == "connections" for document in yaml.safe_load_all(block)
    ]
    own = [
        document
        for name in ("pipelines-rbac.yaml", "finished-runs-rbac.yaml", "recurring-runs-rbac.yaml")
        for document in yaml.safe_load_all((ROOT / "deploy" / name).read_text(encoding="utf-8"))
    ]

    assert rights(page) == rights(own)
    operators = PACKAGE / "docs" / "operators"
    tables = [(operators / f"{name}.md").read_text(encoding="utf-8") for name in ("kept-runs", "recurring-runs")]
    for line in "\n".join(tables).splitlines():
        if match := re.fullmatch(r"\| .*Operator.* \| (.*) \| (.*) \|", line):
            named = {(resource, verb) for resource in _code(match[1]) for verb in _code(match[2])}
            assert named <= rights(page), line


def _code(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


def test_what_is_ini_or_toml_can_be_read() -> None:
    for _, block in found("ini"):
        assert ConfigParser().read_string(block) is None
    for _, block in found("toml"):
        assert tomllib.loads(block)
