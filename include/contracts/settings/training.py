"""The section ``training`` of a model's YAML; what the form asks for is in :mod:`include.contracts.form`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.contracts.section import Section


class TrainingConfig(Section):
    """How a model is trained."""

    base_model: str = Field(
        "scratch",
        min_length=1,
        title="Base model",
        description="Hub id, local directory, or `scratch` (small DistilBERT, no download).",
    )
    base_model_revision: str | None = Field(None, description="Commit, branch or tag of a Hub id; none: the newest.")
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        title="Epochs",
        description="Passes over the training rows, at most; early stopping may end it sooner. None: chosen for the "
        "base model and the number of rows.",
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        title="Learning rate",
        description="At its peak: it rises during the first tenth of the steps and then falls to 0. None: chosen for "
        "the base model.",
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        16, title="Batch size", description="Texts in one training step, on each device."
    )
    max_length: Annotated[int, Field(ge=8, le=8192)] = Field(
        128,
        title="Longest text, in tokens",
        description="Longer texts are truncated, and the answer says so.",
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        42, title="Seed", description="Of everything that is random: same seed and data, same model."
    )
    early_stopping_patience: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Epochs without a better macro F1 before training stops; a tenth of the rows is held out to tell. "
        "0: all rows, all epochs. None: 0 for `scratch` with chosen epochs, else 2.",
    )
