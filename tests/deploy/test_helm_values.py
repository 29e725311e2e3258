"""deploy/helm-values.yaml fits the image and the repository; secrets are referred to and never written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

#: The chart's keys that are used here and what each takes, from values.schema.json of this version of the chart. Its
#: schema lets unknown keys pass in many places, so that a misspelt one goes unnoticed there.
CHART = "1.22.0"
KEYS: dict[str, type] = {
    "images.airflow.repository": str,
    "images.airflow.tag": str,
    "images.airflow.pullPolicy": str,
    "airflowVersion": str,
    "uid": int,
    "gid": int,
    "airflowHome": str,
    "executor": str,
    "data.metadataSecretName": str,
    "fernetKeySecretName": str,
    "apiSecretKeySecretName": str,
    "jwtSecretName": str,
    "postgresql.enabled": bool,
    "redis.enabled": bool,
    "statsd.enabled": bool,
    "extraEnvFrom": str,
    "env": list,
    "config": dict,
    "rbac.create": bool,
    "multiNamespaceMode": bool,
    "createUserJob.enabled": bool,
    "migrateDatabaseJob.enabled": bool,
    "migrateDatabaseJob.serviceAccount.automountServiceAccountToken": bool,
    "dagProcessor.serviceAccount.automountServiceAccountToken": bool,
    "securityContexts.pod": dict,
    "securityContexts.containers": dict,
    "workers.kubernetes.resources": dict,
    "triggerer.persistence.enabled": bool,
    "dagProcessor.dagBundleConfigList": list,
    "scheduler.startupProbe.command": list,
    **{
        f"{part}.{key}": kind
        for part in ("scheduler", "apiServer", "triggerer", "dagProcessor")
        for key, kind in (("replicas", int), ("resources", dict))
    },
    **{
        f"{part}.{key}": kind
        for part in ("scheduler", "triggerer", "dagProcessor")
        for key, kind in (("livenessProbe.command", list), ("logGroomerSidecar.enabled", bool))
    },
    "triggerer.enabled": bool,
    "dagProcessor.enabled": bool,
}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "helm-values.yaml").read_text(encoding="utf-8"))


def used(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value under its dotted key, as deep as :data:`KEYS` goes."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        found |= {key: value} if key in KEYS or not isinstance(value, dict) else used(value, f"{key}.")
    return found


def test_the_chart_knows_every_key(values: dict[str, Any]) -> None:
    found = used(values)
    assert found.keys() == KEYS.keys()
    assert not [key for key, value in found.items() if type(value) is not KEYS[key]]
    assert f"--version {CHART}" in (ROOT / "deploy" / "helm-values.yaml").read_text(encoding="utf-8")
    assert f"--version {CHART}" in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_nothing_calls_the_scripts_of_the_public_image(values: dict[str, Any]) -> None:
    # The chart's own probes run /entrypoint and its log groomers /clean-logs: without them pods are killed for ever.
    for part in ("scheduler", "triggerer", "dagProcessor"):
        assert values[part]["livenessProbe"]["command"][0] == "airflow"
        assert not values[part]["logGroomerSidecar"]["enabled"]
    assert values["scheduler"]["startupProbe"]["command"][0] == "airflow"


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
    assert not values["createUserJob"]["enabled"], "its user's password is known to everybody"
    assert "secretRef" in values["extraEnvFrom"]


def test_what_asks_kubernetes_nothing_has_no_token_for_it(values: dict[str, Any]) -> None:
    for part in ("dagProcessor", "migrateDatabaseJob"):
        assert values[part]["serviceAccount"] == {"automountServiceAccountToken": False}


def test_a_node_may_go_down(values: dict[str, Any]) -> None:
    assert values["triggerer"]["replicas"] >= 2
    assert values["scheduler"]["replicas"] >= 2
