"""The sections ``smoke_test`` and ``rollout`` of a model's YAML: what a candidate shows on its way to the traffic."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from include.contracts.section import Fraction, Section


class SmokeTestConfig(Section):
    """What the candidate must show before it gets traffic, and again after."""

    max_latency_ms: Annotated[float, Field(gt=0)] = Field(2000, description="Median of the golden predictions.")
    probability_tolerance: Fraction = Field(0.01, description="Largest difference to the recorded probabilities.")


class RolloutConfig(Section):
    """In which steps a candidate gets the traffic, where the serving system can split it."""

    steps: list[Annotated[int, Field(ge=1, le=99)]] = Field(
        [10, 50], description="Percent of the traffic, rising; all of it follows. Empty: all at once."
    )
    watch_seconds: Annotated[float, Field(ge=0)] = Field(60, description="How long each step is watched, at least.")
    min_samples: Annotated[int, Field(ge=1)] = Field(
        30, description="Answers of the candidate that a step needs; too few to tell are a no."
    )
    max_error_rate: Fraction = Field(0.01, description="Share of failed requests, at most.")
    max_latency_ratio: Annotated[float, Field(gt=0)] = Field(
        2.0, description="Median latency divided by the live model's, at most."
    )
    max_disagreement: Fraction = Field(
        0.3, description="Share of held-out rows that it labels otherwise than the live model, at most."
    )
    max_label_shift: Fraction = Field(
        0.2, description="Total variation distance of both models' label mixes on these rows, at most."
    )

    @model_validator(mode="after")
    def _steps_rise(self) -> RolloutConfig:
        if self.steps != sorted(set(self.steps)):
            raise ValueError(f"steps: they must rise, got {self.steps}")
        return self
