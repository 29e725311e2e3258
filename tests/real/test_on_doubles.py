"""The command against the doubles, each part in processes of its own."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.real import __main__ as command
from tests.real.parts import PARTS

pytestmark = [pytest.mark.long, pytest.mark.pipelines]

#: Releases take minutes each, and their stories are told to the doubles by other tests as well:
#: ``tests/real/run.sh --doubles`` plays them.
SHORT = ("kubeflow-*", "*-recorded")


@pytest.mark.timeout(900)
def test_every_short_part_passes(tmp_path: Path) -> None:
    only = [argument for pattern in SHORT for argument in ("--only", pattern)]
    assert command.main(["--doubles", *only, "--report", str(tmp_path)]) == 0, (tmp_path / "table.txt").read_text()

    rows = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    short = {part.name for part in PARTS if any(fnmatch(part.name, pattern) for pattern in SHORT)}
    assert len(short) > 3
    assert {row["part"]: row["result"] for row in rows} == dict.fromkeys(short, "passed")
    assert all(row["note"] for row in rows)
