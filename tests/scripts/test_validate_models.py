"""`make validate` says what is wrong with a model's YAML before anybody merges it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "validate_models.py"
GOOD = (ROOT / "include" / "models" / "sample-reviews.yaml").read_text(encoding="utf-8")

#: What is done to a good file, and what is said of it.
WRONG = {
    "settings.yaml": (("epochs: 5", "epochs: -5\n  colour: red"), ("training.epochs", "training.colour")),
    "text.yaml": ((GOOD, "- a list\n"), ("expected settings such as",)),
    "yaml.yaml": (("data:", "data: ["), ("cannot be read as YAML",)),
    "pipeline.yaml": (("name: sample-reviews", "name: other\npipeline: include/nowhere.yaml"), ("nowhere.yaml",)),
    "cron.yaml": (("name: sample-reviews", "name: c\nschedule: {cron: 61 * * * *}"), ("schedule.cron", "61 * * * *")),
    "twin.yaml": (("description: Five", "description: Again, five"), ("is defined in", "good.yaml")),
}


@pytest.fixture
def validate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], list[str]]]:
    """Return ``validate(MODEL)``: what the command says, in this process; Airflow's import takes seconds."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "release_models", raising=False)
    spec = importlib.util.spec_from_file_location("validate_models", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def call(model: str) -> list[str]:
        monkeypatch.setenv("MODEL", model)
        monkeypatch.setenv("MODELS_DIR", "")
        try:
            script.main()
        except SystemExit as ended:
            assert ended.code
            return [*capsys.readouterr().err.splitlines(), *([ended.code] if isinstance(ended.code, str) else [])]
        return capsys.readouterr().out.splitlines()

    yield call
    sys.modules.pop("release_models", None)


def test_every_file_of_a_folder_is_checked_and_every_problem_said(
    tmp_path: Path, validate: Callable[[str], list[str]]
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    for name, ((old, new), _) in WRONG.items():
        assert old in GOOD
        (tmp_path / name).write_text(new if old == GOOD else GOOD.replace(old, new, 1))

    lines = validate(str(tmp_path))

    for name, (_, words) in WRONG.items():
        [line] = [line for line in lines if line.startswith(f"{tmp_path / name}: ")]
        assert all(word in line for word in words), line
    assert len(lines) == len(WRONG)


@pytest.mark.parametrize(
    "model",
    [
        "",
        "yelp-reviews",
        "include/models/sample-reviews.yaml",
        "examples/iris/iris.yaml",
        "examples/digits/digits.yaml",
    ],
)
def test_the_models_of_this_project_are_fine(
    model: str, validate: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    [line] = validate(model)
    assert line.endswith(": fine.")


def test_a_model_that_nobody_knows_is_said(validate: Callable[[str], list[str]]) -> None:
    assert "no model of this installation" in validate("nobody")[-1]
