"""What all sections of a model's YAML have in common."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator


class Section(BaseModel):
    """A part of a model's YAML: unknown settings are refused, and nothing changes after reading.

    Text that spells a number or a boolean is one, because templates make text of both; a boolean is no number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _a_boolean_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("a number is needed, not true or false")
        return value


def problems(error: ValidationError, section: str = "", *, most: int = 20) -> str:
    """Return every place that is wrong, with why, in one line. No value is in it: it may be a user's or a secret.

    :param section: name of the section that the settings stand in; empty: they are the whole.
    :param most: so many places are named; of the others their number.
    """
    found = []
    for item in error.errors(include_input=False, include_url=False)[:most]:
        place = ".".join(map(str, (*([section] if section else []), *item["loc"])))
        found.append(f"{place or 'file'}: {item['msg'].removeprefix('Value error, ')}")
    more = error.error_count() - len(found)
    return "; ".join([*found, *([f"and {more} more"] if more else [])])
