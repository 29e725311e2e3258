"""deploy/helm-values.yaml fits the image and the repository; secrets are referred to and never written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "helm-values.yaml").read_text(encoding="utf-8"))


def test_it_is_the_airflow_of_the_requirements(values: dict[str, Any]) -> None:
    assert f"apache-airflow=={values['airflowVersion']}" in (ROOT / "requirements.txt").read_text().splitlines()


def test_the_user_is_the_images(values: dict[str, Any]) -> None:
    assert f"USER {values['uid']}:{values['gid']}" in (ROOT / "Dockerfile").read_text()
    assert values["securityContexts"]["pod"]["runAsUser"] == values["uid"]
    # The chart mounts its configuration there; the image's environment must not be hidden by it.
    assert values["airflowHome"] != "/opt/airflow"


def test_the_bundle_is_this_repositorys_dags(values: dict[str, Any]) -> None:
    (bundle,) = values["dagProcessor"]["dagBundleConfigList"]
    assert bundle["classpath"] == "airflow.providers.git.bundles.git.GitDagBundle"
    assert (ROOT / bundle["kwargs"]["subdir"] / "release_models.py").is_file()
    assert bundle["kwargs"]["tracking_ref"] == values["images"]["airflow"]["tag"]


def test_secrets_are_references(values: dict[str, Any]) -> None:
    for name in ("fernetKey", "apiSecretKey", "jwtSecret", "webserverSecretKey"):
        assert name not in values
    assert {values[f"{name}SecretName"] for name in ("fernetKey", "apiSecretKey")} == {values["jwtSecretName"]}
    assert set(values["data"]) == {"metadataSecretName"}
    assert not values["createUserJob"]["defaultUser"]["enabled"], "its password is known to everybody"
    assert "secretRef" in values["extraEnvFrom"]


def test_a_node_may_go_down(values: dict[str, Any]) -> None:
    assert values["triggerer"]["replicas"] >= 2
    assert values["scheduler"]["replicas"] >= 2
