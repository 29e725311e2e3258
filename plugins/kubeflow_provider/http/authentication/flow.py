"""How an authentication renews what it proves the caller with, written once for tasks and for triggers.

An ``httpx.Auth`` is a generator: it yields requests and is sent their answers, whether the client is a blocking or
an asynchronous one. Some steps are no requests; the two drivers here take them in the way that suits their world.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, TypeVar

import httpx
from airflow.sdk.log import mask_secret

from kubeflow_provider.exceptions import (
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
    WrongPasswordError,
)
from kubeflow_provider.http.answers import wants_login

T = TypeVar("T")

#: Longest wait for somebody else's renewal; every request of one has its own time limits.
LONGEST_WAIT_SECONDS = 120.0
#: For so long a refusal counts for everybody: a thousand triggers would ask a thousand times.
REMEMBER_REFUSAL_SECONDS = 20.0
#: A login that came to nothing is repeated no sooner; one with a wrong password never is, because accounts get locked.
LOGIN_AGAIN_SECONDS = 60.0
#: See :func:`mask_renewed`.
MOST_MASKED = 20
_renewed = count()


@dataclass(frozen=True, slots=True)
class Blocking:
    """A step through a library without an asynchronous side."""

    call: Callable[[], Any]

    def take(self) -> Any:
        """Take the step in a thread that may block."""
        return self.call()

    async def atake(self) -> Any:
        """Take the step in an event loop."""
        return await asyncio.to_thread(self.call)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that somebody else takes, in whichever thread or event loop."""

    outcome: Future[Any]

    def take(self) -> Any:
        """Wait in a thread that may block."""
        try:
            return self.outcome.result(LONGEST_WAIT_SECONDS)
        except TimeoutError as error:
            raise _too_slow() from error

    async def atake(self) -> Any:
        """Wait in an event loop."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.outcome), LONGEST_WAIT_SECONDS)
        except TimeoutError as error:
            raise _too_slow() from error


#: What an authentication yields: a request to send, whose response comes back, or a step whose result comes back.
Step = httpx.Request | Blocking | Waiting
Steps = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """What a request is proved with: compared by identity, so that each renewal is another one.

    :param value: never shown.
    :param renew_at: seconds since the epoch after which it is not used any more.
    """

    value: Any = field(repr=False)
    renew_at: float = float("inf")


class RenewableAuth(httpx.Auth, ABC):
    """Obtains a credential when it is needed, keeps it, and renews it once when a request is refused.

    One object serves all threads and event loops of a process. Whoever finds that a credential is missing obtains
    it; all others, whichever thread or loop they live in, wait for the outcome, good or bad.

    :param hint: what to check when the service refuses.
    :cvar is_login: whether to obtain a credential is a login that somebody counts.
    """

    is_login: ClassVar[bool] = False

    def __init__(self, *, hint: str) -> None:
        self.hint = hint
        self._lock = threading.Lock()
        self._credential: Credential | None = None
        self._is_accepted = False
        self._obtained_at = float("-inf")
        self._renewal: Future[Credential] | None = None
        #: With what it failed to obtain one, and until when that counts.
        self._failure: tuple[float, KubeflowProviderError] | None = None

    @abstractmethod
    def obtain(self, request: httpx.Request) -> Steps[Credential]:
        """Get a new credential.

        :param request: the request that needs it, for its time limits.
        """

    @abstractmethod
    def apply(self, credential: Credential, request: httpx.Request) -> None:
        """Put the credential into the request, in the place of an older one."""

    def received(self, credential: Credential, response: httpx.Response) -> None:
        """See an answer to a request that had the credential."""

    def is_usable(self, credential: Credential) -> bool:
        """Tell whether the credential is worth sending."""
        return time.time() < credential.renew_at

    def steps(self, request: httpx.Request) -> Steps[None]:
        """Send the request, once more with a new credential when the first was refused."""
        credential = yield from self._current(request)
        self.apply(credential, request)
        response = yield request
        self.received(credential, response)
        if not wants_login(response):
            self._accept(credential)
            return
        if self._is_too_soon(credential):
            return
        renewed = yield from self._current(request, refused=credential)
        self.apply(renewed, request)
        response = yield request
        self.received(renewed, response)
        if not wants_login(response):
            self._accept(renewed)

    def _accept(self, credential: Credential) -> None:
        with self._lock:
            self._is_accepted = self._is_accepted or credential is self._credential

    def _is_too_soon(self, refused: Credential) -> bool:
        """Tell whether the newest login was refused as well, and is too young to try another."""
        with self._lock:
            is_newest = refused is self._credential and not self._is_accepted
            return self.is_login and is_newest and time.time() < self._obtained_at + LOGIN_AGAIN_SECONDS

    def _current(self, request: httpx.Request, refused: Credential | None = None) -> Steps[Credential]:
        with self._lock:
            known, renewal = self._credential, self._renewal
            if known is not None and known is not refused and self.is_usable(known):
                return known
            if self._failure and time.time() < self._failure[0]:
                raise copy(self._failure[1])
            if renewal is None:
                mine: Future[Credential] = Future()
                self._renewal = mine
                # Running futures cannot be cancelled: one waiter that gives up must not end the wait of the others.
                mine.set_running_or_notify_cancel()
        if renewal is not None:
            return (yield Waiting(renewal))
        return (yield from self._renew(request, mine))

    def _renew(self, request: httpx.Request, renewal: Future[Credential]) -> Steps[Credential]:
        try:
            credential = yield from self.obtain(request)
        except BaseException as error:
            # httpx closes the generator when a request of it got no answer, or its task was cancelled.
            with self._lock:
                self._renewal = None
                if isinstance(error, KubeflowProviderError) and (seconds := self._counts_for(error)):
                    self._failure = (time.time() + seconds, error)
            renewal.set_exception(
                error
                if isinstance(error, Exception)
                else ServiceUnavailableError("The login that this request waited for got no answer.", was_sent=False)
            )
            raise
        with self._lock:
            self._credential, self._renewal = credential, None
            self._is_accepted, self._obtained_at = False, time.time()
        renewal.set_result(credential)
        return credential

    def _counts_for(self, failure: KubeflowProviderError) -> float:
        """Return for how many seconds a failure keeps everybody from trying again; no answer at all keeps nobody."""
        if isinstance(failure, WrongPasswordError):
            return float("inf")
        if self.is_login and failure.http_status is not None:
            return LOGIN_AGAIN_SECONDS
        return REMEMBER_REFUSAL_SECONDS if isinstance(failure, PermissionDeniedError) else 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Drive the steps for a blocking client."""
        steps = self.steps(request)
        try:
            step = next(steps)
            while True:
                if isinstance(step, httpx.Request):
                    response = yield step
                    response.read()
                    step = steps.send(response)
                    continue
                try:
                    result = step.take()
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration:
            return
        finally:
            steps.close()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Drive the steps for an asynchronous client."""
        steps = self.steps(request)
        try:
            step = next(steps)
            while True:
                if isinstance(step, httpx.Request):
                    response = yield step
                    await response.aread()
                    step = steps.send(response)
                    continue
                try:
                    result = await step.atake()
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration:
            return
        finally:
            steps.close()


def follow_up(
    request: httpx.Request,
    method: str,
    url: httpx.URL | str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Request:
    """Return a request of a login, with the time limits of the request that it is made for.

    Only the limits: what else stands in that request is meant for the service and not for an identity provider.
    """
    extensions = {"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {}
    return httpx.Request(method, url, data=form, headers=headers, extensions=extensions)


def mask(*secrets: str) -> None:
    """Let Airflow blot out secrets of a connection wherever they might turn up in a log.

    Never to be called with a lock held: in a triggerer it may let other tasks of the event loop run.
    """
    for secret in secrets:
        mask_secret(secret)


def mask_renewed(*secrets: str) -> None:
    """Like :func:`mask`, for secrets that are replaced again and again; the first ones of a process only.

    Airflow's masker forgets nothing and slows down every log line with what it knows, so a triggerer that renews a
    token every hour for months must not feed it for ever. No log line of ours holds one in the first place.
    """
    for secret in secrets:
        if next(_renewed) < MOST_MASKED:
            mask_secret(secret)


def header_problem(value: str) -> str | None:
    """Return what keeps a secret from being sent in a header, ``None`` when nothing does.

    The libraries below would quote a line break or an accent together with the secret around it.
    """
    if not value:
        return "is empty"
    return None if value.isascii() and value.isprintable() else "holds a line break or a character that is not ASCII"


def _too_slow() -> ServiceUnavailableError:
    return ServiceUnavailableError(f"A login is taking longer than {LONGEST_WAIT_SECONDS:.0f} s.", was_sent=False)
