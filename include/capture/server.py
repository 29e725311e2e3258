"""Captures the requests of a server that has one model, as its environment says."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from include.capture.exchanges import Exchange
from include.capture.feed import Counts
from include.capture.recorder import Recorder, is_wanted, request_id
from include.contracts.monitoring.capture import OPT_OUT_HEADER, ServedCapture
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE
from include.contracts.monitoring.layout import is_id
from include.contracts.section import problems

_log = logging.getLogger(__name__)

_OPT_OUT = OPT_OUT_HEADER.encode()

#: Takes what a request is about and the body of its answer; see :meth:`ServerCapture.note_of`.
Note = Callable[[Any, bytes], None]


class ServerCapture:
    """What a server does for a request that is captured.

    :param recorder: captures it.
    :param folder: returns that of the archive that answers.
    """

    def __init__(self, recorder: Recorder, folder: Callable[[], Path] | None = None) -> None:
        self._recorder = recorder
        self._folder = folder

    @classmethod
    def of_environment(
        cls, model: str, *, producer: str, folder: Callable[[], Path] | None = None
    ) -> ServerCapture | None:
        """Return what the environment asks for; ``None`` where nothing is to be captured, or cannot be.

        :param model: name of the model.
        :param producer: see :class:`.Recorder`.
        :param folder: returns that of the archive that answers.
        """
        text = os.environ.get(SETTINGS_VARIABLE)
        settings = read_settings(text, where=f"${SETTINGS_VARIABLE}") if text else None
        return cls.made(settings, model, producer=producer, folder=folder) if settings else None

    @classmethod
    def made(
        cls,
        settings: ServedCapture,
        model: str,
        *,
        producer: str,
        folder: Callable[[], Path] | None = None,
    ) -> ServerCapture | None:
        """Return what captures a model; ``None``, with a line in the log, where its store is somewhere else."""
        try:
            return cls(Recorder(settings, model=model, producer=producer), folder)
        except ValueError as error:
            _log.warning("%s", error)
            return None

    @property
    def counts(self) -> Counts:
        """What became of requests that were drawn."""
        return self._recorder.counts

    def numbers(self) -> list[tuple[str, int]]:
        """Return what became of requests, and how often the process that writes was started again: name, number."""
        return [*self.counts.items(), ("restarts", self._recorder.feed.restarts)]

    def note_of(self, scope: MutableMapping[str, Any], protocol: str, version: str, began: float) -> Note | None:
        """Return what captures a request when it is answered; ``None`` for one that is not drawn.

        :param scope: of ASGI, with the request's headers; gets ``request_id`` for the answer's.
        :param protocol: ``v1``, ``v2`` or ``raw``.
        :param version: that will answer.
        :param began: when it came, by :func:`time.monotonic`.
        """
        given, opt_out = headers_of(scope)
        scope["request_id"] = name = request_id(given)
        if not self._recorder.wants() or not is_wanted(opt_out):
            return None
        is_given = name == given
        folder = str(self._folder()) if self._folder else None

        def note(request: Any, answer: bytes) -> None:
            # The id in a V2 body counts where no header names one.
            named = getattr(request, "request_id", None)
            self._recorder.offer(
                Exchange(
                    id=named if named and not is_given and is_id(named) else name,
                    at=time.time(),
                    version=version,
                    protocol=protocol,
                    latency_ms=1000 * (time.monotonic() - began),
                    request=b"",
                    answer=answer,
                    inputs=getattr(request, "texts", ()),
                    folder=folder,
                )
            )

        return note

    def take(self, exchange: Exchange) -> None:
        """Take a request that was answered, if it is drawn."""
        if self._recorder.wants():
            self._recorder.offer(exchange)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, within a time."""
        self._recorder.close(timeout_seconds)


def headers_of(scope: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the request's id and whether it lets itself be captured, as its headers say."""
    given = opt_out = None
    for name, value in scope.get("headers", ()):
        if name == b"x-request-id":
            given = value.decode("latin-1")
        elif name == _OPT_OUT:
            opt_out = value.decode("latin-1")
    return given, opt_out


def read_settings(settings: Any, *, where: str) -> ServedCapture | None:
    """Return the section ``capture`` of a version's settings; ``None``, with a line in the log, when it is none.

    :param settings: the section, or its JSON.
    """
    try:
        document = json.loads(settings) if isinstance(settings, str) else settings
        found = ServedCapture.model_validate(document)
    except ValidationError as error:
        _log.error("Nothing is captured: %s is wrong: %s", where, problems(error, "capture"))
        return None
    except (ValueError, RecursionError):
        _log.error("Nothing is captured: %s is no JSON", where)
        return None
    return found if found.enabled else None
