from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.pipelines
def test_it_ends_when_nobody_comes(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "include.pipelines.standby", str(tmp_path), "--idle-seconds", "0.1"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PIPELINE_RUN_ID": "a-mark"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
