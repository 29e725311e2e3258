"""Captures the requests that a router hands to servers that capture nothing themselves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.capture.exchanges import Exchange
from include.capture.recorded import RecordedCapture
from include.capture.recorder import is_wanted, request_id
from include.capture.server import headers_of


class RoutedCapture:
    """The recorders of a router's models.

    :param record: the file ``live.json``.
    """

    def __init__(self, record: Path) -> None:
        self._captures = RecordedCapture(record, "router")

    def take(
        self, model: str, scope: Mapping[str, Any], request: bytes, answer: bytes, version: str | None, began: float
    ) -> str:
        """Take a request that was answered; return the id by which it is known. Never raises.

        :param scope: of ASGI, with its headers.
        :param version: that has answered; without it nothing is captured.
        :param began: when it was handed on, by the monotonic clock.
        """
        given, opt_out = headers_of(scope)
        name = request_id(given)
        recorder = self._captures.recorder(model, version) if version else None
        if recorder is not None and recorder.wants() and is_wanted(opt_out):
            recorder.offer(
                Exchange(
                    id=name,
                    at=time.time(),
                    version=version,
                    protocol="v2" if "/v2/" in scope["path"] else "v1",
                    latency_ms=1000 * (time.monotonic() - began),
                    request=request,
                    answer=answer,
                )
            )
        return name

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, within a time."""
        self._captures.close(timeout_seconds)
