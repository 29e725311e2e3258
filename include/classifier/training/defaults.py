"""Chooses what the settings of a training leave open."""

from __future__ import annotations

from typing import NamedTuple

from include.classifier.training.base_model import SCRATCH
from include.contracts.settings import TrainingConfig

#: Epochs without a better score after which training stops.
PATIENCE = 2


class _Rule(NamedTuple):
    """How a kind of base model learns."""

    learning_rate: float
    epochs: int  #: As long as their steps lie within the limits below.
    fewest_steps: int  #: With few rows a few passes over them are too few steps to learn from.
    most_steps: float  #: With many rows every pass shows enough.
    fewest_epochs: int
    most_epochs: int
    patience: int


#: Word vectors that begin at random need far larger steps than ones that know a language, and more of them. How many is
#: known well enough to hold no rows out: of twenty in a class each one counts.
_FROM_NOTHING = _Rule(1e-3, 20, fewest_steps=1_500, most_steps=15_000, fewest_epochs=3, most_epochs=40, patience=0)
_PRETRAINED = _Rule(
    5e-5, 3, fewest_steps=500, most_steps=float("inf"), fewest_epochs=3, most_epochs=20, patience=PATIENCE
)


def fill_in(settings: TrainingConfig, *, rows: int) -> TrainingConfig:
    """Return the settings with numbers where they were left open.

    :param rows: of the training data.
    """
    rule = _FROM_NOTHING if settings.base_model == SCRATCH else _PRETRAINED
    steps_per_epoch = max(1, -(-rows // settings.batch_size))
    steps = min(max(rule.epochs * steps_per_epoch, rule.fewest_steps), rule.most_steps)
    epochs = min(max(round(steps / steps_per_epoch), rule.fewest_epochs), rule.most_epochs)
    found = {
        "learning_rate": rule.learning_rate,
        "epochs": float(epochs),
        "early_stopping_patience": PATIENCE if settings.epochs else rule.patience,
    }
    return settings.model_copy(update={name: value for name, value in found.items() if getattr(settings, name) is None})
