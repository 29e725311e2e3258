"""What a process knows of the credentials of a connection: the one place that tells an outage from a refusal.

While a control plane is upgraded, a Kubeflow with profiles answers 401 to good tokens, because it asks Kubernetes for
each; names are not resolved, and KServe's API is refused. A refusal of what was accepted before, and no answer, are
an outage (:class:`~kubeflow_provider.exceptions.OutageError`); a refusal of what was never accepted is one.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import (
    KubeflowProviderError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)

#: How long an outage may last, unless the connection's field ``outage_seconds`` says otherwise.
OUTAGE_SECONDS = 900.0
#: A Kubeflow that says for so long that it is well, and refuses us all the while, means it.
WELL_SECONDS = 120.0
#: Its health is asked for no more often.
HEALTH_PAUSE_SECONDS = 5.0

_FORBIDDEN = 403
_AWAY = frozenset({502, 503, 504})
#: Names of single things in a request; what is left says what is asked for.
_NAME = re.compile(r"[^\s/]*[\d-][^\s/]*")


class Access:
    """Whether one connection's credentials were accepted, and what a failure of a request with them is therefore.

    Shared by all hooks of a process whose connections have the same fields, as their login is, in threads and event
    loops alike.

    :param outage_seconds: the budget of an outage.
    :param away: statuses by which the service says that it is away, besides those of gateways.
    :param clock: seconds that only rise; replaced in tests.
    """

    def __init__(
        self,
        *,
        outage_seconds: float = OUTAGE_SECONDS,
        away: frozenset[int] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outage_seconds = outage_seconds
        self._away = _AWAY | away
        self._clock = clock
        self._credentials: str | None = None
        self._is_known = False
        self._accepted: set[str] = set()
        self._refused_at = self._health_asked_at = float("-inf")
        self._well_since: float | None = None

    @property
    def was_accepted(self) -> bool:
        """Whether the service has let these credentials in, in this process or one before."""
        return self._is_known

    def recall(self) -> None:
        """Note that they were accepted in another process: a trigger brings this along."""
        self._is_known = True

    def use(self, credentials: str) -> None:
        """Forget what was known of others.

        :param credentials: digest of what the connection itself does not hold: another connection that it names.
        """
        if self._credentials not in (None, credentials):
            self.forget()
        self._credentials = credentials

    def forget(self) -> None:
        """Take the next refusal for the first."""
        self._is_known = False
        self._accepted.clear()
        self._well_since = None

    def accept(self, operation: str) -> None:
        """Note that a request was carried out.

        :param operation: what was asked for, in words or as method and path.
        """
        self._is_known = True
        self._accepted.add(_NAME.sub("*", operation))
        self._well_since = None

    def wants_health(self, error: KubeflowProviderError, operation: str) -> bool:
        """Whether it matters for a failure how the service is; asked anew every few seconds."""
        if not self._is_refusal_of_accepted(error, operation):
            return False
        now = self._clock()
        if now - self._health_asked_at < HEALTH_PAUSE_SECONDS:
            return False
        self._health_asked_at = now
        return True

    def note_health(self, *, is_well: bool) -> None:
        """Note what a health page said, asked because of a refusal."""
        now = self._clock()
        if not is_well or now - self._refused_at > WELL_SECONDS:
            self._well_since = None  # nobody was refused for so long: what was before is another story
        if is_well and self._well_since is None:
            self._well_since = now

    def judge(self, error: KubeflowProviderError, operation: str) -> KubeflowProviderError:
        """Return what a failure is: an outage with a budget, or the error itself.

        :param operation: as for :meth:`accept`.
        """
        if isinstance(error, OutageError):
            return error
        if isinstance(error, PermissionDeniedError):
            return self._judge_refusal(error, operation)
        if isinstance(error, ServiceUnavailableError) and self._is_away(error, operation):
            return OutageError(
                str(error),
                budget_seconds=self._outage_seconds,
                http_status=error.http_status,
                was_sent=error.was_sent,
                retry_after_seconds=error.retry_after_seconds,
            )
        return error

    def _judge_refusal(self, error: PermissionDeniedError, operation: str) -> KubeflowProviderError:
        if not self._is_refusal_of_accepted(error, operation):
            return error
        self._refused_at = self._clock()
        if self._well_since is not None and self._refused_at - self._well_since >= WELL_SECONDS:
            self.forget()
            words = f"{error} It is no outage: its health page has answered well for {WELL_SECONDS:.0f} s meanwhile."
            return PermissionDeniedError(words, http_status=error.http_status)
        # Who is refused has changed nothing: the request may be made again, whatever it is.
        return OutageError(
            f"{error} It was accepted before.",
            budget_seconds=self._outage_seconds,
            refusal=error,
            http_status=error.http_status,
            was_sent=False,
        )

    def _is_refusal_of_accepted(self, error: KubeflowProviderError, operation: str) -> bool:
        if not isinstance(error, PermissionDeniedError) or isinstance(error, WrongPasswordError):
            return False
        # A 403 is about what was asked for: that something else is allowed says nothing.
        if error.http_status == _FORBIDDEN:
            return _NAME.sub("*", operation) in self._accepted
        return self._is_known

    def _is_away(self, error: ServiceUnavailableError, operation: str) -> bool:
        status = error.http_status
        if status is None:  # no answer, but to who distrusts the server's certificate
            return not any(isinstance(cause, ssl.SSLError) for cause in causes(error))
        # A login that breaks down, and what Kubeflow says when it cannot ask Kubernetes whether we may read something.
        is_inner = status >= 500 and (not error.was_sent or operation.startswith("GET "))
        return status in self._away or is_inner


def access_for(fields: ConnectionFields, *, purpose: str = "", **options: Any) -> Access:
    """Return what is known of a connection, the same object for the same fields.

    :param fields: of the connection; ``outage_seconds`` is read from it.
    :param purpose: tells several credentials of one connection apart.
    :param options: of a new one.
    """
    outage_seconds = fields.seconds("outage_seconds", OUTAGE_SECONDS)
    key = f"{purpose} {fields.digest()}"
    with _lock:
        if key not in _known:
            while len(_known) >= _KEEP:
                del _known[next(iter(_known))]
            _known[key] = Access(outage_seconds=outage_seconds, **options)
        return _known[key]


def was_accepted(service: object) -> bool:
    """Tell whether a service that asks who is there has let us in."""
    access = getattr(service, "access", None)
    return isinstance(access, Access) and access.was_accepted


def recall(service: object) -> None:
    """Tell a service's memory that it has let us in before, in another process."""
    access = getattr(service, "access", None)
    if isinstance(access, Access):
        access.recall()


#: A process uses a handful of connections; changed ones leave their old memories behind, and the oldest make room.
_KEEP = 64
_known: dict[str, Access] = {}
_lock = threading.Lock()


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, the latest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
