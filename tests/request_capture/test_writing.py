"""What the process does that writes, without a process: what fails is counted and told, and it ends when it should."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from include.capture import writing
from include.capture.frames import Frame, carrying, ending, opening
from include.capture.writing import Channel, Report, Writing
from include.contracts.monitoring import captured
from include.contracts.monitoring.layout import OFF
from tests.request_capture.test_recorder import MODEL, SECRET, everything, exchange


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / MODEL


def settings(store: Path, **given: Any) -> dict[str, Any]:
    told = {"store": str(store), "model": MODEL, "producer": "test", "texts": "hash", "max_megabytes": 10}
    return told | {"file_bytes": 1_000_000, "file_seconds": 3600} | given


def test_after_a_failure_nothing_is_tried_for_a_moment_and_then_it_is(store: Path) -> None:
    store.parent.mkdir()
    store.write_text("a file")
    channel = Channel(0, settings(store))
    channel.write(exchange("a", SECRET))
    report = channel.take_report()
    assert report
    assert (report.written, report.failed) == (0, 1)
    assert str(store) in report.problem
    assert SECRET not in report.problem
    store.unlink()
    channel.write(exchange("b"))
    assert channel.take_report() == Report(0, failed=1)

    channel._pause_until = 0.0
    channel.write(exchange("c"))
    channel.close()

    assert channel.take_report() == Report(0, written=1)
    assert [each.id for each in captured.read(store)] == ["c"]
    assert channel.take_report() is None


def test_of_what_is_wrong_with_a_request_only_the_sort_of_error_is_told(store: Path) -> None:
    channel = Channel(0, settings(store))
    channel.write(exchange(f"{SECRET} is no id", SECRET))

    assert channel.take_report() == Report(0, failed=1, problem="ValueError")
    assert SECRET.encode() not in everything(store)


def test_what_it_was_given_when_capturing_was_switched_off_is_forgotten(store: Path) -> None:
    store.mkdir(parents=True)
    every = Writing()
    every.take(Frame(0, settings=settings(store)))
    every.take(Frame(0, exchange=exchange("before")))
    (store.parent / OFF).touch()
    every._channels[0]._switch._looked = -3600
    every.take(Frame(0, exchange=exchange("after")))
    every.look()

    assert every.take_reports() == [Report(0, written=1, forgotten=1)]
    assert not list(store.glob("captured/*/.*")), "its file is finished"
    assert [each.id for each in captured.read(store)] == ["before"]


def test_a_channel_that_ends_has_its_file_finished_and_the_others_go_on(store: Path) -> None:
    every = Writing()
    for number in (0, 1):
        every.take(Frame(number, settings=settings(store.with_name(f"model-{number}"))))
        every.take(Frame(number, exchange=exchange(str(number))))
    every.take(Frame(0))

    assert len(list(captured.read(store.with_name("model-0")))) == 1
    assert len(list(store.with_name("model-1").glob("captured/*/.*.part"))) == 1
    every.close()
    assert len(list(captured.read(store.with_name("model-1")))) == 1


def run(data: bytes, *, closes: bool, **given: Any) -> bytes:
    """Run it on what a server has sent; return what it tells."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        if closes:
            ours.shutdown(socket.SHUT_WR)
        writing.run(theirs, **given)
        theirs.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: ours.recv(1 << 16), b""))


def test_it_ends_when_nothing_more_can_come_and_has_written_it_all(store: Path) -> None:
    data = opening(0, settings(store)) + carrying(0, exchange("a")) + carrying(0, exchange("b")) + ending(0)

    told = run(data + carrying(0, exchange("half"))[:40], closes=True)

    assert sorted(each.id for each in captured.read(store)) == ["a", "b"]
    assert b'"written": 2' in told


def test_it_ends_when_its_server_is_gone_although_somebody_holds_the_connection(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_IDLE_SECONDS", 0.01)

    run(opening(0, settings(store)) + carrying(0, exchange("a")), closes=False, server=-1)

    assert [each.id for each in captured.read(store)] == ["a"]


def test_it_ends_when_its_server_does_not_listen_any_more(store: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(opening(0, settings(store)) + carrying(0, exchange("a")))
        ours.close()
        writing.run(theirs)

    assert [each.id for each in captured.read(store)] == ["a"]
