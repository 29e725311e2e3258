"""Serving settings are read whole, and wrong ones are named all at once."""

from __future__ import annotations

from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings


def test_what_is_handed_on_as_json_arrives_unchanged() -> None:
    settings = PredictorSettings.model_validate(
        {
            "storage": {"file:///mnt/models": "pvc://models"},
            "gpu": 1,
            "batcher": {"max_batch_size": 4},
            "logger": {"url": "http://sink"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        }
    )

    read = PredictorSettings.of({"workers": 2, "kserve": settings.model_dump(mode="json")})

    assert read == settings


def test_nothing_is_needed() -> None:
    assert PredictorSettings.of({}) == PredictorSettings()


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
        PredictorSettings.of({"kserve": settings})
    assert "hush" not in str(caught.value)
