from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.pipelines


@pytest.fixture
def run(tmp_path: Path, record_and_wait: str) -> Any:
    """Return ``run(**parameters)``, which gives the exit code, the account and the log of a run."""

    def run(**parameters: object) -> tuple[int, dict[str, Any], str]:
        folder = tmp_path / "run"
        folder.mkdir()
        shutil.copyfile(record_and_wait, folder / "pipeline.yaml")
        request = {"parameters": {"file": str(tmp_path / "recorded")} | parameters}
        (folder / "request.json").write_text(json.dumps(request))
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
