"""Any InferenceService: what people say of it, and the object that is made from that."""

from __future__ import annotations

from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.inference_service import (
    APPLIED_LABEL,
    Predictor,
    inference_service,
    marked,
    predictor_spec,
    read_manifest,
)

SKLEARN: dict[str, Any] = {"model_format": "sklearn", "storage_uri": "s3://models/iris"}


def test_a_format_and_a_place_are_enough() -> None:
    assert predictor_spec(Predictor.from_mapping(SKLEARN)) == {
        "model": {
            "modelFormat": {"name": "sklearn"},
            "storageUri": "s3://models/iris",
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
    }


def test_everything_else_is_said_in_kserve_s_own_words() -> None:
    spec = predictor_spec(
        Predictor.from_mapping(
            SKLEARN
            | {
                "model_format_version": "1",
                "runtime": "my-runtime",
                "runtime_version": "1.2",
                "protocol_version": "v2",
                "args": ["--workers=2"],
                "env": {"LOG": "info"},
                "resources": {"requests": {"cpu": 1}, "limits": {"nvidia.com/gpu": "1", "memory": "4Gi"}},
                "min_replicas": "0",
                "max_replicas": 3,
                "scale_metric": "rps",
                "scale_target": 10,
                "container_concurrency": 4,
                "timeout_seconds": 60,
                "service_account": "reader",
                "node_selector": {"pool": "gpu"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "image_pull_secrets": ["registry"],
                "labels": {"team": "search"},
                "annotations": {"note": "ours"},
                "extra": {"priorityClassName": "high"},
            }
        )
    )

    model = spec.pop("model")
    assert model["modelFormat"] == {"name": "sklearn", "version": "1"}
    assert (model["runtime"], model["runtimeVersion"], model["protocolVersion"]) == ("my-runtime", "1.2", "v2")
    assert (model["args"], model["env"]) == (["--workers=2"], [{"name": "LOG", "value": "info"}])
    assert model["resources"] == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "1", "memory": "4Gi"}}
    assert spec == {
        "minReplicas": 0,
        "maxReplicas": 3,
        "scaleMetric": "rps",
        "scaleTarget": 10,
        "containerConcurrency": 4,
        "timeout": 60,
        "serviceAccountName": "reader",
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "labels": {"team": "search"},
        "annotations": {"note": "ours"},
        "priorityClassName": "high",
    }


def test_a_container_of_ones_own_is_told_where_its_model_lies() -> None:
    container = {"image": "mine:1", "env": [{"name": "A", "value": "1"}], "args": ["serve"]}
    given = {"container": container, "storage_uri": "pvc://models/m", "args": ["--fast"], "env": {"B": "2"}}
    (made,) = predictor_spec(Predictor.from_mapping(given))["containers"]

    assert made == {
        "name": "kserve-container",
        "image": "mine:1",
        "args": ["serve", "--fast"],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "2"},
            {"name": "STORAGE_URI", "value": "pvc://models/m"},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    assert container == {"image": "mine:1", "env": [{"name": "A", "value": "1"}], "args": ["serve"]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "exactly one of `model_format` and `container`"),
        ({**SKLEARN, "container": {"image": "mine:1"}}, "exactly one of"),
        ({"container": {}}, "`container` needs an `image`"),
        ({"container": {"image": "mine:1"}, "runtime": "r"}, "`runtime`: for a model format only"),
        ({**SKLEARN, "storage_uri": "/models/iris"}, "`storage_uri` must be a URI"),
        ({**SKLEARN, "min_replicas": 3, "max_replicas": 2}, "`min_replicas` is above `max_replicas`"),
        ({**SKLEARN, "scale_target": 3}, "`scale_target` needs `scale_metric`"),
        ({**SKLEARN, "resources": {"limits": {"cpu": "much"}}}, "predictor.resources.limits.cpu"),
        ({**SKLEARN, "env": {"TOKEN": 5}}, "predictor.env.TOKEN"),
        ({**SKLEARN, "memory": "2Gi"}, "predictor.memory: unknown; known are model_format"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        Predictor.from_mapping(given)
    assert words in str(error.value)


def test_the_mark_of_the_pods_changes_with_the_pods_alone() -> None:
    def mark(predictor: dict[str, Any], **options: Any) -> str:
        made = marked(inference_service("iris", "models", predictor, **options))
        return str(made["spec"]["predictor"]["labels"][APPLIED_LABEL])

    spec = predictor_spec(Predictor.from_mapping(SKLEARN))
    same = mark(spec)
    assert mark({**spec, "minReplicas": 2, "maxReplicas": 5, "scaleTarget": 3}) == same
    assert mark(spec, canary_percent=10) == same
    assert mark({**spec, "timeout": 10}) != same
    assert mark(spec, annotations={"note": "KServe copies it to the pods"}) != same


def test_a_canary_has_a_mark_of_its_own() -> None:
    spec = predictor_spec(Predictor.from_mapping(SKLEARN))
    canary = {"predictor": {**spec, "name": "new"}, "trafficPercent": 10}
    made = marked(inference_service("iris", "models", spec, canaries=[canary]))

    marks = {
        part["labels"][APPLIED_LABEL] for part in (made["spec"]["predictor"], made["spec"]["canary"][0]["predictor"])
    }
    assert len(marks) == 2
    assert "labels" not in spec


def test_a_manifest_keeps_what_people_write() -> None:
    given = inference_service("iris", "models", {"sklearn": {"storageUri": "s3://m"}}, labels={"team": "search"})
    dirty = {**given, "metadata": {**given["metadata"], "uid": "u", "resourceVersion": "5", "managedFields": []}}

    assert read_manifest({**dirty, "status": {}}, name=None, namespace="models") == given
    assert read_manifest({**given, "metadata": {}}, name="iris", namespace="models")["metadata"]["name"] == "iris"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({}, "apiVersion: serving.kserve.io/v1beta1"),
        (inference_service("rose", "models", {}), "its name is 'rose', the task's 'iris'"),
        (inference_service("iris", "others", {}), "its namespace is 'others', the connection's 'models'"),
        ({**inference_service("iris", "models", {}), "spec": {}}, "it has no `spec.predictor`"),
    ],
)
def test_a_manifest_of_something_else_is_refused(manifest: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        read_manifest(manifest, name="iris", namespace="models")
    assert words in str(error.value)
