"""What the manifests of ``deploy/``, and those on the provider's pages, let Airflow or a pipeline do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
PAGES = Path(__file__).parents[1] / "plugins" / "kubeflow_provider" / "docs" / "operators"

#: Group, resource and verb.
Right = tuple[str, str, str]

MODULES = "modules-rbac.yaml"
STEP_LOGS = "pipelines-rbac.yaml"
RELEASE_IN_KUBEFLOW = "release-in-kubeflow-rbac.yaml"
SERVING = ("kserve/rbac.yaml", "kserve/modes-rbac.yaml", "kserve/service-proxy-rbac.yaml")


def documents(*files: str) -> list[dict[str, Any]]:
    """Return the documents of manifests, by their paths below ``deploy``."""
    texts = [(DEPLOY / file).read_text(encoding="utf-8") for file in files]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def blocks_of_page(name: str) -> list[list[dict[str, Any]]]:
    """Return the documents of each block of YAML on a page of the provider, by its name below ``docs/operators``."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    return [list(yaml.safe_load_all(block)) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M)]


def rights(*files: str) -> set[Right]:
    """Return group, resource and verb of everything that the roles in these manifests give."""
    return given_by(documents(*files))


def given_by(documents: Iterable[dict[str, Any]]) -> set[Right]:
    """Return what the roles among these documents give."""
    return {
        (group, resource, verb)
        for role in documents
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
