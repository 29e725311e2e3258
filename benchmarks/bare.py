"""The forward passes without a server, in a process of their own: no server with this engine can beat them.

``python -m benchmarks.bare FOLDER THREADS`` loads a model and takes jobs, each a line of JSON with ``texts`` and
``rows``: how many of them it is given at once. Its answers are lines of JSON, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load import ROOT, Answer


class Bare:
    """The process, for whoever compares with it.

    :param process: that takes the jobs.
    :param first_answer_seconds: from its start to the first answer to a text.
    """

    def __init__(self, process: subprocess.Popen[str], began: float) -> None:
        self.pid = process.pid
        self._process = process
        self.predict(["ready"], rows=1)
        self.first_answer_seconds = time.monotonic() - began

    def predict(self, texts: Sequence[str], *, rows: int) -> tuple[list[Answer], list[Mapping[str, float]]]:
        """Classify texts, so many at once; return the answers, without bodies, and the probabilities by label.

        :raises RuntimeError: when the process has ended.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"texts": list(texts), "rows": rows}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The process without a server ended; its reason stands above.")
        found = json.loads(line)
        return [Answer(**answer) for answer in found["answers"]], found["found"]


@contextmanager
def bare(model: Path, *, threads: int) -> Iterator[Bare]:
    """Load a packed model in a process that classifies for as long as the block lasts."""
    began = time.monotonic()
    command = (sys.executable, "-m", "benchmarks.bare", str(model), str(threads))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Bare(process, began)
        finally:
            process.kill()


def classify(predictor: Any, texts: Sequence[str], *, rows: int) -> tuple[list[Answer], list[Mapping[str, float]]]:
    """See :meth:`Bare.predict`; every text waits for those that it was given with."""
    answers: list[Answer] = []
    found: list[Mapping[str, float]] = []
    for first in range(0, len(texts), rows):
        began = time.monotonic()
        predictions = predictor.predict(texts[first : first + rows])
        seconds = time.monotonic() - began
        found += [prediction.probabilities for prediction in predictions]
        answers += [Answer(row=first, began=began, seconds=seconds, status=200) for _ in predictions]
    return answers, found


def main() -> None:
    """Take jobs until nobody is there any more."""
    from include.classifier.serving.predictor import Predictor

    predictor = Predictor.load(Path(sys.argv[1]), device="cpu", threads=int(sys.argv[2]))
    for line in sys.stdin:
        job = json.loads(line)
        answers, found = classify(predictor, job["texts"], rows=job["rows"])
        print(json.dumps({"answers": [asdict(answer) for answer in answers], "found": found}), flush=True)


if __name__ == "__main__":
    main()
