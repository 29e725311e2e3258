"""What Airflow's half is compared with is what the compiler makes today."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

TEST_PIPELINES = Path(__file__).parents[1] / "test_pipelines"


@pytest.mark.long
@pytest.mark.computes
def test_the_compiled_pairs_are_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = shutil.copy(TEST_PIPELINES / "cluster_settings.py", tmp_path)
    monkeypatch.setattr("sys.argv", [str(definition)])
    runpy.run_path(str(definition), run_name="__main__")

    made = sorted(tmp_path.glob("*.yaml"))
    assert [path.name for path in made] == ["cluster_settings_after.yaml", "cluster_settings_before.yaml"]
    for path in made:
        assert path.read_text() == (TEST_PIPELINES / path.name).read_text(), f"remake it with {definition}"
