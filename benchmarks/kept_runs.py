"""Keeps what a long benchmark has measured, so that one that was stopped goes on, and says how far it is."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SETTINGS, _RUNS = "settings.json", "runs.jsonl"


class KeptRuns:
    """The runs of one benchmark, in a folder.

    :param folder: emptied when they begin anew.
    :param settings: what the runs depend on.
    :param resumes: whether runs that are there count.
    :param seconds: how long all runs together may be expected to take.
    :raises SystemExit: when they count, but depend on something else. They stay.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resumes: bool, seconds: float) -> None:
        self.folder = folder
        self._found: dict[str, dict[str, Any]] = {}
        self._seconds, self._done_seconds, self._kept_seconds = seconds, 0.0, 0.0
        self._began: float | None = None  # What comes before the first run is none of their pace.
        written = json.dumps(settings, sort_keys=True)
        file = folder / _SETTINGS
        if resumes and file.exists():
            _check(folder, json.loads(file.read_text(encoding="utf-8")), json.loads(written))
            self._found = dict(_read(folder / _RUNS))
            print(f"{len(self._found)} runs that are there already count; leave RESUME out to begin anew.", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            file.write_text(written, encoding="utf-8")

    def __contains__(self, key: str) -> bool:
        """Tell whether a run was measured."""
        return key in self._found

    def get(self, key: str, measure: Callable[[], dict[str, Any]], *, seconds: float) -> dict[str, Any]:
        """Return what was measured, or measure and keep it.

        :param key: of the run, the same when it is resumed.
        :param seconds: that it may be expected to take.
        """
        began = self._began = self._began or time.monotonic()
        self._done_seconds += seconds
        if key in self._found:
            self._kept_seconds += seconds
            return self._found[key]
        found = measure()
        self._found[key] = found
        with (self.folder / _RUNS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, found]) + "\n")
        print(f"[{self._progress(time.monotonic() - began)}] ", end="")
        return found

    def _progress(self, took_seconds: float) -> str:
        """Return how far it is and how long it will take, at the pace that it had."""
        measured = self._done_seconds - self._kept_seconds
        left = (self._seconds - self._done_seconds) * took_seconds / measured
        return f"{self._done_seconds / self._seconds:.0%}, about {max(0, round(left / 60))} min left"


def _check(folder: Path, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    if kept != asked:
        others = ", ".join(sorted(key for key in kept.keys() | asked.keys() if kept.get(key) != asked.get(key)))
        raise SystemExit(
            f"{folder} holds runs with another value of {others}. Go on with what they were begun with, or leave out "
            "RESUME to begin anew."
        )


def _read(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the runs that were written whole."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            key, run = json.loads(line)
        except ValueError:
            break
        found.append((key, run))
    return found
