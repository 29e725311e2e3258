"""Runs the compiled pipeline as the embedded world does: with kfp.local, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Its progress is printed between kfp's own lines; what counts is candidate.json.
RUN = """
import json, pathlib, sys
from unittest.mock import MagicMock
from kfp import components, local
from include.pipelines.local_steps import take_over
take_over(MagicMock(), pathlib.Path(sys.argv[2], "environments"))  # kfp's own way fails where a path holds a space
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
components.load_component_from_file(sys.argv[1])(**json.loads(sys.argv[3]))
"""


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` at the project's root."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Preprocess, run the training pipeline and return ``candidate.json``, with its log under ``log``."""

    def run(model: str, version: str, data: str, **parameters: Any) -> dict[str, Any]:
        folder = tmp_path / version
        output_uri = folder.as_uri()
        prepared = run_module(
            *("include.classifier.preprocess", "--model", model, "--data", data, "--seed", "42"),
            *("--output-uri", f"{output_uri}/dataset"),
        )
        assert prepared.returncode == 0, prepared.stderr
        arguments = parameters | {
            "dataset_uri": f"{output_uri}/dataset/dataset.json",
            "output_uri": output_uri,
            "model_name": model,
            "model_version": version,
        }
        ir = ROOT / "include" / "pipelines" / "train_classifier.yaml"
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(ir), str(folder / "kfp"), json.dumps(arguments)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return json.loads((folder / "candidate.json").read_text(encoding="utf-8")) | {"log": done.stdout}

    return run
