"""Section ``search`` of a model's YAML: which settings of a training are tried, how long, and what they are judged by.

What is searched are settings of :class:`~include.contracts.settings.TrainingConfig`; whatever a bound or a choice is,
the section ``training`` itself has to allow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from include.contracts.section import Section, problems
from include.contracts.settings import TrainingConfig

#: Settings of a training that can be searched.
SearchedName = Literal["learning_rate", "epochs", "batch_size", "weight_decay", "warmup", "max_length"]
SEARCHED: tuple[SearchedName, ...] = get_args(SearchedName)

#: Those of them that are whole numbers.
WHOLE: frozenset[str] = frozenset({"batch_size", "max_length"})

Number = int | float


class Values(Section):
    """The values that a setting may take: all between two bounds, or some that are named."""

    low: float | None = Field(None, description="Smallest value.")
    high: float | None = Field(None, description="Largest value.")
    log: bool = Field(False, description="Whether a tenth and ten times a value are equally far from it.")
    step: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Only `low` and so many steps more; none: all between. Not with `log`."
    )
    choices: list[Number] = Field([], description="Values, instead of bounds.")

    @field_validator("choices", mode="before")
    @classmethod
    def _choices_are_numbers(cls, values: Any) -> Any:
        if isinstance(values, list) and any(isinstance(value, bool) for value in values):
            raise ValueError("a number is needed, not true or false")
        return values

    @model_validator(mode="after")
    def _bounds_or_choices(self) -> Values:
        bounds = (self.low, self.high)
        if self.choices:
            if bounds != (None, None) or self.log or self.step is not None:
                raise ValueError("either choices, or low and high with log or step")
            if len(set(self.choices)) != len(self.choices) or len(self.choices) < 2:
                raise ValueError("choices: at least two, each of them once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: needs a low above 0, and no step")
        return self

    @property
    def named(self) -> list[Number]:
        """The bounds, or the choices."""
        return list(self.choices) or [value for value in (self.low, self.high) if value is not None]

    def holds(self, value: Number | None) -> bool:
        """Tell whether a value is one of these."""
        if value is None:
            return False
        if self.choices:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        if not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-9


Space = dict[SearchedName, Values]

#: What is searched where the YAML names nothing. A model that begins at random takes larger steps than one that knows a
#: language (Devlin et al., "BERT", 2019, appendix A.3, have 2e-5 to 5e-5 and batches of 16 and 32).
_ANY_MODEL: dict[SearchedName, Values] = {
    "batch_size": Values(choices=[8, 16, 32, 64]),
    "weight_decay": Values(low=1e-4, high=0.3, log=True),
    "warmup": Values(low=0.0, high=0.3),
}
FROM_SCRATCH: Space = {"learning_rate": Values(low=1e-4, high=1e-2, log=True), **_ANY_MODEL}
PRETRAINED: Space = {"learning_rate": Values(low=5e-6, high=2e-4, log=True), **_ANY_MODEL}


class SearchConfig(Section):
    """How better settings of the training are searched; docs/search.md explains each of them."""

    space: Space = Field(
        {},
        description="Setting of `training` -> the values to try; left out: `learning_rate`, `batch_size`, "
        "`weight_decay` and `warmup`, in bounds that suit the base model.",
    )
    trials: Annotated[int, Field(ge=2, le=10_000)] = Field(
        20, title="Trials", description="Trainings, at most; the first is that with the present settings."
    )
    minutes: Annotated[float, Field(gt=0, le=60 * 24 * 14)] = Field(
        120, title="Minutes", description="No trial begins later, and one under way ends with its epoch."
    )
    objective: Literal["macro_f1", "log_loss"] = Field(
        "macro_f1",
        title="Judged by",
        description="What decides: macro F1 or log loss on rows that are held out of the training data. The evaluation "
        "rows are never read.",
    )
    early_stop: Literal["median", "halving", "none"] = Field(
        "median",
        title="Hopeless trials end early",
        description="After each epoch: `median` ends a trial that is worse than half of those before at that epoch, "
        "`halving` all but the best third at epochs 1, 3, 9 …; `none`: all are trained to their end.",
    )
    parallel: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        title="Side by side",
        description="Trials at a time, each in a process of its own on the same machine; with Katib in a pod each.",
    )
    engine: Literal["auto", "optuna", "katib"] = Field(
        "auto",
        description="What proposes settings and runs trials: `katib` an Experiment in the cluster, `optuna` the step "
        "itself; `auto`: Katib where the cluster has it and the step may use it, else Optuna.",
    )
    validation_share: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.2, description="Share of the training rows that are held out to judge by, the same for all trials."
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        0, description="Of which settings are tried, and which rows are held out."
    )
    cron: str | None = Field(
        None, description="When to search, by the clock of `schedule.timezone`; none: by hand only."
    )
    release: bool = Field(
        False,
        title="Release the best settings",
        description="Whether a release is asked for with settings that are better than the present ones.",
    )
    keep: Annotated[int, Field(ge=1)] = Field(10, description="Newest searches that stay in the model store.")

    @model_validator(mode="after")
    def _katib_can_end_trials_so(self) -> SearchConfig:
        if self.engine == "katib" and self.early_stop == "halving":
            raise ValueError("early_stop: Katib knows median and none; name one of them, or another engine")
        return self

    @field_validator("space")
    @classmethod
    def _training_allows_them(cls, space: Space) -> Space:
        for name, values in space.items():
            for value in values.named:
                try:
                    TrainingConfig.model_validate({name: int(value) if _is_whole(name, value) else value})
                except ValidationError as error:
                    raise ValueError(f"{value:g} cannot be searched: {problems(error, 'training')}") from None
            if name in WHOLE and values.step is not None and values.step != int(values.step):
                raise ValueError(f"{name}.step: a whole number is needed")
        return space

    def space_for(self, training: TrainingConfig) -> Space:
        """Return what is searched for a model with these settings."""
        if self.space:
            return self.space
        space = FROM_SCRATCH if training.base_model == "scratch" else PRETRAINED
        sizes = [size for size in space["batch_size"].choices if size % training.shares == 0]
        if len(sizes) < 2:
            return {name: values for name, values in space.items() if name != "batch_size"}
        return {**space, "batch_size": Values(choices=sizes)}

    def refused(self, training: TrainingConfig) -> str:
        """Return why batches of the space cannot be shared by processes and passes of a training; empty: they can."""
        values = self.space.get("batch_size")
        if values is None:
            return ""
        numbers = values.choices or [values.low or 0, values.step or 1]
        if all(number % training.shares == 0 for number in numbers):
            return ""
        return (
            f"search.space.batch_size: name choices, or low and step, that {training.shares} processes and passes "
            "(`training.processes` times `training.gradient_accumulation`) can share evenly"
        )

    def is_better(self, value: float, than: float) -> bool:
        """Tell whether one value of the objective is better than another."""
        return value > than if self.objective == "macro_f1" else value < than


def _is_whole(name: str, value: Number) -> bool:
    return name in WHOLE and float(value).is_integer()


def as_form(settings: Mapping[SearchedName, Number]) -> dict[str, Number]:
    """Return settings that were found as the fields of a release's form."""
    return {name: settings[name] for name in SEARCHED if name in settings}
