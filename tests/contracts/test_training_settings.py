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
        ({"batch_size": 16, "processes": 3, "nodes": 2}, "by 6 processes with 1 passes each; take 12 or 18"),
    ],
)
def test_a_batch_that_cannot_be_shared_comes_with_ones_that_can(settings: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingConfig.model_validate(settings)
    assert remedy in problems(caught.value, "training")


def test_yamls_no_is_a_precision() -> None:
    found = TrainingConfig.model_validate(yaml.safe_load("{mixed_precision: no, batch_size: 32, processes: '4'}"))

    assert (found.mixed_precision, found.shares) == ("no", 4)


def test_nodes_share_a_step_as_processes_do() -> None:
    found = TrainingConfig(batch_size=48, nodes=3, processes=4, gradient_accumulation=2)

    assert (found.all_processes, found.shares) == (12, 24)
    here = found.on_one_node()
    assert (here.nodes, here.processes, here.shares) == (1, 12, 24)


def test_processes_need_as_many_gpus() -> None:
    model = {"name": "reviews", "data": {"train": "a.csv", "labels": ["bad", "good"]}, "training": {"processes": 4}}

    TrainedModel.model_validate(model)
    TrainedModel.model_validate(model | {"resources": {"accelerator_count": 4}})
    with pytest.raises(ValidationError, match=r"4 processes need as many GPUs, and resources\.accelerator_count is 2"):
        TrainedModel.model_validate(model | {"resources": {"accelerator_count": 2}})
