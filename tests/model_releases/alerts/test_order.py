"""In which order receivers get their alerts, however they answer in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from model_releases.alerts import Alert, Severity, delivery, outbox
from model_releases.alerts.outbox import Entry
from model_releases.alerts.receivers import Answer

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Phone:
    """A receiver that does as a story says.

    :param name: its digest, too.
    :param answers: what it makes of an alert's key, where that is not what ``is_up`` says.
    :param on_tell: called with a key before the answer.
    """

    number = 1

    def __init__(self, name: str) -> None:
        self.digest = name
        self.is_up = True
        self.answers: dict[str, Answer] = {}
        self.taken = ""
        self.tries = 0
        self.on_tell: Callable[[str], None] = lambda key: None

    def tell(self, alert: Alert, *, pauses: tuple[float, ...] = ()) -> Answer:
        self.on_tell(alert.key)
        self.tries += 1
        answer = self.answers.get(alert.key, Answer.TAKEN) if self.is_up else Answer.SILENT
        if answer is Answer.TAKEN:
            self.taken += alert.key
        return answer


class World:
    """An outbox in memory, two receivers ``p`` and ``q``, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        self.p, self.q = Phone("p"), Phone("q")
        self.entries: dict[str, Entry] = {}
        monkeypatch.setattr(outbox, "find", self.entries.get)
        monkeypatch.setattr(outbox, "put", lambda entry: self.entries.update({entry.alert.key: entry}))
        monkeypatch.setattr(outbox, "drop", lambda entry: self.entries.pop(entry.alert.key))
        monkeypatch.setattr(outbox, "entries", lambda: iter(list(self.entries.values())))
        # A connection is named by its receivers.
        monkeypatch.setattr(delivery, "read_receivers", lambda conn_id: [getattr(self, name) for name in conn_id])

    def play(self, story: str) -> None:
        """Do step after step, a minute each; see the table below."""
        for step in story.split():
            self.now += timedelta(minutes=1)
            what, _, value = step.partition(":")
            match what:
                case "watch":
                    delivery.deliver_waiting(now=self.now)
                case "hours":
                    self.now += timedelta(hours=int(value))
                case "down" | "up":
                    getattr(self, value).is_up = what == "up"
                case "refused" | "silent" | "taken":
                    self.p.answers[value] = Answer(what)
                case key:
                    self.send(key, value or "p")

    def send(self, key: str, conn_id: str = "p") -> None:
        alert = Alert(key=key, severity=Severity.NORMAL, title=key, body=key)
        delivery.send_alert(alert, conn_id, now=self.now)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class Try(NamedTuple):
    #: ``a``, ``b``, … are sent to ``p`` (``a:pq``: to both); ``refused:a``, ``silent:a``: so ``p`` answers to ``a``.
    story: str
    #: What has arrived at p, and at q.
    p: str
    q: str = ""


@pytest.mark.parametrize(
    "case",
    [
        Try("a b c", "abc"),
        # What waits goes out before the new one, by the new one's own task.
        Try("down:p a up:p b", "ab"),
        Try("down:p a b c up:p d", "abcd"),
        Try("down:p a b c up:p watch d", "abcd"),
        # A new one waits behind an older one that is still not taken; the watch sends them in order.
        Try("silent:a a b c", ""),
        Try("silent:a a b c watch taken:a watch", "abc"),
        Try("silent:b a b c watch", "a"),
        # An alert that was asked for again keeps its place.
        Try("down:p a b up:p b", "ab"),
        Try("silent:a a b a taken:a b", "ab"),
        # One receiver holds up no other one.
        Try("down:p a:pq b:pq", "", "ab"),
        Try("down:p a:pq b:pq up:p c:q", "", "abc"),
        Try("down:p a:pq b:pq up:p c", "abc", "ab"),
        Try("down:q a:pq up:q b:p", "ab"),
        Try("down:q a:pq up:q b:p c:q", "ab", "ac"),
        # Another connection with the same receiver.
        Try("down:q a:pq up:q b:q", "a", "ab"),
        # An alert that the receiver refuses for itself holds up nobody, at once.
        Try("refused:a a b c", "bc"),
        Try("refused:a refused:b a b c watch d", "cd"),
        Try("down:p refused:b a b c up:p watch", "ac"),
        Try("refused:a a b watch taken:a watch c", "bac"),
        # Nor does one that is not taken for hours, however many there are of them.
        Try("silent:a a b hours:6 watch", "b"),
        Try("silent:a silent:b silent:c silent:d a b c d e hours:6 watch f", "ef"),
        Try("silent:a silent:b silent:c silent:d a b c d e hours:6 f", "f"),
        # An outage of a night changes no order.
        Try("down:p a b hours:7 c d watch up:p watch", "abcd"),
        Try("down:p a b hours:7 c d watch up:p e", "abcde"),
    ],
    ids=lambda case: case.story,
)
def test_alerts_arrive_in_their_order_and_none_holds_up_the_others_for_ever(world: World, case: Try) -> None:
    world.play(case.story)
    assert (world.p.taken, world.q.taken) == (case.p, case.q)


def test_whatever_receivers_do_for_some_hours_they_get_each_alert_once_and_in_order(world: World) -> None:
    chance = random.Random(7)
    keys = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    told = {"p": "", "q": ""}
    steps = []
    for _ in range(150):
        step = chance.choice(("send", "send", "watch", "down:p", "down:q", "up:p", "up:q"))
        if step == "send" and (key := next(keys, "")):
            to = chance.choice(("p", "q", "pq"))
            told = {name: sent + key * (name in to) for name, sent in told.items()}
            step = f"{key}:{to}"
        steps.append(step if step != "send" else "watch")
    world.play(" ".join(steps))
    assert told["p"].startswith(world.p.taken)
    assert told["q"].startswith(world.q.taken)
    world.play("up:p up:q watch")
    assert (world.p.taken, world.q.taken) == (told["p"], told["q"])


@pytest.mark.parametrize(("hours", "of_the_watch", "of_a_task"), [(1, 1, 1), (24, 10, 2)])
def test_a_receiver_that_is_down_is_tried_a_few_times_however_much_waits(
    world: World, hours: int, of_the_watch: int, of_a_task: int
) -> None:
    world.play(f"down:p {' '.join('abcdefghijklmno')} hours:{hours}")
    world.p.tries = 0
    world.play("watch")
    assert world.p.tries == of_the_watch
    world.p.tries = 0
    world.play("z")
    assert world.p.tries == of_a_task


@pytest.mark.parametrize("at", ["a", "b", "c"])
def test_a_task_that_sends_while_the_watch_tells_an_alert_waits_for_nobody_and_tells_nothing_twice(
    world: World, at: str
) -> None:
    world.play("down:p a b c up:p")

    def meanwhile(key: str) -> None:
        if key == at:
            world.p.on_tell = lambda key: None
            world.send("d")

    world.p.on_tell = meanwhile
    delivery.deliver_waiting(now=world.now)
    # All but the one that the watch is telling, in order.
    assert sorted(world.p.taken) == list("abcd")
    assert world.p.taken.replace(at, "") == "abcd".replace(at, "")
    assert all(entry.is_settled for entry in world.entries.values())


def test_a_task_leaves_what_another_process_is_sending_to_it(world: World) -> None:
    world.play("down:p a up:p")
    world.entries["a"] = delivery.replace(world.entries["a"], busy_until=world.now + delivery.LEASE)
    world.play("b c")
    assert world.p.taken == "bc"
    world.now += delivery.LEASE
    world.play("d")
    assert world.p.taken == "bcad"
