"""What `make release` takes from its variables, and what it says of those that it cannot take."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the commands."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("embedded")


def test_the_variables_become_the_fields_of_the_form(embedded: Any) -> None:
    given = {"TRAIN": "one.csv, two.csv", "EPOCHS": "2.5", "SEED": "", "REQUIRE_APPROVAL": "True", "MODEL": "reviews"}

    assert embedded.form_values(given) == {"train": ["one.csv", "two.csv"], "epochs": 2.5, "require_approval": True}


@pytest.mark.parametrize(("name", "text"), [("EPOCHS", "many"), ("REQUIRE_APPROVAL", "perhaps")])
def test_a_setting_that_cannot_be_read_is_named(embedded: Any, name: str, text: str) -> None:
    with pytest.raises(SystemExit, match=f"{name}='{text}' is not valid for the form's field '{name.lower()}'"):
        embedded.form_values({name: text})


def test_an_unknown_model_is_named_with_those_that_are_there(embedded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "no-such-model")
    with pytest.raises(SystemExit, match=r"MODEL='no-such-model' is not there; .*sample-reviews"):
        embedded.release({})
