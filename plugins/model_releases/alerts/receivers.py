"""Who is told: the Apprise addresses of an Airflow connection."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from model_releases.alerts.alert import Alert, Severity
from model_releases.alerts.text import shortened

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

#: Pauses between the tries of somebody who waits for the alert to go out.
PATIENT = (1.0, 4.0)

#: Characters that a service's own dress of an alert may take: line ends, counters, entities.
_MARGIN = 300

#: HTTP statuses by which a service refuses this one alert: too long, or not a form that it knows.
_REFUSALS = frozenset({"400", "413", "414", "415", "422"})

log = logging.getLogger(__name__)


class NoConnectionError(LookupError):
    """There is no such connection: nobody has asked for alerts."""


class Answer(Enum):
    """What a receiver made of an alert."""

    TAKEN = "taken"
    #: It does not want this alert, and may take the next one.
    REFUSED = "refused"
    #: It took nothing, and would not have taken another one either.
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One address of a connection.

    :param number: its place in the connection, from 1: what a log may say of it.
    :param digest: tells it from others without giving the address away, which may hold a token.
    :param apprise: sends to it; ``None`` when Apprise does not understand the address.
    """

    number: int
    digest: str
    apprise: Apprise | None

    def tell(self, alert: Alert, *, pauses: tuple[float, ...] = ()) -> Answer:
        """Send the alert and return what became of it.

        :param pauses: seconds before each further try of a receiver that is silent.
        """
        if self.apprise is None:
            return Answer.SILENT
        answer = self._tell_once(self.apprise, alert)
        for pause in pauses:
            if answer is not Answer.SILENT:
                break
            time.sleep(pause)
            answer = self._tell_once(self.apprise, alert)
        return answer

    def _tell_once(self, apprise: Apprise, alert: Alert) -> Answer:
        from apprise import NotifyFormat, NotifyType

        kinds = {
            Severity.QUIET: NotifyType.INFO,
            Severity.NORMAL: NotifyType.WARNING,
            Severity.LOUD: NotifyType.FAILURE,
        }
        with _quiet():
            result = apprise.notify(
                title=alert.subject,
                body=shortened(alert.body, self._room(alert.subject)),
                notify_type=kinds[alert.severity],
                body_format=NotifyFormat.TEXT,
            )
        if result:
            return Answer.TAKEN
        return Answer.REFUSED if _statuses(result) & _REFUSALS else Answer.SILENT

    def _room(self, subject: str) -> int:
        """Return how many characters of a body the receiver takes besides a subject, as Apprise knows it."""
        takes = min((server.body_maxlen for server in self.apprise or ()), default=0)
        # A pager or a phone takes very few.
        return max(takes - len(subject) - _MARGIN, takes // 4)


def read_receivers(conn_id: str) -> list[Receiver]:
    """Return the receivers that a connection of type ``apprise`` names.

    An address that makes no sense is a receiver, too: its alerts wait until the connection is mended.

    :raises NoConnectionError: when there is no such connection.
    """
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise NoConnectionError(conn_id) from error
    try:
        config = AppriseHook(conn_id).get_config_from_conn(connection)
        addresses = [str(entry["path"]) for entry in ([config] if isinstance(config, dict) else config)]
    except (KeyError, TypeError, ValueError):
        log.error('`config` of connection %r should look like {"path": "<Apprise URL>"}: mend it.', conn_id)
        return [Receiver(number=1, digest="unknown", apprise=None)]
    return [_receiver(conn_id, number, address) for number, address in enumerate(addresses, start=1)]


def _receiver(conn_id: str, number: int, address: str) -> Receiver:
    from apprise import Apprise, OverflowMode

    apprise = Apprise()
    with _quiet():
        understood = apprise.add(address)
    if not understood:
        log.error("Connection %r: entry %d is no URL that Apprise understands: mend it.", conn_id, number)
    for server in apprise:
        # What is still too long when it is dressed for the service (HTML, for one) is sent in parts.
        if server.overflow_mode is OverflowMode.UPSTREAM:
            server.overflow_mode = OverflowMode.SPLIT
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Receiver(number=number, digest=digest, apprise=apprise if understood else None)


def _statuses(result: AppriseResult) -> set[str]:
    """Return the HTTP statuses of a service's answers: Apprise tells them in its log alone."""
    return {status for entry in result.logs() for status in re.findall(r"\berror=(\d{3})\b", str(entry.message))}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep addresses out of the log: Apprise and urllib3 write them, and those of chat services hold a token.

    Apprise keeps a copy of its warnings in its result, so it must not be kept from making them.
    """
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3")]
    before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
        logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        yield
    finally:
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers
