"""Sends alerts: at once, and later to whoever could not be reached."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from model_releases.alerts import outbox
from model_releases.alerts.alert import NOBODY, Alert
from model_releases.alerts.outbox import Entry
from model_releases.alerts.receivers import PATIENT, NoConnectionError, Receiver, read_receivers

#: A process that sends an alert is believed dead after this; then another one takes over.
LEASE = timedelta(minutes=10)

#: An alert that could not be delivered for so long is given up, loudly.
GIVE_UP_AFTER = timedelta(days=7)

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


def send_alert(alert: Alert, conn_id: str, *, now: datetime | None = None) -> bool:
    """Tell every receiver of a connection, unless it has been told.

    Whoever does not take the alert after three tries gets it later, from :func:`deliver_waiting`. Callable from
    whatever runs in Airflow: tasks, callbacks, and the triggerer's threads.

    :param conn_id: connection of type ``apprise``; without it, or for :data:`NOBODY`, nobody is told.
    :return: whether every receiver has it now.
    """
    if conn_id == NOBODY:
        log.info("Nobody is told, as the model's settings ask for: %s", alert.subject)
        return False
    with _one_at_a_time:
        return _send(alert, conn_id, now or datetime.now(UTC))


def _send(alert: Alert, conn_id: str, now: datetime) -> bool:
    entry = outbox.find(alert.key) or Entry(alert=alert, conn_id=conn_id, made_at=now, busy_until=now)
    if entry.is_settled:
        log.info("This alert has been sent already: %s", alert.subject)
        return True
    if entry.busy_until > now:
        log.info("Another process is sending this alert: %s", alert.subject)
        return False
    entry = _deliver(entry, now, pauses=PATIENT)
    if not entry.is_settled:
        log.error("Not everybody has been told. What the alert says:\n%s", _text(alert))
    return entry.is_settled


def deliver_waiting(*, now: datetime | None = None) -> Delivery:
    """Send what could not be delivered so far, give up what is too old, and forget what was sent long ago.

    One try for each receiver that does not answer, however many alerts wait for it.
    """
    now = now or datetime.now(UTC)
    sent, waiting, lost = [], [], []
    silent: set[str] = set()
    for entry in sorted(outbox.entries(), key=lambda entry: entry.made_at):
        if not entry.is_settled:
            # Read anew: while others were sent, a task may have begun with this one.
            entry = outbox.find(entry.alert.key) or entry
        if entry.is_settled:
            if now - entry.made_at > REMEMBER_FOR:
                outbox.drop(entry)
        elif entry.busy_until > now:
            waiting.append(entry.alert)
        elif (entry := _deliver(entry, now, silent=silent)).is_settled:
            sent.append(entry.alert)
        elif now - entry.made_at > GIVE_UP_AFTER:
            log.error("Given up after %d days, not told to all:\n%s", GIVE_UP_AFTER.days, _text(entry.alert))
            outbox.put(replace(entry, is_settled=True))
            lost.append(entry.alert)
        else:
            waiting.append(entry.alert)
    return Delivery(sent=tuple(sent), waiting=tuple(waiting), lost=tuple(lost))


def _deliver(entry: Entry, now: datetime, *, pauses: tuple[float, ...] = (), silent: set[str] | None = None) -> Entry:
    """Tell those who have not been told, and return the entry as it was stored.

    :param silent: receivers that did not answer a moment ago: they are left out, and more are added.
    """
    try:
        receivers = read_receivers(entry.conn_id)
    except NoConnectionError:
        log.warning("Nobody is alerted: there is no connection %r. Make one of type apprise.", entry.conn_id)
        return entry
    # Stored before anything is sent: whatever kills this process, the alert is not lost with it.
    entry = replace(entry, busy_until=now + LEASE)
    outbox.put(entry)
    for receiver in receivers:
        if receiver.digest in entry.told or (silent and receiver.digest in silent):
            continue
        if receiver.tell(entry.alert, pauses=pauses):
            entry = replace(entry, told=(*entry.told, receiver.digest))
            # At once: a receiver that has it must not get it again because of what becomes of the next one.
            outbox.put(entry)
        elif silent is not None:
            silent.add(receiver.digest)
    return _close(entry, now, receivers)


def _close(entry: Entry, now: datetime, receivers: Collection[Receiver]) -> Entry:
    missing = [receiver.number for receiver in receivers if receiver.digest not in entry.told]
    entry = replace(entry, busy_until=now, is_settled=not missing)
    outbox.put(entry)
    if missing:
        log.error(
            "Receiver %s of connection %r did not take an alert, which is kept and sent again by watch_releases: %s",
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
