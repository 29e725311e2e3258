"""What the manifests of ``deploy/`` let Airflow, or a pipeline, do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"

MODULES = "modules-rbac.yaml"
STEP_LOGS = "pipelines-rbac.yaml"
RELEASE_IN_KUBEFLOW = "release-in-kubeflow-rbac.yaml"
SERVING = ("kserve/rbac.yaml", "kserve/modes-rbac.yaml", "kserve/service-proxy-rbac.yaml")


def documents(*files: str) -> list[dict[str, Any]]:
    """Return the documents of manifests, by their paths below ``deploy``."""
    texts = [(DEPLOY / file).read_text(encoding="utf-8") for file in files]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def rights(*files: str) -> set[tuple[str, str, str]]:
    """Return group, resource and verb of everything that the roles in these manifests give."""
    return {
        (group, resource, verb)
        for role in documents(*files)
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
