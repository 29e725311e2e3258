"""Two commands at once: one does it, the other waits and says so."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
_HOLD = "import sys; from pathlib import Path; from only_one import only_one\n"


def _process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{_HOLD}{code}", *arguments],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.processes
def test_the_second_waits_for_the_first_however_that_ends(tmp_path: Path) -> None:
    lock = str(tmp_path / "new" / "airflow.lock")
    first = _process("with only_one(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()", lock)
    assert first.stdout is not None
    assert first.stdout.readline() == "mine\n"
    second = _process("with only_one(Path(sys.argv[1]), waiting='waits'): print('mine', flush=True)", lock)
    assert second.stdout is not None
    assert second.stdout.readline() == "waits\n"
    first.kill()
    assert second.communicate(timeout=60)[0] == "mine\n"
    first.communicate()


@pytest.mark.processes
def test_two_that_come_at_once_have_the_same_secrets(tmp_path: Path) -> None:
    code = "import environment; print(environment._secrets(Path(sys.argv[1]))['AIRFLOW__API__SECRET_KEY'])"
    both = [_process(code, str(tmp_path / "airflow")) for _ in range(4)]
    assert len({each.communicate(timeout=60)[0] for each in both}) == 1


@pytest.mark.processes
@pytest.mark.parametrize("name", ["state", "State é 100% #2"])
@pytest.mark.parametrize(
    ("store", "file_mode"), [("inside", 0o600), ("as written", 0o600), ("outside", 0o660), ("s3", 0o600)]
)
def test_nobody_else_reads_what_is_written_whatever_the_umask(
    tmp_path: Path, store: str, file_mode: int, name: str
) -> None:
    state = tmp_path / name
    (state / "airflow").mkdir(parents=True)
    state.chmod(0o755)
    uri = {
        "inside": f"{state.as_uri()}/store",
        "as written": f"file://{state}/store",
        "outside": tmp_path.as_uri(),
        "s3": "s3://models",
    }[store]
    code = (
        "import os, environment; os.umask(0); environment.keep_private(Path(sys.argv[1]), sys.argv[2])\n"
        "Path(sys.argv[1], 'written').write_text('a text'); Path(sys.argv[1], 'folder').mkdir()"
    )
    assert _process(code, str(state), uri).wait(60) == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "written").stat().st_mode) == file_mode
    assert stat.S_IMODE((state / "folder").stat().st_mode) == file_mode | (file_mode & 0o440) >> 2


@pytest.mark.processes
def test_a_store_elsewhere_is_shared_with_the_group_of_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    volume, known = tmp_path / "volume", tmp_path / "known"
    for folder, mode in ((volume, 0o755), (known, 0o750)):
        folder.mkdir()
        folder.chmod(mode)
    for store in (volume / "models" / "store", known):
        code = (
            "import os, environment; os.umask(0o022); environment.keep_private(Path(sys.argv[1]), sys.argv[2])\n"
            "version = Path(sys.argv[2][7:], 'model', 'version'); version.mkdir(parents=True)\n"
            "(version / 'candidate.json').write_text('a text')"
        )
        assert _process(code, str(tmp_path / "state"), f"file://{store}").wait(60) == 0
        made = [store / "model", store / "model" / "version"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o2770}
        assert stat.S_IMODE((made[-1] / "candidate.json").stat().st_mode) == 0o660
    assert {stat.S_IMODE(path.stat().st_mode) for path in volume.rglob("store")} == {0o2770}
    assert stat.S_IMODE(volume.stat().st_mode) == 0o755, "what was there keeps its mode"
    assert stat.S_IMODE(known.stat().st_mode) == 0o2750
