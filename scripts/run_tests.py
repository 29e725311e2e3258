"""Runs the tests of both halves side by side, each in its environment: ``run_tests.py fast|test|long|all [ARGUMENTS]``.

Arguments go to pytest: ``run_tests.py test -k smoke``. Environment:

``TEST_WORKERS``
    how many tests run at a time in the Airflow half and in the pipeline half, ``4+1`` for example. Most of them wait
    for a server, a scheduler or a training, so that more than there are cores is right.
``TEST_UNTIL``
    seconds since 1970: no test begins after this moment; those that are left out are counted as skipped.
``RECORD_SECONDS=1``
    writes what each file took into ``tests/seconds.json``, which puts the longest first next time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
SECONDS = ROOT / "tests" / "seconds.json"
WORKERS = {"fast": "2+1", "test": "3+1", "long": "4+1", "all": "4+1"}
PIPELINE_FOLDERS = ("tests/classifier", "tests/monitoring", "tests/pipelines", "tests/sample_data")
#: `make test-gpu` has an environment of its own.
ELSEWHERE = "tests/gpu"
SLOWEST = 12
#: The pipeline half computes in one process, the other half in more than there are cores: where both were equal, the
#: former would be the last for minutes, beside a core that nobody uses.
NICENESS = {"airflow": 5}

_NO_TESTS = 5  # of pytest's exit codes
#: Without compiled sources each of the hundreds of processes that the tests start would compile them again.
_NOT_INHERITED = ("PYTHONPATH", "AIRFLOW_HOME", "PYTHONDONTWRITEBYTECODE")


@dataclass
class Report:
    """What a half says in its JUnit file.

    :param seconds: of each file, set-up and clean-up included.
    :param skips: reason -> how many tests.
    :param failures: each test that failed, with the first words of why.
    :param outcomes: each test -> what became of its cases: ``ran``, or why one was skipped.
    """

    seconds: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    outcomes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, file: Path) -> None:
        """Read a JUnit file; one that a broken-off run did not write says nothing."""
        if not file.exists():
            return
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
            file = _file_of(case.get("classname", ""))
            self.seconds[file] += float(case.get("time", 0))
            outcome = "ran"
            for found in case:
                message = found.get("message", "")
                if found.tag == "skipped":
                    outcome = message.removeprefix("Skipped: ")
                    self.skips[outcome] += 1
                elif found.tag in ("failure", "error"):
                    self.failures.append(f"{file}::{case.get('name')}: {message.partition(chr(10))[0]:.240}")
            self.outcomes[f"{file}::{case.get('name', '').partition('[')[0]}"].add(outcome)

    def lines(self) -> Iterable[str]:
        """Yield the slowest files, why tests were skipped, and last what failed: the end is what a CI server shows."""
        yield f"-- the slowest of {len(self.seconds)} files --"
        yield from (f"{seconds:7.1f} s  {file}" for file, seconds in self.seconds.most_common(SLOWEST))
        if self.skips:
            yield f"-- skipped: {self.skips.total()} --"
            yield from (f"{number:5}  {reason}" for reason, number in self.skips.most_common())
        if self.failures:
            yield f"-- failed: {len(self.failures)} --"
            yield from self.failures


class Half:
    """One half's pytest, whose lines are shown as they come, but for the last one, which is the verdict."""

    def __init__(self, name: str, python: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.verdict = ""
        self._process = subprocess.Popen(
            ["nice", "-n", str(NICENESS.get(name, 0)), str(python), "-m", "pytest", *arguments],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert self._process.stdout is not None
        self._thread = threading.Thread(target=self._show, args=(self._process.stdout,))
        self._thread.start()

    def _show(self, lines: IO[str]) -> None:
        for line in lines:
            if self.verdict:
                print(f"{self.name:>9} | {self.verdict}", flush=True)
            self.verdict = line.rstrip("\n")

    def wait(self) -> int:
        """Wait for the end and return pytest's exit code."""
        self._thread.join()
        return self._process.wait()


def _file_of(classname: str) -> str:
    """Return the file of a JUnit class name, which is that of a module, or of a class in one."""
    parts = classname.split(".")
    while parts and not (ROOT / Path(*parts)).with_suffix(".py").exists():
        parts.pop()
    return f"{'/'.join(parts)}.py" if parts else classname


def _airflow_folders() -> list[str]:
    folders = {
        f"tests/{path.parent.relative_to(ROOT / 'tests').parts[0]}" for path in ROOT.glob("tests/*/**/test_*.py")
    }
    return sorted(folders - {*PIPELINE_FOLDERS, ELSEWHERE})


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    # Two trainings with two threads each on two cores take several times as long as with one each.
    env.setdefault("OMP_NUM_THREADS", "1")
    return env


def _record(seconds: Mapping[str, float]) -> None:
    """Write what the files took, beside what is known of files that were not run now."""
    known = json.loads(SECONDS.read_text(encoding="utf-8")) if SECONDS.exists() else {}
    known |= {file: round(took, 1) for file, took in seconds.items()}
    known = {file: took for file, took in sorted(known.items()) if (ROOT / file).exists()}
    SECONDS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def main(tier: str, *arguments: str) -> int:
    """Run both halves and return the exit code: that of a half that failed."""
    airflow_workers, pipeline_workers = (os.environ.get("TEST_WORKERS") or WORKERS[tier]).split("+")
    env = _environment()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        halves = {}
        for name, workers, folders in (
            ("pipelines", pipeline_workers, PIPELINE_FOLDERS),
            ("airflow", airflow_workers, _airflow_folders()),
        ):
            options = ["-q", "-rfE", f"--tier={tier}", "-n", workers, f"--junitxml={folder}/{name}.xml"]
            python = ROOT / ".venv" / name / "bin" / "python"
            halves[name] = Half(name, python, [*options, *folders, *arguments], env)
        codes = [half.wait() for half in halves.values()]
        for name in halves:
            report.add(Path(folder, f"{name}.xml"))
    if os.environ.get("RECORD_SECONDS"):
        _record(report.seconds)
    for line in report.lines():
        print(line)
    # Who chooses tests by arguments does not run a tier.
    missing = [] if arguments or any(code not in (0, _NO_TESTS) for code in codes) else _not_proven(tier, report)
    if missing:
        print("-- docs/ml-test-score.md names tests that did not run --", *missing, sep="\n")
    for half in halves.values():
        print(f"-- the {half.name} half --\n{half.verdict}")
    # One that was killed has a negative code.
    return max((abs(code) and max(code, 1) for code in codes if code != _NO_TESTS), default=0) or int(bool(missing))


def _not_proven(tier: str, report: Report) -> list[str]:
    sys.path.insert(0, str(ROOT))
    from tests.ml_test_score import not_proven

    return not_proven(tier, report.outcomes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
