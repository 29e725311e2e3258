"""Steps as forks of the run's process, with kfp.local as the runner has it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.pipelines

_RUN = """
import os, sys, threading
from kfp import dsl, local
from pathlib import Path
from include.pipelines.forked_steps import fork_steps
from include.pipelines.local_steps import take_over


class Nobody:
    def step_starts(self, name): ...
    def step_has_run(self, step, exit_code): ...
    def step_ends(self, step, state): ...


take_over(Nobody(), Path(sys.argv[1]))
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1], raise_on_error=True)
fork_steps(first=["sqlite3"], later=["decimal"])
lock = os.open(sys.argv[1] + "/lock", os.O_CREAT | os.O_RDWR)
os.set_inheritable(lock, True)


@dsl.component(install_kfp_package=False)
def step(what: str, note: dsl.Output[dsl.Artifact]) -> str:
    import os
    import signal
    import sys

    print(f"parent {os.getppid()} sqlite3 {'sqlite3' in sys.modules}")
    open_files = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    print("lock inherited", any(os.path.realpath(f"/proc/self/fd/{fd}").endswith("/lock") for fd in open_files))
    print("to stderr", file=sys.stderr)
    with open(note.path, "w") as file:
        file.write(what)
    if what == "raise":
        raise ValueError("the step raised")
    if what == "exit":
        sys.exit(3)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return what.upper()


if "thread" in sys.argv[2]:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("runner", os.getpid())
task = step(what=sys.argv[2])
print("output", task.outputs["Output"], "decimal", "decimal" in sys.modules)
print("artifact", open(task.outputs["note"].path).read())
"""


def run(folder: Path, what: str) -> tuple[int, str]:
    script = folder / "run.py"
    script.write_text(_RUN)  # kfp reads a component's source from its file
    answer = subprocess.run(
        [sys.executable, str(script), str(folder), what],
        cwd=PROJECT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "HOME": str(folder), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return answer.returncode, re.sub(r"\x1b\[[0-9;]*m", "", answer.stdout)


def test_a_step_is_a_child_with_the_imports_made_and_its_outputs_arrive(tmp_path):
    code, output = run(tmp_path, "hello")
    assert code == 0, output
    runner = output[output.index("runner ") :].split()[1]
    assert f"parent {runner} sqlite3 True" in output
    assert "to stderr" in output
    assert "output HELLO decimal True" in output
    assert "artifact hello" in output


@pytest.mark.long
def test_a_step_does_not_hold_what_its_runner_has_open(tmp_path):
    _, output = run(tmp_path, "hello")
    assert "lock inherited False" in output


@pytest.mark.parametrize(("what", "words"), [("raise", "ValueError: the step raised"), ("exit", ""), ("die", "Killed")])
def test_a_step_that_fails_fails_the_run_with_its_words_in_the_log(tmp_path, what, words):
    code, output = run(tmp_path, what)
    assert code == 1
    assert "finished with status FAILURE" in output
    assert words in output
    assert (tmp_path / "lock").exists()


@pytest.mark.long
def test_a_process_with_threads_is_not_forked(tmp_path):
    code, output = run(tmp_path, "with a thread")
    assert code == 0, output
    runner = output[output.index("runner ") :].split()[1]
    assert f"parent {runner}" not in output
    assert "output WITH A THREAD" in output
