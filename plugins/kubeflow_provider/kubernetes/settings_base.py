"""What the settings that a person writes have in common: how they are read, and the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kubeflow_provider.exceptions import InvalidRequestError


def _written(value: Any) -> Any:
    """Return a number as text: in YAML, ``cpu_limit: 2`` needs no quotes."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


#: By these, Kubeflow and Argo find the pods of a run.
_OTHERS_KEYS = ("pipeline/", "pipelines.kubeflow.org/", "workflows.argoproj.io/")
_QUALIFIED = r"([a-zA-Z0-9]([-a-zA-Z0-9.]{0,251}[a-zA-Z0-9])?/)?[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?"


def _free(key: str) -> str:
    if key.startswith(_OTHERS_KEYS):
        raise ValueError(f"keys that begin with {', '.join(_OTHERS_KEYS)} are Kubeflow's and Argo's own")
    return key


#: A name of a Kubernetes object.
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
#: Kubeflow names the pod's volume after the claim, and such a name has no dots.
ClaimName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
#: CPU or memory as Kubernetes writes them; a plain number is taken as well.
Quantity = Annotated[str, BeforeValidator(_written), Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?$")]
#: A resource that nodes have so many of.
CountedResource = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[a-zA-Z0-9][-a-zA-Z0-9_.]{0,62}$")
]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1)]
#: Key of a pod's label or annotation.
MetadataKey = Annotated[str, Field(pattern=rf"^{_QUALIFIED}$"), AfterValidator(_free)]
LabelValue = Annotated[
    str, BeforeValidator(_written), Field(pattern=r"^([a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?$")
]

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3} | {
    unit: base**power
    for power, letter in enumerate("KMGTPE", 1)
    for unit, base in ((letter, 1e3), (f"{letter}i", 1024.0))
}


def amount(quantity: str) -> float:
    """Return a quantity as a number: CPUs, or bytes."""
    number = quantity.rstrip("mkKMGTPEi")
    return float(number) * _UNITS[quantity[len(number) :]]


class Settings(BaseModel):
    """Settings that a person writes: unknown ones are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: What they are called, and the name of the section that they stand in.
    _called: ClassVar[tuple[str, str]] = ("Settings", "settings")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what an operator was given.

        :raises InvalidRequestError: naming every setting that is unknown or wrong, all at once, and those that there
            are in place of one that is unknown.
        """
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            called, section = cls._called
            # Without the value: an environment variable may hold what no log should.
            problems = "; ".join(
                f"{'.'.join(map(str, (section, *item['loc'])))}: {cls._complaint(item)}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise InvalidRequestError(f"{called} are wrong: {problems}.") from None

    @classmethod
    def _complaint(cls, problem: Mapping[str, Any]) -> str:
        if problem["type"] == "extra_forbidden" and (known := cls._fields_at(problem["loc"][:-1])):
            return f"unknown; known are {', '.join(known)}"
        return str(problem["msg"]).removeprefix("Value error, ")

    @classmethod
    def _fields_at(cls, place: tuple[str | int, ...]) -> list[str]:
        """Return the names of the settings that there are at a place; keys and positions lead to no other kind."""
        model = cls
        for part in place:
            if isinstance(part, str) and part in model.model_fields:
                model = _settings_in(model.model_fields[part].annotation) or model
        return list(model.model_fields)


def _settings_in(annotation: Any) -> type[Any] | None:
    """Return the settings that a field holds: itself, in a list, or as the values of an object."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _settings_in(inner))), None)
