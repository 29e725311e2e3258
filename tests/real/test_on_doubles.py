"""The whole command against the doubles, each part in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.real import __main__ as command
from tests.real.parts import PARTS

pytestmark = [pytest.mark.long, pytest.mark.airflow, pytest.mark.pipelines, pytest.mark.torchserve]

#: What no double is: S3, and an ingress where routes are the Gateway API's.
ELSEWHERE = {"releases-s3", "releases-ingress"}


@pytest.mark.timeout(3600)
def test_every_part_passes_that_a_double_has_what_it_needs_for(tmp_path: Path) -> None:
    assert command.main(["--doubles", "--report", str(tmp_path)]) == 0, (tmp_path / "table.txt").read_text()

    rows = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert {row["part"] for row in rows if row["result"] == "passed"} == {part.name for part in PARTS} - ELSEWHERE
    assert {row["part"]: bool(row["note"]) for row in rows} == {part.name: True for part in PARTS}
