"""What all sections of a model's YAML have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a model's YAML: unknown settings are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
