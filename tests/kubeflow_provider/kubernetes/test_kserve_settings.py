"""Serving settings are read whole, wrong ones are named all at once, and both halves know the same ones."""

from __future__ import annotations

from typing import Any

import pytest

from include.models.kserve_config import KServeConfig
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.model_settings import ModelSettings

_WORDS = {"title", "description", "$ref"}


def test_what_a_models_file_says_arrives_unchanged() -> None:
    config = KServeConfig.model_validate(
        {
            "storage": {"file:///mnt/models": "pvc://models"},
            "gpu": 1,
            "batcher": {"max_batch_size": 4},
            "logger": {"url": "http://sink"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        }
    )

    read = ModelSettings.of({"workers": 2, "kserve": config.model_dump()})

    assert read.model_dump(mode="json") == config.model_dump(mode="json")


def test_both_halves_have_the_same_fields_with_the_same_limits_and_defaults() -> None:
    def fields(schema: dict[str, Any]) -> Any:
        definitions = schema["$defs"]

        def plain(node: Any) -> Any:
            if isinstance(node, list):
                return [plain(item) for item in node]
            if not isinstance(node, dict):
                return node
            inner = plain(definitions[node["$ref"].rpartition("/")[2]]) if "$ref" in node else {}
            return inner | {
                key: plain(value) for key, value in node.items() if key not in _WORDS or isinstance(value, dict)
            }

        return plain({key: value for key, value in schema.items() if key != "$defs"})

    assert fields(ModelSettings.model_json_schema()) == fields(KServeConfig.model_json_schema())


def test_nothing_is_needed() -> None:
    assert ModelSettings.of({}) == ModelSettings()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"memroy": "2Gi", "cpu": "many"}, r"serving\.kserve\.cpu: .*serving\.kserve\.memroy: "),
        ({"min_replicas": 3, "max_replicas": 2}, "`min_replicas` is above `max_replicas`"),
        ({"scale_target": 3}, "`scale_target` needs `scale_metric`"),
        (
            {"deployment_mode": "standard", "scale_metric": "rps", "container_concurrency": 2, "min_replicas": 0},
            r"`scale_metric: rps` works in Knative mode only.*container_concurrency.*min_replicas: 0",
        ),
        ({"env": {"not-a-name": "hush"}}, r"serving\.kserve\.env\.not-a-name"),
    ],
)
def test_everything_that_is_wrong_is_named_at_once(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        ModelSettings.of({"kserve": settings})
    assert "hush" not in str(caught.value)
