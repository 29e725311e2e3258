"""Sends alerts: at once, and later to whoever could not be reached.

A receiver gets its alerts in the order in which they were made: whoever sends one first sends what waits for the same
receivers. Nobody waits for another process for it: what that is sending is on its way.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from model_releases.alerts import outbox
from model_releases.alerts.alert import NOBODY, Alert
from model_releases.alerts.outbox import Entry
from model_releases.alerts.receivers import PATIENT, Answer, NoConnectionError, Receiver, read_receivers

#: A process that sends an alert is believed dead after this; then another one takes over.
LEASE = timedelta(minutes=10)

#: An alert that could not be delivered for so long is given up, loudly.
GIVE_UP_AFTER = timedelta(days=7)

#: An alert that a receiver has not taken for so long does not hold up the later ones any more: most services do not say
#: whether they refuse this alert or are down.
HOLDS_UP_FOR = timedelta(hours=6)

#: Of the alerts that hold up nobody so many are tried at a receiver that takes none of them: by a task, which has an
#: alert of its own to send, and by the watch.
_TRIES_OF_TASK, _TRIES_OF_WATCH = 1, 10

#: A sent alert is remembered for so long, in case that its task is cleared.
REMEMBER_FOR = timedelta(days=30)

#: The triggerer calls back for several deadlines at once, in threads: between two processes the lease has to do.
_one_at_a_time = threading.Lock()

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of the alerts that had waited.

    :param sent: those that all receivers have now.
    :param waiting: those that wait on.
    :param lost: those that were given up.
    """

    sent: tuple[Alert, ...] = ()
    waiting: tuple[Alert, ...] = ()
    lost: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class _Receivers:
    """What has been seen of receivers while alerts were told one after the other.

    :param tries: so many alerts that hold up no others may not be taken, before the rest of them is left for later.
    :param silent: digests of those that did not answer, and are not asked again.
    :param stuck: digest -> how many alerts it did not take that hold up no others.
    """

    tries: int
    silent: set[str] = field(default_factory=set)
    stuck: Counter[str] = field(default_factory=Counter)

    def is_due(self, receiver: Receiver, entry: Entry, now: datetime) -> bool:
        """Return whether a receiver is to be told an alert, and its turn has come."""
        if receiver.digest in entry.told or receiver.digest in self.silent:
            return False
        return _holds_up(entry, now) or self.stuck[receiver.digest] < self.tries

    def did_not_take(self, receiver: Receiver, answer: Answer, entry: Entry, now: datetime) -> None:
        """Note that a receiver did not take an alert."""
        if answer is Answer.SILENT and _holds_up(entry, now):
            self.silent.add(receiver.digest)
        else:
            self.stuck[receiver.digest] += 1


def send_alert(alert: Alert, conn_id: str, *, now: datetime | None = None) -> bool:
    """Tell every receiver of a connection, unless it has been told; before it what waits for the same receivers.

    Whoever does not take the alert after three tries, or did not take an older one, gets it later, from
    :func:`deliver_waiting`. Callable from whatever runs in Airflow: tasks, callbacks, and the triggerer's threads.

    :param conn_id: connection of type ``apprise``; without it, or for :data:`NOBODY`, nobody is told.
    :return: whether every receiver has it now.
    """
    if conn_id == NOBODY:
        log.info("Nobody is told, as the model's settings ask for: %s", alert.subject)
        return False
    with _one_at_a_time:
        return _send(alert, conn_id, now or datetime.now(UTC))


def _send(alert: Alert, conn_id: str, now: datetime) -> bool:
    found = outbox.find(alert.key) or Entry(alert=alert, conn_id=conn_id, made_at=now, busy_until=now)
    if found.is_settled:
        log.info("This alert has been sent already: %s", alert.subject)
        return True
    receivers = _receivers_of(found)
    if receivers is not None:
        # Stored before anything is sent: whatever kills this process, the alert is not lost with it.
        entry = _claim(found, now)
        if entry is None:
            log.info("Another process is sending this alert: %s", alert.subject)
            return False
        seen = _Receivers(tries=_TRIES_OF_TASK)
        _tell_what_waits(receivers, entry, now, seen)
        if _tell(entry, receivers, now, seen, pauses=PATIENT).is_settled:
            return True
    log.error("Not everybody has been told. What the alert says:\n%s", _text(alert))
    return False


def _tell_what_waits(receivers: Collection[Receiver], before: Entry, now: datetime, seen: _Receivers) -> None:
    """Tell some receivers the alerts that are older than another one."""
    digests = {receiver.digest for receiver in receivers}
    for older in _in_order(outbox.entries()):
        if older.is_settled or older.made_at >= before.made_at:
            continue
        its_receivers = _receivers_of(older) or []
        is_due = any(its.digest in digests and seen.is_due(its, older, now) for its in its_receivers)
        if is_due and (claimed := _claim(older, now)):
            _tell(claimed, its_receivers, now, seen, among=digests, pauses=PATIENT)


def deliver_waiting(*, now: datetime | None = None) -> Delivery:
    """Send what could not be delivered so far, give up what is too old, and forget what was sent long ago.

    One try for each receiver that does not answer, however many alerts wait for it, and at most ten with those that
    hold up no others.
    """
    now = now or datetime.now(UTC)
    sent, waiting, lost = [], [], []
    seen = _Receivers(tries=_TRIES_OF_WATCH)
    for entry in _in_order(outbox.entries()):
        if entry.is_settled:
            if now - entry.made_at > REMEMBER_FOR:
                outbox.drop(entry)
            continue
        receivers = _receivers_of(entry)
        if receivers is not None and (claimed := _claim(entry, now)):
            entry = _tell(claimed, receivers, now, seen)
        else:
            entry = outbox.find(entry.alert.key) or entry
        if entry.is_settled:
            sent.append(entry.alert)
        elif now - entry.made_at > GIVE_UP_AFTER and entry.busy_until <= now:
            log.error("Given up after %d days, not told to all:\n%s", GIVE_UP_AFTER.days, _text(entry.alert))
            outbox.put(replace(entry, is_settled=True))
            lost.append(entry.alert)
        else:
            waiting.append(entry.alert)
    return Delivery(sent=tuple(sent), waiting=tuple(waiting), lost=tuple(lost))


def _holds_up(entry: Entry, now: datetime) -> bool:
    return now - entry.made_at < HOLDS_UP_FOR


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.made_at)


def _receivers_of(entry: Entry) -> list[Receiver] | None:
    """Return who is to be told; ``None`` where nobody has asked for alerts."""
    try:
        return read_receivers(entry.conn_id)
    except NoConnectionError:
        log.warning("Nobody is alerted: there is no connection %r. Make one of type apprise.", entry.conn_id)
        return None


def _claim(entry: Entry, now: datetime) -> Entry | None:
    """Keep other processes from sending an alert; ``None`` when it has been sent or one of them is at it."""
    # Read anew: while others were told, somebody may have begun with this one.
    entry = outbox.find(entry.alert.key) or entry
    if entry.is_settled or entry.busy_until > now:
        return None
    claimed = replace(entry, busy_until=now + LEASE)
    outbox.put(claimed)
    return claimed


def _tell(
    entry: Entry,
    receivers: Collection[Receiver],
    now: datetime,
    seen: _Receivers,
    *,
    among: Collection[str] | None = None,
    pauses: tuple[float, ...] = (),
) -> Entry:
    """Tell those who have not been told, as far as it is their turn, and return the entry as it was stored.

    :param among: digests of the only receivers that are told now.
    :param pauses: see :meth:`Receiver.tell`.
    """
    for receiver in receivers:
        if not seen.is_due(receiver, entry, now) or (among is not None and receiver.digest not in among):
            continue
        answer = receiver.tell(entry.alert, pauses=pauses if _holds_up(entry, now) else ())
        if answer is Answer.TAKEN:
            entry = replace(entry, told=(*entry.told, receiver.digest))
            # At once: a receiver that has it must not get it again because of what becomes of the next one.
            outbox.put(entry)
        else:
            seen.did_not_take(receiver, answer, entry, now)
    return _close(entry, now, receivers)


def _close(entry: Entry, now: datetime, receivers: Collection[Receiver]) -> Entry:
    missing = [receiver.number for receiver in receivers if receiver.digest not in entry.told]
    entry = replace(entry, busy_until=now, is_settled=not missing)
    outbox.put(entry)
    if missing:
        log.error(
            "Receiver %s of connection %r has not taken an alert, which is kept and sent again by watch_releases: %s",
            ", ".join(map(str, missing)),
            entry.conn_id,
            entry.alert.subject,
        )
    else:
        log.info(
            "All %d receivers of connection %r have the alert: %s", len(receivers), entry.conn_id, entry.alert.subject
        )
    return entry


def _text(alert: Alert) -> str:
    return f"{alert.subject}\n{alert.body}"
