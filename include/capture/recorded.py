"""Captures the requests of versions as the record of a server says, which has their settings; read when it changes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from include.capture.exchanges import Exchange
from include.capture.feed import Feed
from include.capture.recorder import Recorder, is_wanted, request_id
from include.capture.server import read_settings
from include.contracts.monitoring.capture import CAPTURE, ServedCapture
from include.contracts.monitoring.layout import is_id

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_LARGEST_RECORD_BYTES = 4_000_000


class RecordedCapture:
    """The recorders of a server's models.

    :param record: the file ``live.json``, which is replaced as a whole.
    :param producer: see :class:`.Recorder`.
    """

    def __init__(self, record: Path, producer: str) -> None:
        self._record = record
        self._producer = producer
        self._feed = Feed()
        self._looked = -_LOOK_SECONDS
        self._signature: tuple[int, int, int] | None = None
        self._models: Mapping[str, Any] = {}
        self._recorders: dict[str, tuple[Any, Recorder | None]] = {}

    def of(self, model: str, version: str, folder: Path) -> VersionCapture:
        """Return what captures the requests of one version.

        :param folder: of its unpacked archive.
        """
        return VersionCapture(self, model, version, folder)

    def recorder(self, model: str, version: str) -> Recorder | None:
        """Return what writes the requests of a version; ``None`` where its settings do not ask for it."""
        self._look()
        try:
            section = self._models[model]["versions"][version]["settings"].get(CAPTURE)
        except (KeyError, TypeError, AttributeError):
            section = None
        known = self._recorders.get(model)
        if known is None or known[0] != section:
            if known and known[1]:
                known[1].close()
            known = self._recorders[model] = (section, self._made(model, section))
        return known[1]

    def of_live(self, model: str, version: str) -> Recorder | None:
        """Return what writes the requests of a version; ``None`` also where users are answered by another one."""
        self._look()
        try:
            is_live = self._models[model]["live"] == version
        except (KeyError, TypeError):
            is_live = False
        return self.recorder(model, version) if is_live else None

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, within a time."""
        self._feed.close(timeout_seconds)

    def _made(self, model: str, section: Any) -> Recorder | None:
        settings: ServedCapture | None = read_settings(section, where=str(self._record)) if section else None
        if settings is None:
            return None
        try:
            return Recorder(settings, model=model, producer=self._producer, feed=self._feed)
        except ValueError as error:
            _log.warning("%s", error)
            return None

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            found = self._record.stat()
            signature = (found.st_ino, found.st_mtime_ns, found.st_size)
            if signature != self._signature:
                with self._record.open("rb") as file:
                    self._models = dict(json.loads(file.read(_LARGEST_RECORD_BYTES))["models"])
                self._signature = signature
        except FileNotFoundError:
            self._models, self._signature = {}, None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            # What it said last counts; it is read again when it is another one.
            _log.error("%s cannot be read (%s)", self._record, type(error).__name__)


class VersionCapture:
    """What captures the requests of one version, for the code of its archive.

    That code is as it was when the version was released: what it calls here must stay.
    """

    def __init__(self, captures: RecordedCapture, model: str, version: str, folder: Path) -> None:
        self._captures = captures
        self._model = model
        self._version = version
        self._folder = folder

    def wants(self) -> bool:
        """Draw whether a request is captured: none of a candidate, which only releases ask."""
        recorder = self._captures.of_live(self._model, self._version)
        return recorder is not None and recorder.wants()

    def take(
        self,
        *,
        ids: Sequence[str | None],
        opt_out: str | None,
        protocol: str,
        latency_ms: float,
        answer: str,
        texts: Sequence[str],
    ) -> None:
        """Take a request that was drawn.

        :param ids: by which its client may know it; the first that may stand in a file counts.
        :param opt_out: its header that says whether it lets itself be captured.
        :param latency_ms: as far as the caller has seen it.
        """
        recorder = self._captures.of_live(self._model, self._version)
        if recorder is None or not is_wanted(opt_out):
            return
        recorder.offer(
            Exchange(
                id=request_id(next((each for each in ids if isinstance(each, str) and is_id(each)), None)),
                at=time.time(),
                version=self._version,
                protocol=protocol,
                latency_ms=latency_ms,
                request=b"",
                answer=answer.encode(),
                inputs=texts,
                folder=str(self._folder),
            )
        )
