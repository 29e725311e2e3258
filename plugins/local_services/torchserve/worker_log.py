"""Finds in TorchServe's log why a worker could not load its model."""

from __future__ import annotations

import re
from pathlib import Path

_ERROR = re.compile(r"([\w.]+\.)?\w*(Error|Exception|Interrupt|Exit)\b.*")
#: Lines of a traceback that say nothing about the model.
_NOISE = re.compile(r"[\s^~]*|.*<frozen importlib\._bootstrap.*")
_MOST_LINES = 15


class WorkerLog:
    """What the workers of one version write from now on. Nobody has sent them a text while they load.

    :param log_dir: TorchServe's folder for logs.
    """

    def __init__(self, log_dir: Path, model: str, version: str) -> None:
        self._path = log_dir / "model_log.log"
        self._marker = f"-{model}_{version}-"
        self._begin = self._size()

    def diagnosis(self) -> str:
        """Return the errors that the workers named, and their last lines."""
        lines = self._lines()
        # One error leads to the next (TorchServe looks for a handler in two places): the first one is the cause.
        errors = list(dict.fromkeys(line for line in lines if _ERROR.fullmatch(line)))
        tail = "\n".join(line for line in lines if not _NOISE.fullmatch(line)).splitlines()[-_MOST_LINES:]
        return "\n".join([f"The worker said: {'; '.join(errors) or 'nothing'}. Its last lines:", *tail])

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.is_file() else 0

    def _lines(self) -> list[str]:
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._begin if self._begin <= self._size() else 0)  # it may have been rotated meanwhile
            text = file.read().decode("utf-8", errors="replace")
        found = (line.partition(" MODEL_LOG - ") for line in text.splitlines() if self._marker in line)
        return [message for _, _, message in found]
