"""What a model's YAML leaves open is chosen for the base model and the number of rows; what it says stands."""

from __future__ import annotations

from typing import Any

import pytest

from include.classifier.training.defaults import fill_in
from include.contracts.settings import TrainingConfig

DISTILBERT = "distilbert-base-uncased"


@pytest.mark.parametrize(
    ("settings", "rows", "epochs", "learning_rate", "patience"),
    [
        ({}, 40, 40, 1e-3, 0),
        ({}, 1_500, 20, 1e-3, 0),
        ({}, 20_000, 12, 1e-3, 0),
        ({}, 1_000_000, 3, 1e-3, 0),
        ({"batch_size": 32}, 1_500, 32, 1e-3, 0),
        ({"base_model": DISTILBERT}, 40, 20, 5e-5, 2),
        ({"base_model": DISTILBERT}, 1_000, 8, 5e-5, 2),
        ({"base_model": DISTILBERT}, 1_000_000, 3, 5e-5, 2),
        ({"learning_rate": 2e-4}, 20_000, 12, 2e-4, 0),
        ({"early_stopping_patience": 3}, 20_000, 12, 1e-3, 3),
        ({"epochs": 0.5}, 40, 0.5, 1e-3, 2),
        ({"epochs": 3, "learning_rate": 5e-5, "early_stopping_patience": 0}, 40, 3, 5e-5, 0),
    ],
)
def test_what_is_open_is_chosen_and_what_is_said_stands(
    settings: dict[str, Any], rows: int, epochs: float, learning_rate: float, patience: int
) -> None:
    asked = TrainingConfig(**settings)
    found = fill_in(asked, rows=rows)

    assert found.model_dump() == asked.model_dump() | {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "early_stopping_patience": patience,
    }
    # As `reproduce` has it: what was recorded is no longer open.
    assert fill_in(found, rows=7) == found
