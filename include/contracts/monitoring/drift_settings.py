"""Section ``drift`` of a model's YAML: how captured requests are compared with what the model was made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from include.contracts.section import Section


class DriftConfig(Section):
    """When and how captured requests are compared; docs/drift.md explains each of them. Needs `capture.enabled`."""

    enabled: bool = Field(True, description="Whether captured requests are compared at all.")
    cron: str = Field("30 4 * * *", description="When, by the clock of `schedule.timezone`.")
    window_hours: Annotated[float, Field(ge=1, le=24 * 90)] = Field(
        24, description="The requests of so many hours before are looked at together."
    )
    min_requests: Annotated[int, Field(ge=50)] = Field(
        200, description="Of fewer captured requests nothing is said: neither that there is drift, nor that it is over."
    )
    false_alarm_rate: Annotated[float, Field(ge=0.0001, le=0.2)] = Field(
        0.01,
        description="Chance that a run tells of drift where there is none, over all features together: one in a "
        "hundred runs.",
    )
    tolerated_distance: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1,
        description="Distance of a feature up to which nobody is told, however sure it is: 0 for any that is shown, 1 "
        "for nothing in common.",
    )
    reference: Literal["auto", "training", "first_requests"] = Field(
        "auto",
        description="What requests are compared with: the data set of the live version, or the first requests that it "
        "answered. `auto`: the data set where the release has one.",
    )
    reference_requests: Annotated[int, Field(ge=50, le=100_000)] = Field(
        1000, description="How many captured requests are the first ones."
    )
    min_labels: Annotated[int, Field(ge=10)] = Field(
        50, description="Of fewer rows whose labels have arrived no accuracy is told."
    )
    tolerated_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05,
        description="How far the live version's accuracy by labels may lie below what was measured before its release; "
        "told when the whole interval of the difference lies lower.",
    )
    keep_reports: Annotated[int, Field(ge=1)] = Field(30, description="Newest reports that stay in the model store.")
