"""The one place to switch capturing off, looked at once a second."""

from __future__ import annotations

import os
import time
from pathlib import Path

from include.contracts.monitoring.layout import OFF

#: Of the environment: anything but an empty value keeps a process from capturing.
OFF_VARIABLE = "MODEL_CAPTURE_OFF"

_LOOK_SECONDS = 1.0


class Switch:
    """Whether requests of a model are captured at all.

    :param store: the model's folder in the store.
    """

    def __init__(self, store: Path) -> None:
        self._file = store.parent / OFF
        self._looked = 0.0
        self.is_off = False  #: As it was when it was looked at last.
        self.look()

    def look(self) -> bool:
        """Return whether it is off; what was seen less than a second ago counts."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self.is_off = bool(os.environ.get(OFF_VARIABLE)) or self._file.exists()
        return self.is_off
