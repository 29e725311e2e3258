"""The compiled pipeline of a preprocessing in parts, run as the embedded world runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from include.classifier.preprocess import preprocess
from include.contracts.settings import DataConfig
from include.pipelines.compile import FOLDER

ROOT = Path(__file__).parents[2]
AS_OF = "2026-03-03T12:00:00+00:00"


@pytest.mark.pipelines
@pytest.mark.long
def test_it_writes_what_one_process_writes(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        rows = "".join(f"{name if row % 3 else 'every'} row {row},{1 + row % 2}\n" for row in range(200))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}")
    data = DataConfig(train=[str(tmp_path / "?.csv")], labels={"1": "bad", "2": "good"})
    whole = tmp_path / "whole"
    preprocess(data, model="reviews", seed=7, output_uri=whole.as_uri(), as_of=datetime.fromisoformat(AS_OF))

    run, parts = tmp_path / "run", tmp_path / "parts"
    run.mkdir()
    shutil.copyfile(FOLDER / "preprocess_in_parts.yaml", run / "pipeline.yaml")
    request = {"data": data.model_dump_json(), "output_uri": parts.as_uri(), "as_of": AS_OF}
    parameters = {"request": request, "model_name": "reviews", "parts": 2, "seed": 7}
    (run / "request.json").write_text(json.dumps({"parameters": parameters}))
    with (run / "log.txt").open("wb") as log:
        command = [sys.executable, "-u", "-m", "include.pipelines.local_runner", str(run)]
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)

    assert done.returncode == 0, (run / "log.txt").read_text()[-5000:]
    assert sorted(path.name for path in parts.iterdir()) == sorted(path.name for path in whole.iterdir())
    for split in ("train", "evaluation"):
        assert (parts / f"{split}.parquet").read_bytes() == (whole / f"{split}.parquet").read_bytes()
    documents = [json.loads((folder / "dataset.json").read_text()) for folder in (parts, whole)]
    assert documents[0]["sha256"] == documents[1]["sha256"]
    assert documents[0]["dropped"] == documents[1]["dropped"]
