"""Whoever types off what the documentation says gets what it says: every command of every page is looked at.

The rules, and the verbs and flags that were written down, stand in ``known_commands.py``. Where kubectl is installed,
its commands are carried out as well, one after the other as they stand, on a Kubernetes that only lives for the test.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.docs.known_commands import AUDIENCE, ROOT, is_command, problems
from tests.docs.shell import commands
from tests.doubles.kubernetes import cluster
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.resources import SERVICE_ACCOUNTS

#: Without the changelogs, which also tell of what there was.
PAGES = sorted(
    page
    for pattern in (
        "README.md",
        "docs/*.md",
        "plugins/*/[!C]*.md",
        "plugins/*/CONTRIBUTING.md",
        "plugins/*/docs/**/*.md",
    )
    for page in ROOT.glob(pattern)
)


#: Whose imports a page must name as they are.
OUR_PACKAGES = ("kubeflow_provider", "local_services", "model_releases", "include")


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield what stands between the fences of a language."""
    text = page.read_text(encoding="utf-8")
    yield from (found[2] for found in re.finditer(rf"^( *)```(?:{language})\n(.*?)^\1```$", text, re.M | re.S))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one_that_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)
    inline = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", outside)]
    found = [*blocks(page, "bash"), *filter(is_command, inline)]

    assert {text: wrong for text in found if (wrong := problems(text))} == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kubectl apply -f deploy/kserve/rback.yaml", "is no manifest"),
        ("kubectl apply -f deploy/helm-values.yaml", "is no manifest"),
        ("kubectl aply -f deploy/model-store.yaml", "verb is not in the list"),
        ("kubectl apply --file deploy/model-store.yaml", "--file is not in the list"),
        ("kubectl get inferenceservice x --watch", "--watch is not in the list"),
        ("kubectl get inferenceservic x", "no such kind"),
        ("kubectl -n team logs deploymen/ml-pipeline", "no such kind"),
        ("kubectl -n team create token airflow-releases", "needs --audience"),
        ("kubectl create token airflow-releases --audience kubeflow.org", "needs --audience"),
        ("make upload KFP_TOKEN=$(kubectl create token default-editor)", "needs --audience"),
        ('token="$(kubectl create token default-editor)" && make stop', "needs --audience"),
        ("make relase", "no target relase"),
        ("make release MODLE=x", "reads no MODLE"),
        ("make retention EPOCHS=2", "reads no EPOCHS"),
        ("make upload KFP_TOKE=x", "reads no KFP_TOKE"),
        ("make up \\\n  EPOCHS=1 # comment", "reads no EPOCHS"),
        ("make down; kubetcl get pods", "program is not in the list"),
        ("head x | kubectl apply --file -", "--file is not in the list"),
        ("helm upgrade --install airflow x/y -f deploy/values.yaml", "deploy/values.yaml is not there"),
        ("docker build --target airflo .", "no stage airflo"),
        ("docker build --build-arg PACKAGES=x .", "no argument PACKAGES"),
        ("docker compose up -d torchserv", "no service torchserv"),
        ("docker compose run --rm init airflow db upgrade", "verb is not in the list"),
        ("airflow dags trigger rollback", "no DAG rollback"),
        ("tests/real/run.sh --onyl kserve", "knows no --onyl"),
        ("python -m pytest tests/no_such_folder", "no_such_folder is not there"),
        ("""airflow dags trigger roll_back_sample_reviews -c '{"version": }'""", "is no JSON"),
        ("""curl -s http://127.0.0.1 -d '{"instances": [}'""", "is no JSON"),
        ("python3 scripts/figures.py", "scripts/figures.py is not there"),
        ("python -m include.classifier.server", "no module"),
        ("python -m include.classifier.serve --drain", "knows no --drain"),
        ("python -m include.classifier.native --drain", "knows no --drain"),
        ("python3 -c 'import json; print('", "python: "),
        ("pytest -m dokcer tests/image", "no marker dokcer"),
        ("tests/real/runs.sh --list", "cannot be run"),
        ("make help 'and", "is missing at the end"),
        ("make help $(make docs", "is missing at the end"),
    ],
)
def test_a_command_that_there_is_not_is_refused(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


def test_a_placeholder_is_for_the_reader() -> None:
    assert problems("make release MODEL=… …; make up PIP_INDEX_URL=<your team's index>") == []


def documents(language: str) -> list[tuple[str, str]]:
    return [(page.name, block) for page in PAGES for block in blocks(page, language)]


def test_what_is_json_or_yaml_can_be_read() -> None:
    for _, block in documents("json"):
        json.loads(block)
    for _, block in documents("yaml"):
        assert all(yaml.safe_load_all(block))


@pytest.mark.parametrize(("page", "block"), documents("python"), ids=lambda text: text if text.endswith(".md") else "")
def test_what_python_imports_from_here_is_there(page: str, block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OUR_PACKAGES:
            spec = find_spec(node.module or "")
            assert spec is not None, node.module
            assert spec.origin is not None
            source = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
            missing = {alias.name for alias in node.names} - set(_names(source))
            assert not missing, node.module


def _names(module: ast.Module) -> Iterator[str]:
    """Yield what a module defines, or imports for others."""
    for node in module.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.processes
def test_kubectl_does_what_the_pages_say_from_the_first_to_the_last(tmp_path: Path) -> None:
    """The cluster is what a reader has before: Kubeflow, KServe, and a profile called ``team``."""
    (tmp_path / "connections.env").write_text("AIRFLOW_CONN_SERVING_DEFAULT={}\n")
    with cluster(kserve=KServeSettings(), namespace="team") as k8s:
        k8s.add_namespace("kserve")
        k8s.add_service_account("default-editor")
        config = k8s.kubeconfig(tmp_path / "config")

        def kubectl(*words: str, given: str = "", works: bool = True) -> str:
            command = ["kubectl", *words, "--kubeconfig", str(config), "--cache-dir", str(tmp_path / "cache")]
            run = subprocess.run(command, cwd=tmp_path, input=given, capture_output=True, text=True)
            assert (run.returncode == 0) is works, f"{' '.join(words)}: {run.stderr}"
            return run.stdout

        for page in PAGES:
            for program, *words in (words for block in blocks(page, "bash") for words in commands(block)):
                words = [str(ROOT / word) if word.startswith("deploy/") else word for word in words]
                if program != "kubectl" or "port-forward" in words:
                    continue
                # To create something, kubectl speaks protobuf, which the double does not understand.
                if "token" in words:
                    kubectl(*words, works=False)
                    asked = k8s.server.requests[-1]
                    *_, account, subresource = asked.path.split("/")
                    assert k8s.store.get(SERVICE_ACCOUNTS, "team", account)
                    assert subresource == "token"
                    assert AUDIENCE.encode() in asked.body
                elif "create" in words:
                    kubectl("apply", "-f", "-", *_UNCHECKED, given=kubectl(*words, "--dry-run=client", "-o", "json"))
                else:
                    kubectl(*words, *_UNCHECKED if "apply" in words else ())


#: The double describes no schema for kubectl to look at; every field was looked at above.
_UNCHECKED = ("--validate=false",)
