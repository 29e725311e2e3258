"""How a training is shared out, as a model's YAML says it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from include.contracts.section import problems
from include.contracts.settings import TrainedModel, TrainingConfig


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"batch_size": 16, "processes": 3}, "take 15 or 18"),
        ({"batch_size": 16, "processes": 4, "gradient_accumulation": 3}, "take 12 or 24"),
        ({"batch_size": 2, "processes": 4}, "take 4, or other numbers"),
    ],
)
def test_a_batch_that_cannot_be_shared_comes_with_ones_that_can(settings: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingConfig.model_validate(settings)
    assert remedy in problems(caught.value, "training")


def test_yamls_no_is_a_precision() -> None:
    found = TrainingConfig.model_validate(yaml.safe_load("{mixed_precision: no, batch_size: 32, processes: '4'}"))

    assert (found.mixed_precision, found.shares) == ("no", 4)


def test_processes_need_as_many_gpus() -> None:
    model = {"name": "reviews", "data": {"train": "a.csv", "labels": ["bad", "good"]}, "training": {"processes": 4}}

    TrainedModel.model_validate(model)
    TrainedModel.model_validate(model | {"resources": {"accelerator_count": 4}})
    with pytest.raises(ValidationError, match=r"4 processes need as many GPUs, and resources\.accelerator_count is 2"):
        TrainedModel.model_validate(model | {"resources": {"accelerator_count": 2}})
