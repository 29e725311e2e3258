"""A predictor of the double can be a real TorchServe on a real package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doubles.kubernetes import KServeSettings, cluster
from tests.doubles.kubernetes.kserve.torchserve import TorchServeImage
from tests.toy_package import publish

VERSION = "20260101000000"


@pytest.mark.torchserve
def test_a_package_on_a_claim_is_served_by_torchserve(tmp_path: Path, pipelines_python: str, eventually: Any) -> None:
    from kubernetes import client

    publish(tmp_path / "reviews" / VERSION / "package", model="reviews", version=VERSION)
    model = {
        "modelFormat": {"name": "pytorch"},
        "runtime": "torchserve",
        "storageUri": f"pvc://models/reviews/{VERSION}/package",
    }
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "reviews", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
        "spec": {"predictor": {"model": model}},
    }
    images = {"serving:1.0": TorchServeImage(pipelines_python)}
    with cluster(images=images, claims={"models": tmp_path}, speed=10, kserve=KServeSettings()) as k8s:
        k8s.kserve.add_runtime("torchserve", "serving:1.0")
        objects = client.CustomObjectsApi(k8s.api_client())
        objects.create_namespaced_custom_object("serving.kserve.io", "v1beta1", "models", "inferenceservices", service)

        def answer() -> Any:
            headers = {"Host": "reviews-models.example.com"}
            url = f"{k8s.gateway_url}/v1/models/reviews:predict"
            answer = httpx.post(url, json={"instances": ["a good place"]}, headers=headers, timeout=80)
            return answer.json() if answer.status_code == 200 else None

        prediction = eventually(answer, seconds=90)["predictions"][0]

    assert (prediction["label"], prediction["version"]) == ("good", VERSION)
