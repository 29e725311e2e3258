"""What all sections of a model's YAML have in common."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

#: A share of a whole.
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a model's YAML: unknown settings are refused, and nothing changes after reading.

    Text that spells a number or a boolean is one, because templates make text of both, and an empty one is none where a
    number may be left out; a boolean is no number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def may_be_none(cls, name: str) -> bool:
        """Tell whether a setting may be left open where others have a value."""
        return type(None) in get_args(cls.model_fields[name].annotation)

    @field_validator("*", mode="before")
    @classmethod
    def _read_as_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        annotation = cls.model_fields[name].annotation
        # In a union a kind with limits is wrapped together with them.
        kinds = {getattr(kind, "__origin__", kind) for kind in (annotation, *get_args(annotation))}
        if not kinds & {int, float}:
            return value
        if isinstance(value, bool) and bool not in kinds:
            raise ValueError("a number is needed, not true or false")
        return None if value == "" and cls.may_be_none(name) else value


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
