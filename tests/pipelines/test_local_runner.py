from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.pipelines.local_runner import outputs_of
from tests.test_pipelines.small_steps import named, silent, uses_its_package

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.pipelines


@pytest.fixture
def run_pipeline(tmp_path: Path) -> Any:
    """Return ``run_pipeline(ir, **parameters)``, which gives the exit code, the account and the log of a run."""

    def run(ir: str | Path, **parameters: object) -> tuple[int, dict[str, Any], str]:
        folder = tmp_path / "runs" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        shutil.copyfile(ir, folder / "pipeline.yaml")
        (folder / "request.json").write_text(json.dumps({"parameters": parameters}))
        with (folder / "log.txt").open("ab") as log:
            code = subprocess.run(
                [sys.executable, "-u", "-m", "include.pipelines.local_runner", str(folder)],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        return code, json.loads((folder / "state.json").read_text()), (folder / "log.txt").read_text()

    return run


@pytest.fixture
def run(run_pipeline: Any, tmp_path: Path, record_and_wait: str) -> Any:
    """Return ``run(**parameters)``, which runs the pipeline that records and waits."""
    return lambda **parameters: run_pipeline(record_and_wait, file=str(tmp_path / "recorded"), **parameters)


def own_log(log: str, step: dict[str, Any]) -> str:
    return log.encode()[step["log_start"] : step["log_end"]].decode()


def test_keeps_an_account_of_the_run_and_its_steps(run: Any, tmp_path: Path) -> None:
    code, account, log = run()

    assert code == 0
    assert (account["state"], account["reason"]) == ("SUCCEEDED", None)
    assert [(step["name"], step["state"]) for step in account["steps"]] == [
        ("record", "SUCCEEDED"),
        ("finish", "SUCCEEDED"),
    ]
    assert account["started"] <= account["steps"][0]["started"] <= account["steps"][1]["started"] <= account["ended"]
    assert "recorded" in own_log(log, account["steps"][0])
    assert "recorded" not in own_log(log, account["steps"][1])
    assert not (tmp_path / "run" / "progress").exists(), "the first step's word is not the second one's"


def test_its_log_has_no_colours(run: Any) -> None:
    _, _, log = run()

    assert "recorded" in log
    assert "Executing task 'record'" in log
    assert "\x1b" not in log


def test_its_reason_is_the_last_thing_that_the_failed_step_said(run: Any) -> None:
    code, account, _ = run(fail=True)

    assert code == 1
    assert account["state"] == "FAILED"
    assert account["reason"] == "Step 'finish' failed: ValueError: column 'stars' is missing"


def test_suspects_memory_when_the_step_was_killed(run: Any) -> None:
    assert "most likely because memory ran out" in run(killed=True)[1]["reason"]


def test_its_reason_is_the_error_when_no_step_began(run: Any) -> None:
    code, account, log = run(unknown=1)

    assert code == 1
    assert account["steps"] == []
    assert account["reason"].startswith("TypeError: ")
    assert "Traceback" in log


def test_the_compiled_test_pipeline_is_that_of_its_source(record_and_wait: str, tmp_path: Path) -> None:
    source = tmp_path / "record_and_wait.py"
    shutil.copyfile(Path(record_and_wait).with_suffix(".py"), source)
    subprocess.run([sys.executable, str(source)], check=True)

    assert source.with_suffix(".yaml").read_text() == Path(record_and_wait).read_text()


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Path]:
    """Return ``compiled(pipeline)``, which gives the file of its IR."""
    from kfp import compiler

    def compiled(pipeline: Any) -> Path:
        path = tmp_path / f"{uuid.uuid4().hex}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path

    return compiled


def component(function: Callable[..., None], **options: Any) -> Any:
    from kfp import dsl

    return dsl.component(function, base_image="python:3.11", install_kfp_package=False, **options)


def test_a_step_that_says_nothing_is_told_by_its_exit_code(run_pipeline: Any, compiled: Callable[..., Path]) -> None:
    _, account, _ = run_pipeline(compiled(component(silent)))

    assert account["reason"] == "Step 'silent' failed: it ended without a word, with exit code 3"


def test_every_iteration_is_shown_as_it_ended(run_pipeline: Any, compiled: Callable[..., Path]) -> None:
    from kfp import dsl

    @dsl.pipeline(name="loop")
    def loop():
        with dsl.ParallelFor(items=[str(number) for number in range(8)]) as item:
            component(named)(name=item).set_caching_options(False)

    _, account, _ = run_pipeline(compiled(loop))

    assert account["state"] == "SUCCEEDED", account
    assert [step["state"] for step in account["steps"]] == ["SUCCEEDED"] * 8
    assert all(step["log_end"] >= step["log_start"] for step in account["steps"])


@pytest.mark.long
def test_packages_of_a_component_are_installed_beside_the_project(
    run_pipeline: Any, compiled: Callable[..., Path], tmp_path: Path
) -> None:
    wheel = tmp_path / "its_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("its_package.py", "")
        about = "its_package-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: its-package\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    ir = compiled(component(uses_its_package, packages_to_install=[str(wheel)], pip_index_urls=[tmp_path.as_uri()]))

    for _ in range(2):
        code, account, log = run_pipeline(ir)
        assert code == 0, (account, log)
        assert f"version 1.0 of {tmp_path}/runs/.environments/" in log
    assert len([path for path in (tmp_path / "runs" / ".environments").iterdir() if path.is_dir()]) == 1
    assert importlib.util.find_spec("its_package") is None


def test_what_a_pipeline_returns_is_told_as_json() -> None:
    from kfp import dsl

    model = dsl.Model(uri="/runs/one/artifacts/model", metadata={"framework": "sklearn"})
    found = {"model": model, "both": [model, dsl.Artifact(uri="s3://bucket/key")], "accuracy": 0.9, "broken": math.nan}

    told = {"uri": "file:///runs/one/artifacts/model", "type": "system.Model", "metadata": {"framework": "sklearn"}}
    assert outputs_of(found) == {
        "parameters": {"accuracy": 0.9, "broken": "NaN"},
        "artifacts": {"model": told, "both": [told, {"uri": "s3://bucket/key", "type": "system.Artifact"}]},
    }
    assert outputs_of({}) == {}
