"""The process that writes, as servers have it: it outlives its server by what it has to write, and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from include.capture.feed import Feed, Limits
from include.capture.recorder import Recorder
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture import ServedCapture
from tests.request_capture.test_recorder import MODEL, SECRET, everything, exchange
from tests.waiting import LIMIT_SECONDS, wait_for

pytestmark = pytest.mark.processes

FAST = Limits(write_seconds=0.01, file_seconds=3600, restart_seconds=0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / MODEL


@pytest.fixture
def recorder(store: Path) -> Iterator[Recorder]:
    settings = ServedCapture(store=f"file://{store}", share=1.0, texts="hash")
    recorder = Recorder(settings, model=MODEL, producer="test", feed=Feed(FAST))
    yield recorder
    recorder.feed.close(LIMIT_SECONDS)


def ids(store: Path) -> list[str]:
    counts = captured.ReadingCounts()
    found = sorted(each.id for each in captured.read(store, counts=counts))
    assert (counts.broken_lines, counts.broken_files) == (0, 0)
    return found


def writers() -> list[psutil.Process]:
    """Return the processes that write for this one."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if any("include.capture.writing" in word for word in process.cmdline()):
                found.append(process)
    return found


def test_it_has_nothing_of_the_servers_environment_and_ends_with_it(
    recorder: Recorder, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_MARK_OF_THE_SERVER", "and its secrets")
    (store.parent / MODEL / "model").mkdir(parents=True)
    (store / "model" / "tokenizer.json").write_text('{"model": {"vocab": {"good": 1}}}')
    recorder.offer(exchange("a", f"good {SECRET}", folder=str(store / "model")))
    wait_for(lambda: recorder.counts.written == 1, "nothing is written")
    (writer,) = writers()
    assert "A_MARK_OF_THE_SERVER" not in writer.environ()
    assert SECRET.encode() not in everything(store)
    os.kill(writer.pid, signal.SIGTERM)  # as a terminal or a machine that is shut down does it, server and all
    os.kill(writer.pid, signal.SIGINT)
    recorder.offer(exchange("b"))
    recorder.feed.close(LIMIT_SECONDS)

    assert not writers()
    found = {each.id: each.rows[0].features for each in captured.read(store)}
    assert found.keys() == {"a", "b"}
    assert found["a"]["unknown_share"] == pytest.approx(2 / 3, abs=1e-3)
    assert recorder.feed.restarts == 0


def test_one_that_is_killed_is_followed_by_another_which_finishes_what_it_left(recorder: Recorder, store: Path) -> None:
    recorder.offer(exchange("before"))
    wait_for(lambda: recorder.counts.written == 1, "nothing is written")
    (writer,) = writers()
    (part,) = store.glob("captured/*/.*.part")
    writer.kill()
    writer.wait(LIMIT_SECONDS)
    with part.open("ab") as file:
        file.write(b'{"half a line')
    recorder.offer(exchange("after"))
    wait_for(lambda: recorder.counts.written + recorder.counts.lost == 2, "nothing goes on")
    recorder.offer(exchange("last"))
    recorder.feed.close(LIMIT_SECONDS)

    assert recorder.feed.restarts == 1
    found = ids(store)
    assert {"before", "last"} <= set(found)
    assert ("after" in found) == (recorder.counts.lost == 0)


def test_two_that_write_one_model_leave_each_others_files_alone(recorder: Recorder, store: Path) -> None:
    recorder.offer(exchange("one"))
    wait_for(lambda: recorder.counts.written == 1, "nothing is written")
    (part,) = store.glob("captured/*/.*.part")
    settings = ServedCapture(store=f"file://{store}", share=1.0, texts="hash")
    other = Recorder(settings, model=MODEL, producer="test", feed=Feed(FAST))
    other.offer(exchange("two"))
    other.feed.close(LIMIT_SECONDS)

    assert part.exists(), "a file that somebody writes was taken away"
    assert ids(store) == ["two"]


_KILLED = """
import sys, time
from include.capture.feed import Feed, Limits
from include.capture.recorder import Recorder
from include.contracts.monitoring.capture import ServedCapture
from tests.request_capture.test_recorder import exchange
feed = Feed(Limits(write_seconds=0.01, file_seconds=3600))
settings = ServedCapture(store=sys.argv[1], share=1, texts="keep")
recorder = Recorder(settings, model="reviews", producer="test", feed=feed)
for number in range(20):
    recorder.offer(exchange(str(number)))
while recorder.counts.written < 20:
    time.sleep(0.01)
print("written", flush=True)
time.sleep(3600)
"""


def test_when_its_server_is_killed_it_finishes_its_files_and_ends(store: Path) -> None:
    command = [sys.executable, "-c", _KILLED, f"file://{store}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout
        assert process.stdout.readline() == b"written\n"
        (writer,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not writer.is_running() or writer.status() == psutil.STATUS_ZOMBIE, "it stays")

    assert not list(store.glob("captured/*/.*.part"))
    assert ids(store) == sorted(map(str, range(20)))


def test_a_process_that_is_forked_before_its_first_request_captures(recorder: Recorder, store: Path) -> None:
    child = os.fork()
    if not child:
        recorder.offer(exchange("child"))
        recorder.feed.close(LIMIT_SECONDS)
        os._exit(0)
    os.waitpid(child, 0)
    recorder.offer(exchange("parent"))
    recorder.feed.close(LIMIT_SECONDS)

    assert ids(store) == ["child", "parent"]
