"""What may be searched is what the training itself allows, and a short YAML is enough."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from include.contracts.search.settings import FROM_SCRATCH, PRETRAINED, SEARCHED, SearchConfig, Values, as_form
from include.contracts.section import problems
from include.contracts.settings import TrainingConfig


def wrong(space: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        SearchConfig.model_validate({"space": space})
    return problems(caught.value, "search")


def test_a_number_of_trials_is_enough() -> None:
    config = SearchConfig.model_validate({"trials": 20})

    assert (config.trials, config.minutes, config.objective, config.early_stop) == (20, 120, "macro_f1", "median")
    assert config.space_for(TrainingConfig()) == FROM_SCRATCH
    assert config.space_for(TrainingConfig(base_model="distilbert-base-uncased")) == PRETRAINED


@pytest.mark.parametrize("space", [FROM_SCRATCH, PRETRAINED])
def test_what_is_searched_by_default_can_be_trained_with(space: Any) -> None:
    assert SearchConfig(space=space).space == space


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rate": {"low": 1e-5, "high": 2}}, "2 cannot be searched: training.learning_rate: Input should be"),
        ({"learning_rate": {"low": 0, "high": 1e-3}}, "0 cannot be searched: training.learning_rate"),
        ({"batch_size": {"choices": [8, 5000]}}, "5000 cannot be searched: training.batch_size"),
        ({"batch_size": {"low": 8, "high": 32.5}}, "32.5 cannot be searched: training.batch_size"),
        ({"batch_size": {"low": 8, "high": 32, "step": 0.5}}, "batch_size.step: a whole number is needed"),
        ({"max_length": {"choices": [4, 64]}}, "4 cannot be searched: training.max_length"),
        ({"warmup": {"low": 0, "high": 1}}, "1 cannot be searched: training.warmup"),
        ({"weight_decay": {"low": 0, "high": 0.1, "log": True}}, "log: needs a low above 0"),
        (
            {"weight_decay": {"low": 0.1, "high": 0.2, "log": True, "step": 0.1}},
            "log: needs a low above 0, and no step",
        ),
        ({"epochs": {"low": 3, "high": 3}}, "low \\(3\\) must be below high \\(3\\)"),
        ({"epochs": {"low": 1}}, "needs low and high, or choices"),
        ({"epochs": {"low": 1, "high": 3, "choices": [1, 2]}}, "either choices, or low and high"),
        ({"epochs": {"choices": [2]}}, "at least two, each of them once"),
        ({"epochs": {"choices": [2, 2]}}, "at least two, each of them once"),
        ({"epochs": {"choices": [True, 2]}}, "a number is needed, not true or false"),
        ({"seed": {"choices": [1, 2]}}, "Input should be 'learning_rate'"),
        ({"base_model": {"choices": ["a", "b"]}}, "Input should be 'learning_rate'"),
        ({"epochs": {"low": 1, "high": float("inf")}}, "finite"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_with_its_place(space: Any, message: str) -> None:
    import re

    assert re.search(message, wrong(space))


def test_the_forms_texts_are_numbers() -> None:
    config = SearchConfig.model_validate({"trials": "7", "minutes": "1.5", "parallel": "2", "release": "True"})

    assert (config.trials, config.minutes, config.parallel, config.release) == (7, 1.5, 2, True)


@pytest.mark.parametrize(
    ("values", "value", "is_held"),
    [
        (Values(low=1, high=3), 2.2, True),
        (Values(low=1, high=3), 3.1, False),
        (Values(low=1, high=3, step=0.5), 2.5, True),
        (Values(low=1, high=3, step=0.5), 2.4, False),
        (Values(choices=[8, 16]), 16, True),
        (Values(choices=[8, 16]), 12, False),
        (Values(low=1, high=3), None, False),
    ],
)
def test_the_present_settings_may_lie_outside(values: Values, value: float | None, is_held: bool) -> None:
    assert values.holds(value) is is_held


@pytest.mark.parametrize(("objective", "better"), [("macro_f1", 0.9), ("log_loss", 0.1)])
def test_better_is_more_macro_f1_or_less_loss(objective: Any, better: float) -> None:
    config = SearchConfig(objective=objective)

    assert config.is_better(better, 0.5)
    assert not config.is_better(0.5, 0.5)


def test_everything_that_is_searched_is_a_field_of_the_releases_form() -> None:
    from include.contracts.form import FIELDS

    assert set(SEARCHED) <= set(FIELDS[TrainingConfig])
    assert as_form({"warmup": 0.2, "batch_size": 8}) == {"batch_size": 8, "warmup": 0.2}


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [({"choices": [8, 16]}, False), ({"choices": [6, 8]}, True), ({"low": 8, "high": 32, "step": 4}, False),
     ({"low": 8, "high": 32}, True)],
)  # fmt: skip
def test_batches_are_those_that_processes_and_passes_can_share(values: Any, is_refused: bool) -> None:
    training = TrainingConfig(batch_size=16, processes=2, gradient_accumulation=2)
    config = SearchConfig.model_validate({"space": {"batch_size": values}})

    assert bool(config.refused(training)) is is_refused
    assert SearchConfig().space_for(training)["batch_size"].choices == [8, 16, 32, 64]
    alone = TrainingConfig(batch_size=64, processes=64)
    assert "batch_size" not in SearchConfig().space_for(alone)
