"""A server's queue is bounded whatever the process behind it does, and every request in it is accounted for."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from include.capture.feed import Channel, Feed, Limits
from include.capture.frames import Frames
from include.capture.switch import Switch
from include.capture.writer import Writer, WriterGoneError
from tests.request_capture.test_recorder import SECRET, exchange
from tests.waiting import LIMIT_SECONDS, wait_for

#: Its thread looks at the queue when it is closed, or when a test has it look.
IDLE = Limits(write_seconds=3600)


class Scripted(Writer):
    """A process that writes everything but what it is told to do otherwise.

    :param dies_after: frames that it takes before it ends; what it has taken it has told of, but for the last.
    """

    def __init__(self, dies_after: int | None = None) -> None:
        self.opened = set()
        self.taken: list[str] = []
        self.ended: list[int] = []
        self._left = dies_after
        self._frames = Frames()
        self._told: list[dict[str, Any]] = []

    def feed(self, frames: bytes) -> None:
        for frame in self._frames.of(frames):
            if self._left == 0:
                return
            if frame.exchange:
                self.taken.append(frame.exchange.id)
                self._left = None if self._left is None else self._left - 1
                if self._left != 0:
                    self._told.append(report(frame.channel, written=1))
            elif frame.settings is None:
                self.ended.append(frame.channel)

    def hear(self) -> Iterator[dict[str, Any]]:
        found, self._told = self._told, []
        yield from found
        if self._left == 0:
            raise WriterGoneError(-9)

    def end(self, timeout_seconds: float) -> Iterator[dict[str, Any]]:
        yield from self._told


def report(channel: int, **given: Any) -> dict[str, Any]:
    counts = {"written": 0, "failed": 0, "forgotten": 0, "deleted_files": 0, "problem": ""}
    return {"channel": channel, **counts, **given}


class World:
    """A feed whose processes are scripted.

    :param writers: what is started, one after the other; then none can be.
    """

    def __init__(self, folder: Path, *writers: Writer, **limits: Any) -> None:
        self.writers = list(writers)
        self.folder = folder
        self.feed = Feed(Limits(**{"write_seconds": 3600, "restart_seconds": 0} | limits), start=self.start)

    def start(self) -> Writer:
        if not self.writers:
            raise OSError("no process can be started")
        return self.writers.pop(0)

    def channel(self, model: str = "reviews") -> Channel:
        return self.feed.open({"model": model}, Switch(self.folder / model))


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def make(*writers: Writer, **limits: Any) -> World:
        made.append(World(tmp_path, *writers, **limits))
        return made[-1]

    yield make
    for world in made:
        world.feed.close(LIMIT_SECONDS)


def test_what_waits_is_written_at_the_end(make: Make) -> None:
    writer = Scripted()
    world = make(writer)
    channel = world.channel()
    for number in range(1000):
        world.feed.offer(channel, exchange(str(number)))
    assert (writer.taken, world.feed.waiting) == ([], 1000)

    world.feed.close(LIMIT_SECONDS)

    assert writer.taken == [str(number) for number in range(1000)]
    assert (channel.counts.written, world.feed.waiting, world.feed.restarts) == (1000, 0, 0)


def test_nothing_is_started_before_the_first_request(make: Make) -> None:
    world = make(Scripted())
    world.channel()
    world.feed.close(LIMIT_SECONDS)

    assert (world.feed.is_running, len(world.writers)) == (False, 1)


def test_after_the_end_nothing_is_taken(make: Make) -> None:
    world = make(Scripted())
    channel = world.channel()
    world.feed.close(LIMIT_SECONDS)
    world.feed.offer(channel, exchange())

    assert (world.feed.waiting, channel.counts.dropped) == (0, 1)


def test_a_process_that_ends_is_counted_said_once_and_another_one_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Scripted(dies_after=3), Scripted()
    world = make(first, second, write_seconds=0.001)
    channel = world.channel()
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            world.feed.offer(channel, exchange(str(number), SECRET))
        wait_for(lambda: channel.counts.lost == 1, "nobody notices")
        world.feed.offer(channel, exchange("next"))
        wait_for(lambda: channel.counts.written == 3, "nothing goes on")

    assert second.taken == ["next"]
    assert world.feed.restarts == 1
    assert "ended with -9" in caplog.text
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text


def test_between_two_processes_there_is_a_pause_in_which_the_queue_fills_and_drops(make: Make) -> None:
    second = Scripted()
    world = make(Scripted(dies_after=1), second, write_seconds=0.001, restart_seconds=3600, queue_requests=5)
    channel = world.channel()
    world.feed.offer(channel, exchange())
    wait_for(lambda: channel.counts.lost == 1, "nobody notices")
    for number in range(8):
        world.feed.offer(channel, exchange(str(number)))
    assert (world.feed.waiting, channel.counts.dropped, world.feed.restarts) == (5, 3, 0)

    world.feed.close(LIMIT_SECONDS)  # what waits is written all the same

    assert second.taken == [str(number) for number in range(5)]
    assert channel.counts.written == 5


def test_the_pause_is_longer_each_time(make: Make) -> None:
    world = make(restart_seconds=10)
    pauses = []
    for _ in range(9):
        world.feed._wait_longer(0.0)
        pauses.append(world.feed._pause_until)

    assert pauses == [10, 20, 40, 80, 160, 320, 640, 640, 640]


def test_where_no_process_can_be_started_nothing_is_raised(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make()
    channel = world.channel()
    for number in range(3):
        world.feed.offer(channel, exchange(str(number), SECRET))
    world.feed.close(LIMIT_SECONDS)

    assert (channel.counts.dropped, channel.counts.written) == (3, 0)
    assert "no process can be started" in caplog.text
    assert SECRET not in caplog.text


def test_channels_share_one_process_and_end_apart(make: Make) -> None:
    writer = Scripted()
    world = make(writer)
    first, second = world.channel("one"), world.channel("two")
    world.feed.offer(first, exchange("a"))
    world.feed.offer(second, exchange("b"))
    world.feed.end(first)
    world.feed.offer(second, exchange("c"))
    world.feed.close(LIMIT_SECONDS)

    assert (writer.taken, writer.ended) == (["a", "b", "c"], [first.number])
    assert (first.counts.written, second.counts.written) == (1, 2)


def test_what_the_process_says_is_counted_with_its_model(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    writer = Scripted()
    world = make(writer)
    world.channel("one")
    channel = world.channel("two")
    writer._told.append(report(1, written=2, failed=3, deleted_files=4, problem="[Errno 28] No space left"))
    world.feed.offer(channel, exchange())
    world.feed.close(LIMIT_SECONDS)

    assert (channel.counts.written, channel.counts.failed, channel.counts.deleted_files) == (3, 3, 4)
    assert "Requests of two are not captured ([Errno 28] No space left)" in caplog.text


def test_what_cannot_be_sent_is_counted(make: Make) -> None:
    world = make(Scripted())
    channel = world.channel()
    world.feed.offer(channel, exchange("broken", inputs=[object()]))
    world.feed.offer(channel, exchange("fine"))
    world.feed.close(LIMIT_SECONDS)

    assert (channel.counts.failed, channel.counts.written) == (1, 1)


@pytest.mark.parametrize("seed", range(30))
def test_every_request_is_accounted_for_and_the_queue_stays_within_its_bounds(seed: int, make: Make) -> None:
    chance = random.Random(seed)
    writers = [Scripted(dies_after=chance.choice((None, 1, 2, 5, 20))) for _ in range(chance.randrange(5))]
    most_bytes = chance.choice((500, 5_000, 1_000_000))
    world = make(*writers, queue_requests=chance.choice((1, 7, 50)), queue_bytes=most_bytes, request_bytes=1_000)
    channels = [world.channel(f"model-{number}") for number in range(chance.randrange(1, 4))]
    offered = 0
    for number in range(chance.randrange(200)):
        match chance.randrange(10):
            case 0:
                world.feed._empty()
            case 1:
                world.feed.end(chance.choice(channels))
            case _:
                world.feed.offer(chance.choice(channels), exchange(str(number), "x" * chance.randrange(1_200)))
                offered += 1
        assert sum(size for size, _, _ in world.feed._queue) == world.feed._queue_bytes <= most_bytes
    world.feed.close(LIMIT_SECONDS)

    counts = [channel.counts for channel in channels]
    found = {name: sum(getattr(each, name) for each in counts) for name, _ in counts[0].items()}
    assert found["written"] + found["dropped"] + found["too_large"] + found["lost"] == offered
    assert found["failed"] == 0
    taken = [name for writer in writers for name in writer.taken]
    assert len(taken) == len(set(taken)), "nothing is sent twice"
