"""How the processes of a TorchServe are known and ended (:mod:`include.torchserve`), with stand-ins for its Java."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from include import torchserve
from tests.waiting import LIMIT_SECONDS, wait_for

pytestmark = pytest.mark.processes

_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def started(folder: Path, program: Path | str = "/bin/sleep", *arguments: str) -> subprocess.Popen[str]:
    environment = torchserve.environment(folder, java_home="/java", logs=folder, inherited=os.environ)
    command = [str(program), *(arguments or ("600",))]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_only_the_processes_of_the_folder_are_ended(tmp_path: Path) -> None:
    mine, other = started(tmp_path / "mine"), started(tmp_path / "other")
    try:
        assert [process.pid for process in torchserve.processes(tmp_path / "mine")] == [mine.pid]
        assert torchserve.terminate(tmp_path / "mine")
        assert torchserve.wait_until_gone(tmp_path / "mine", LIMIT_SECONDS)
        assert mine.wait() == -signal.SIGTERM
        assert not torchserve.terminate(tmp_path / "mine")
        assert other.poll() is None
    finally:
        torchserve.kill(tmp_path / "other")
    assert other.wait() == -signal.SIGKILL


def test_java_is_asked_and_the_others_follow_it(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.symlink_to("/bin/sleep")
    server, worker = started(tmp_path, java), started(tmp_path)
    try:
        wait_for(lambda: {found.name() for found in torchserve.processes(tmp_path)} >= {"java"}, "Java")
        torchserve.terminate(tmp_path)
        assert server.wait(LIMIT_SECONDS) == -signal.SIGTERM
        assert worker.poll() is None
    finally:
        torchserve.kill(tmp_path)
    assert worker.wait() == -signal.SIGKILL


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = started(tmp_path, sys.executable, "-c", _DEAF)
    assert deaf.stdout is not None
    assert deaf.stdout.readline() == "deaf\n"
    torchserve.terminate(tmp_path)
    assert not torchserve.wait_until_gone(tmp_path, 0.2)
    torchserve.kill(tmp_path)
    assert deaf.wait() == -signal.SIGKILL


def test_a_server_gets_no_way_elsewhere_of_its_starter(tmp_path: Path) -> None:
    inherited = {"TS_CONFIG_FILE": "x", "PYTHONPATH": "x", "_JAVA_OPTIONS": "x", "TMPDIR": "x", "LC_ALL": "C"}
    inherited["OMP_NUM_THREADS"] = "1"
    found = torchserve.environment(tmp_path, java_home="/java", logs=tmp_path / "logs", inherited=inherited)
    assert found == {
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "JAVA_HOME": "/java",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(tmp_path),
        "TEMP": str(tmp_path),
        "LOG_LOCATION": str(tmp_path / "logs"),
        "METRICS_LOCATION": str(tmp_path / "logs"),
    }


def test_the_last_lines_of_logs_that_may_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1\n2\n\xff3\n")
    (tmp_path / "two").write_text("4\n")
    found = torchserve.last_lines(tmp_path / "absent", tmp_path / "one", tmp_path / "two", lines=2)
    assert found == "\N{REPLACEMENT CHARACTER}3\n4"
