"""Runs every part whose needs a cluster has, and tells of each whether it passed, failed or was not there.

The cluster is named by variables of the environment, which docs/real-cluster.md lists; what is not there is left out,
with the reason. Ends with 0 when something was run and nothing failed, 1 when a part failed, 2 when nothing was there
to run. The table and every part's output go into the folder of the report.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.real.facts import Facts
from tests.real.parts import PARTS, Part

ROOT = Path(__file__).parents[2]
PASSED, FAILED, NOT_THERE = "passed", "failed", "not there"
_SUMMARY = re.compile(r"^\d+ (passed|failed|skipped|error|deselected).* in [\d.]+s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a part.

    :param note: what it says of itself, or why it was not run.
    """

    part: str
    about: str
    result: str
    seconds: int
    note: str


def run_part(part: Part, report: Path, environment: Mapping[str, str]) -> Result:
    """Run a part in a process of its own, with its output in a file of the report."""
    began = time.monotonic()
    command = [sys.executable, *(argument.format(report=report) for argument in part.command)]
    with (report / f"{part.name}.log").open("w+", encoding="utf-8", errors="replace") as log:
        code = subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}", **part.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ).returncode
        log.seek(0)
        note = note_of(log.read().splitlines())
    is_skipped = code == 0 and "skipped" in note and "passed" not in note
    result = NOT_THERE if is_skipped else PASSED if code == 0 else FAILED
    seconds = round(time.monotonic() - began)
    return Result(part=part.name, about=part.about, result=result, seconds=seconds, note=note or f"ended with {code}")


def note_of(lines: Iterable[str]) -> str:
    """Return what an output says of itself: its lines ``note: …``, then the summary of pytest; else its last words."""
    lines = [line.strip(" =") for line in lines if line.strip(" =")]
    notes = [line.partition("note: ")[2] for line in lines if "note: " in line]
    notes += [line for line in lines if _SUMMARY.match(line)][-1:]
    return "; ".join(notes) or "".join(lines[-1:])


def run_all(
    parts: Sequence[Part], lacking: Callable[[str], str], run: Callable[[Part], Result], tell: Callable[[str], None]
) -> list[Result]:
    """Run what there is, one part after the other.

    :param lacking: returns why a fact does not hold, empty where it does.
    """
    results = []
    for part in parts:
        why = next((why for name in part.needs if (why := lacking(name))), "")
        if why:
            results.append(Result(part=part.name, about=part.about, result=NOT_THERE, seconds=0, note=why))
        else:
            tell(f"{part.name}: {part.about} …")
            results.append(run(part))
        tell(f"{part.name}: {results[-1].result}")
    return results


def table(results: Sequence[Result]) -> str:
    """Return the results as lines of text."""
    rows = [("part", "result", "seconds", "what it says")]
    rows += [(entry.part, entry.result, str(entry.seconds or ""), entry.note) for entry in results]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3]]) for row in rows
    ]
    kinds = [entry.result for entry in results]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in (PASSED, FAILED, NOT_THERE))
    return "\n".join([*lines, "", counts]) + "\n"


def exit_code(results: Sequence[Result]) -> int:
    """Return 0 when something was run and nothing failed."""
    if any(entry.result == FAILED for entry in results):
        return 1
    return 0 if any(entry.result == PASSED for entry in results) else 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    asked = _parser().parse_args(arguments)
    parts = [part for part in PARTS if any(fnmatchcase(part.name, pattern) for pattern in asked.only or ["*"])]
    if asked.list:
        print("\n".join(f"{part.name:22}{part.about} (needs {', '.join(part.needs)})" for part in parts))
        return 0
    report = (asked.report or ROOT / ".state" / "real" / time.strftime("%Y%m%d-%H%M%S")).resolve()
    report.mkdir(parents=True, exist_ok=True)
    if asked.doubles:
        from tests.real.doubles import doubles_in_a_process

        surroundings = doubles_in_a_process(report)
    else:
        surroundings = nullcontext({})
    with surroundings as more:
        environment = {**os.environ, **more}
        results = run_all(
            parts,
            Facts(environment).lacking,
            lambda part: run_part(part, report, environment),
            lambda line: print(line, flush=True),
        )
    text = table(results)
    (report / "table.txt").write_text(text, encoding="utf-8")
    (report / "table.json").write_text(json.dumps([asdict(entry) for entry in results], indent=1), encoding="utf-8")
    print(f"\n{text}\n{report}/table.txt, table.json and a log for each part")
    return exit_code(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/real/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="name the parts and end")
    parser.add_argument("--only", action="append", metavar="PART", help="with * for anything; may be repeated")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="default .state/real/<now>")
    parser.add_argument("--doubles", action="store_true", help="run it against the doubles of the tests instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())
