"""The manifests for KServe are what its CRDs and Kubernetes know, and agree with what the hook does and makes."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.contracts.version.runtimes import SERVING_RUNTIMES
from kubeflow_provider.hooks._kserve.record import stamped
from kubeflow_provider.hooks._kserve.releases.specs import inference_service, predictor, storage_uri
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from tests.doubles.kubernetes import cluster
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import definitions, prune
from tests.doubles.trainer import Trainer
from tests.kserve_support import version_of

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted((DEPLOY / "kserve").glob("*.yaml"))
VERSIONS = ("0.16.0", "0.18.0", "0.20.0", "0.21.0")


def documents(pattern: str = "kserve/*.yaml") -> list[dict[str, Any]]:
    return [
        document
        for file in sorted(DEPLOY.glob(pattern))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


def of_kind(kind: str, pattern: str = "kserve/*.yaml") -> list[dict[str, Any]]:
    return [document for document in documents(pattern) if document["kind"] == kind]


def schema(version: str, kind: str) -> dict[str, Any]:
    found = next(entry for entry in definitions(version) if entry["spec"]["names"]["kind"] == kind)
    whole: dict[str, Any] = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return whole


@pytest.mark.parametrize("version", VERSIONS)
def test_the_crds_know_every_field_of_the_manifests(version: str) -> None:
    for document in [
        *of_kind("InferenceService"),
        *of_kind("ServingRuntime", "*serving-runtime.yaml"),
        *of_kind("ServingRuntime"),
    ]:
        kind = schema(version, document["kind"])
        assert prune(document["spec"], kind["properties"]["spec"]) == document["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_crds_know_every_field_that_a_release_makes(version: str) -> None:
    model = version_of(
        "reviews",
        "20260101000000",
        gpu=1,
        service_account="models",
        scale_metric="cpu",
        scale_target=80,
        timeout_seconds=60,
        batcher={},
        logger={"url": "http://sink"},
        env={"A": "b"},
        node_selector={"pool": "gpu"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        image_pull_secrets=["registry"],
    )
    spec = stamped(
        predictor(model, PredictorSettings.of(model.settings), mode=None),
        stable="1",
        previous="1",
        replaces="r",
        percent=10,
    )
    made = inference_service("reviews", "team", spec, annotations={})

    assert prune(made["spec"], schema(version, "InferenceService")["properties"]["spec"]) == made["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "server", [{"format": "onnx", "runtime": "ours"}, {"container": {"image": "a:1", "args": ["b"]}}]
)
def test_the_crds_know_every_field_of_a_predictor_that_is_given(version: str, server: dict[str, Any]) -> None:
    model = version_of("iris", "20260101000000")
    given = replace(model, settings={"predictor": {"protocol": "v2", "model_name": "i", **server}})
    made = inference_service("iris", "team", predictor(given, PredictorSettings(), mode=None), annotations={})

    assert prune(made["spec"], schema(version, "InferenceService")["properties"]["spec"]) == made["spec"]


def test_each_storage_has_an_example_that_a_pod_can_read() -> None:
    uris = {service["spec"]["predictor"]["model"]["storageUri"] for service in of_kind("InferenceService")}

    assert {uri.partition("://")[0] for uri in uris} == {"pvc", "s3", "gs", "hf"}
    assert all(storage_uri(uri, {}) == uri for uri in uris)


def test_the_examples_name_what_is_there() -> None:
    (runtime,) = of_kind("ServingRuntime", "serving-runtime.yaml")
    for file in FILES:
        found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        names = {(document["kind"], document["metadata"]["name"]) for document in found}
        for service in (document for document in found if document["kind"] == "InferenceService"):
            spec = service["spec"]["predictor"]
            assert spec["model"]["runtime"] == runtime["metadata"]["name"] == PredictorSettings().runtime
            assert not spec["automountServiceAccountToken"]
            if account := spec.get("serviceAccountName"):
                assert {("ServiceAccount", account), ("Secret", account)} <= names


def test_each_runtime_that_a_model_may_have_is_there() -> None:
    runtimes = of_kind("ServingRuntime", "*serving-runtime.yaml")
    assert {runtime["metadata"]["name"] for runtime in runtimes} == {*SERVING_RUNTIMES.values()}
    images, contexts = (
        [runtime["spec"]["containers"][0][field] for runtime in runtimes] for field in ("image", "securityContext")
    )
    assert images[0] == images[1]
    assert contexts[0] == contexts[1]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.processes
def test_kubectl_applies_all_of_them(tmp_path: Path) -> None:
    files = sorted({*DEPLOY.glob("*.yaml"), *FILES} - {DEPLOY / "helm-values.yaml"})
    with cluster(kserve=KServeSettings(), namespace="team") as k8s:
        k8s.add_namespace("kserve")
        Trainer(k8s)
        command = ["kubectl", "--kubeconfig", str(k8s.kubeconfig(tmp_path / "config")), "--cache-dir", str(tmp_path)]
        command += ["apply", "--validate=false", *(word for file in files for word in ("-f", str(file)))]
        answer = subprocess.run(command, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
