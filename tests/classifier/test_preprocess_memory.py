"""Memory does not grow with the texts of the rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.contracts.settings import DataConfig
from include.models import PROJECT_DIR

_ROW_CHARACTERS = 1000
#: Peak memory of a process that preprocesses small batches, in KiB; what the imports take is in it.
_RUN = """
import resource, sys
from include.classifier.data import dataset
from include.classifier.data.formats import lines
from include.classifier import preprocess
lines.CHUNK_BYTES = dataset.GROUP_BYTES = 1 << 18
assert preprocess.main(sys.argv[1:]) == 0
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1))
"""


def peak(folder: Path, rows: int) -> int:
    file = folder / f"{rows}.csv"
    with file.open("w", encoding="utf-8") as target:
        target.write("text,label\n")
        for number in range(rows):
            target.write(f'"{number}, {"many words " * (_ROW_CHARACTERS // 11)}",{number % 2}\n')
    data = DataConfig(train=[str(file)], labels={"0": "bad", "1": "good"})
    arguments = ["--model", "reviews", "--data", data.model_dump_json(), "--output-uri", str(folder / f"out-{rows}")]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT_DIR)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split("peak ")[1])


@pytest.mark.long
@pytest.mark.processes
def test_four_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    few, many = peak(tmp_path, 10_000), peak(tmp_path, 40_000)

    growth = (many - few) * 1024 / 30_000
    assert growth < _ROW_CHARACTERS / 2, f"{growth:.0f} bytes for each further row"
