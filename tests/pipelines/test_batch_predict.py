"""The compiled pipeline of the batch prediction, run as the embedded world runs it, and killed in the middle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import parquet

from include.classifier.packaging.archive import build_archive
from include.contracts.batch.documents import Predictions
from include.pipelines.compile import FOLDER
from tests.classifier.conftest import LABELS, WORDS, write_tiny_model

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.pipelines, pytest.mark.long]

MODEL, VERSION = "reviews", "20260101000000"
ROWS = 24_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("model")
    trained = write_tiny_model(folder / "trained")
    return build_archive(trained, model=MODEL, version=VERSION, target=folder / f"{MODEL}.mar")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "reviews"
    folder.mkdir()
    for part in range(3):
        with (folder / f"part-{part}.jsonl").open("w") as file:
            for row in range(ROWS // 3):
                text = " ".join(WORDS[(row * step + part) % len(WORDS)] for step in range(1, 2 + row % 14))
                file.write(json.dumps({"id": f"{part}-{row}", "text": "" if row % 1000 == 7 else text}) + "\n")
    return folder


class Run:
    """One run of the pipeline in a process of its own, as the local service starts it."""

    def __init__(self, folder: Path, **parameters: Any) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        shutil.copyfile(FOLDER / "batch_predict.yaml", folder / "pipeline.yaml")
        (folder / "request.json").write_text(json.dumps({"parameters": parameters}))
        with (folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "include.pipelines.local_runner", str(folder)],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        assert self.process.wait(timeout=600) == 0, (self.folder / "log.txt").read_text()[-5000:]

    def kill(self) -> None:
        """End it and all of its steps at once, as a power failure does."""
        for process in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
            process.send_signal(signal.SIGKILL)
        self.process.wait()


def test_killed_in_the_middle_it_ends_as_one_that_was_not(tmp_path: Path, archive: Any, data: Path) -> None:
    def start(name: str, output: Path) -> Run:
        return Run(
            tmp_path / "runs" / name,
            data_uri=str(data),
            output_uri=str(output),
            model_name=MODEL,
            model_version=VERSION,
            archive_uri=archive.path.as_uri(),
            archive_sha256=archive.sha256,
            reading={"text_column": "text", "labels": LABELS},
            shard_rows=1_000,
            workers=2,
        )

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    run = start("killed", broken)
    until = time.monotonic() + 300
    while len(done := sorted((broken / "shards").glob("0*.json"))) < 4:
        assert run.process.poll() is None, (run.folder / "log.txt").read_text()[-5000:]
        assert time.monotonic() < until
        time.sleep(0.02)
    run.kill()
    assert len(done) < 24
    written = {path.name: path.stat().st_mtime_ns for path in done}
    start("again", broken).wait()
    start("unbroken", whole).wait()

    assert {name: (broken / "shards" / name).stat().st_mtime_ns for name in written} == written, "scored once"
    found, expected = (
        [parquet.read_table(path) for path in sorted((folder / "predictions").glob("*.parquet"))]
        for folder in (broken, whole)
    )
    assert len(found) == len(expected) == 24
    assert all(one.equals(other) for one, other in zip(found, expected, strict=True))
    ids = [value for table in found for value in table.column("id").to_pylist()]
    assert ids == [f"{part}-{row}" for part in range(3) for row in range(ROWS // 3) if row % 1000 != 7]
    told = Predictions.parse((broken / "predictions.json").read_text(), where="predictions.json")
    assert (told.rows, told.predicted, told.rejected) == (ROWS, ROWS - 24, 24)
    assert not list(broken.rglob(".*"))
    log = (tmp_path / "runs" / "again" / "log.txt").read_text()
    assert "shards are done already" in log
    assert not any(f'"{word} ' in log for word in WORDS), "no text is printed"
