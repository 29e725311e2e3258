"""The template for a new model says what one constant says, and is a model that can be read, whatever that is."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from include.contracts.version.runtimes import LOCAL_CONNECTIONS, RUNTIME_OF_NEW_MODELS, Runtime
from model_releases.config import TextClassifierConfig

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-model.md"


@pytest.fixture
def settings_tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    import settings_tables

    return settings_tables


def model_of(page: str) -> dict[str, Any]:
    """Return the first block of YAML of a page."""
    match = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert match
    return yaml.safe_load(match[1])


def test_the_page_is_what_the_constant_says(settings_tables: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert settings_tables.template(page) == page, "run `make docs`"
    assert model_of(page)["serving"]["runtime"] == RUNTIME_OF_NEW_MODELS


@pytest.mark.parametrize("runtime", get_args(Runtime))
def test_the_constant_may_be_any_runtime(settings_tables: Any, runtime: str) -> None:
    page = settings_tables.template(PAGE.read_text(encoding="utf-8"), runtime)
    config = TextClassifierConfig.model_validate(model_of(page))
    assert config.serving.runtime == runtime
    assert config.connection("serving") == LOCAL_CONNECTIONS.get(runtime, "serving_default")
    assert settings_tables.template(page) == PAGE.read_text(encoding="utf-8"), "it can be taken back"
