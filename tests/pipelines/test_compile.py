"""The committed IR is what its definition compiles to, and a stale one is noticed."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
import yaml

from include.pipelines import compile as compiling

TEST_PIPELINES = Path(__file__).parents[1] / "test_pipelines"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.computes
@pytest.mark.long  # `make lint` says the same
def test_the_committed_ir_is_current(capsys):
    assert compiling.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.long
def test_a_stale_ir_is_named_and_compiling_mends_it(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "include" / "pipelines"
    folder.mkdir(parents=True)
    shutil.copy(compiling.FOLDER / "train_classifier.yaml", folder)
    with (folder / "train_classifier.yaml").open("a", encoding="utf-8") as file:
        file.write("# changed by hand\n")
    monkeypatch.setattr(compiling, "FOLDER", folder)
    assert compiling.main(["--check"]) == 1
    assert "include/pipelines/train_classifier.yaml is stale: run `make compile`" in capsys.readouterr().err
    assert compiling.main([]) == 0
    assert compiling.main(["--check"]) == 0


@pytest.mark.parametrize(
    "definition",
    [
        TEST_PIPELINES / "record_and_wait.py",
        TEST_PIPELINES / "publish_toy_package.py",
        EXAMPLES / "iris/pipeline.py",
        EXAMPLES / "digits/pipeline.py",
    ],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_the_ir_of_other_pipelines_is_current(definition, tmp_path):
    copy = shutil.copy(definition, tmp_path)
    runpy.run_path(copy, run_name="__main__")
    assert (tmp_path / f"{definition.stem}.yaml").read_text() == definition.with_suffix(".yaml").read_text()


def test_the_toy_pipeline_takes_what_the_real_one_takes():
    real, toy = (
        next(iter(yaml.safe_load_all(path.read_text())))["root"]["inputDefinitions"]["parameters"]
        for path in (compiling.FOLDER / "train_classifier.yaml", TEST_PIPELINES / "publish_toy_package.yaml")
    )
    assert {name: field["parameterType"] for name, field in toy.items()} == {
        name: field["parameterType"] for name, field in real.items()
    }
