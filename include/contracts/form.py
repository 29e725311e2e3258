"""What a person may choose for one release: in Airflow's form, over its REST API, and as variables of ``make release``.

Title, words and limits of a field are those of the setting that it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from include.contracts.section import Section
from include.contracts.settings import GateConfig, TrainingConfig

#: Section of a model's YAML -> its settings that are asked for, in the order of the form.
FIELDS: Mapping[type[Section], tuple[str, ...]] = {
    TrainingConfig: (
        "base_model",
        "epochs",
        "learning_rate",
        "batch_size",
        "max_length",
        "weight_decay",
        "warmup",
        "seed",
    ),
    GateConfig: (
        "min_accuracy",
        "min_macro_f1",
        "max_regression",
        "when_inconclusive",
        "must_beat_baseline",
        "max_latency_ratio",
        "max_size_ratio",
    ),
}


@cache
def _properties(section: type[Section]) -> Mapping[str, dict[str, Any]]:
    """Return the schema of every setting; to make it takes longer than to read a YAML, and each model wants fifteen."""
    return dict(section.model_json_schema()["properties"])


def schema_of(section: type[Section], name: str) -> dict[str, Any]:
    """Return the JSON Schema of a field: type, limits, ``title`` and ``description``, without a default."""
    schema = deepcopy(_properties(section)[name])
    schema.pop("default", None)
    if "anyOf" in schema:  # Airflow shows the field of a number that may be left empty by a list of types.
        parts = schema.pop("anyOf")
        limits = {key: value for part in parts for key, value in part.items()}
        schema |= limits | {"type": [part["type"] for part in parts]}
    return schema


def read_field(section: type[Section], name: str, text: str) -> Any:
    """Return a field's value from the text of a variable.

    :raises pydantic.ValidationError: when it is none that the setting may have.
    """
    return getattr(section.model_validate({name: text}), name)


def templates(section: type[Section]) -> dict[str, str]:
    """Return setting -> Airflow's template of what was chosen for it; an empty text where a field was left empty."""
    return {
        name: f"{{{{ params.{name} or '' }}}}" if section.may_be_none(name) else f"{{{{ params.{name} }}}}"
        for name in FIELDS[section]
    }


#: The fields of a search's form, see :class:`include.contracts.search.settings.SearchConfig`.
SEARCH_FIELDS = ("trials", "minutes", "objective", "early_stop", "parallel", "release")
