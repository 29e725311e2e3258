"""What a server takes: memory and processor time of all its processes, and the disk of what it needs to run."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

_MEBIBYTE = 2**20

#: Adds up the files of distributions and of all that they require; extras that nobody asked for are left out.
_INSTALLED = """
import importlib.metadata as metadata, json, pathlib, sys
from packaging.requirements import Requirement

left, seen, total = json.loads(sys.argv[1]), set(), 0
while left:
    name = left.pop().lower().replace("_", "-")
    if name in seen:
        continue
    seen.add(name)
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue
    files = (pathlib.Path(found.locate_file(file)) for file in found.files or ())
    total += sum(file.stat().st_size for file in files if file.is_file())
    for line in found.requires or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            left.append(needed.name)
print(total)
"""


def memory_mib(pid: int) -> float:
    """Return the memory of a process and all its children in MiB.

    It is the kernel's proportional set size: a page that several share counts for each by its part, so that the sum is
    what would be free without them.
    """
    total = 0
    for process in _family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total / _MEBIBYTE


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and all its children so far, user and system."""
    total = 0.0
    for process in _family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # those that have ended, too
    return total


def installed_mib(python: Path, distributions: Sequence[str]) -> float:
    """Return how large distributions are with all that they require, in MiB.

    :param python: of the environment that they are installed in; it has ``packaging``.
    :param distributions: those of them that are not there count nothing.
    """
    command = [str(python), "-c", _INSTALLED, json.dumps(list(distributions))]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / _MEBIBYTE


def has_loaded(pid: int, library: str) -> bool:
    """Return whether a process or one of its children has mapped a file with this in its name."""
    for process in _family(pid):
        with contextlib.suppress(OSError):
            if library in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace"):
                return True
    return False


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
