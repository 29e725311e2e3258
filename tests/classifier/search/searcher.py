"""A search as a program of its own, to be killed; arguments: its folder, one for marks, how many trials at a time."""

from __future__ import annotations

import sys
from pathlib import Path

from include.classifier.search import processes
from tests.classifier.search.stub import Stub, search

if __name__ == "__main__":
    processes.HEAVY_IMPORTS = ("tests.classifier.search.stub",)  # nothing is trained
    folder, marks, parallel = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    stub = Stub(marks=marks, slow_from=3, pause_seconds=600)
    search(folder, objective=stub, start=processes.start, trials=9, parallel=parallel, early_stop="none").run()
