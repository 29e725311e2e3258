"""The form asks for settings that there are, in their own words, and reads what a variable says as they do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from include.contracts.form import FIELDS, read_field, schema_of, templates
from include.contracts.section import Section
from include.contracts.settings import GateConfig, TrainingConfig

ALL = [(section, name) for section, names in FIELDS.items() for name in names]


@pytest.mark.parametrize(("section", "name"), ALL, ids=lambda value: value if isinstance(value, str) else "")
def test_every_field_has_a_title_words_and_a_type(section: type[Section], name: str) -> None:
    schema = schema_of(section, name)

    assert schema["type"] in ("string", "number", "integer", "boolean", ["number", "null"])
    assert schema["title"] != name.replace("_", " ").title() or name in ("epochs", "seed"), "pydantic made it up"
    assert schema["description"]
    assert "default" not in schema


@pytest.mark.parametrize(
    ("section", "name", "text", "value"),
    [
        (TrainingConfig, "epochs", "0.5", 0.5),
        (TrainingConfig, "epochs", "", None),
        (TrainingConfig, "batch_size", "8", 8),
        (TrainingConfig, "base_model", "1e3", "1e3"),
        (GateConfig, "must_beat_baseline", "false", False),
        (GateConfig, "when_inconclusive", "release", "release"),
    ],
)
def test_text_is_read_as_the_setting_is(section: type[Section], name: str, text: str, value: Any) -> None:
    found = read_field(section, name, text)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("section", "name", "text"),
    [
        (TrainingConfig, "epochs", "many"),
        (TrainingConfig, "epochs", "0"),
        (TrainingConfig, "batch_size", ""),
        (TrainingConfig, "batch_size", "1.5"),
        (TrainingConfig, "base_model", ""),
        (GateConfig, "max_latency_ratio", "nan"),
        (GateConfig, "when_inconclusive", "perhaps"),
    ],
)
def test_text_that_the_setting_may_not_have_is_refused(section: type[Section], name: str, text: str) -> None:
    with pytest.raises(ValidationError):
        read_field(section, name, text)


def test_templates_stand_for_what_was_chosen() -> None:
    assert templates(TrainingConfig)["max_length"] == "{{ params.max_length }}"
    assert templates(TrainingConfig)["epochs"] == "{{ params.epochs or '' }}"
    assert templates(GateConfig).keys() == set(FIELDS[GateConfig])


def test_a_number_that_may_be_left_empty_keeps_its_limits() -> None:
    schema = schema_of(TrainingConfig, "epochs")
    assert (schema["type"], schema["exclusiveMinimum"], schema["maximum"]) == (["number", "null"], 0, 1000)
    assert "anyOf" not in schema
