"""One container: starts, runs, ends, and what the pod's status says about it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.container_log import ContainerLog
from tests.doubles.kubernetes.programs import Execution

State = dict[str, dict[str, Any]]


class Container:
    """A container with its present and last state. Its pod's thread starts it; a thread of its own runs it."""

    def __init__(self, spec: dict[str, Any], folder: Path) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.folder = folder
        self.state: State = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: State = {}
        self.restarts = 0
        self.ready = False
        self.execution: Execution | None = None
        self.log = ContainerLog()
        self.previous_log: ContainerLog | None = None
        self.started_at = ""
        self.ended = threading.Event()

    @property
    def exit_code(self) -> int | None:
        """How it ended; ``None`` while it has not."""
        code = self.state.get("terminated", {}).get("exitCode")
        return None if code is None else int(code)

    @property
    def has_run(self) -> bool:
        return bool(self.started_at)

    @property
    def termination_file(self) -> Path:
        return self.folder / "termination-log"

    def wait_for(self, reason: str, message: str = "") -> None:
        """Be in a waiting state."""
        self.ready = False
        self.state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}

    def begin(self) -> ContainerLog:
        """Be running, with a fresh log, which is returned. The log of the run before stays readable."""
        if self.has_run:
            self.previous_log, self.log = self.log, ContainerLog()
            self.restarts += 1
        self.started_at = timestamp()
        self.ended.clear()
        self.state = {"running": {"startedAt": self.started_at}}
        return self.log

    def finish(self, code: int, *, reason: str = "", message: str = "") -> None:
        """Be over, with the reason and the termination message that a kubelet would report."""
        reason = reason or ("Completed" if code == 0 else "Error")
        terminated = {"exitCode": code, "reason": reason, "startedAt": self.started_at or None}
        terminated |= {"finishedAt": timestamp(), "containerID": f"containerd://{id(self):x}"}
        if message := message or self._termination_message(code):
            terminated["message"] = message
        self.ready = False
        self.state = {"terminated": terminated}
        self.log.end()
        self.ended.set()

    def status(self, *, image: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "image": image,
            "imageID": "" if not self.has_run else f"sha256:{abs(hash(image)):x}",
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "started": "running" in self.state,
            "restartCount": self.restarts,
        }

    def _termination_message(self, code: int) -> str:
        if self.termination_file.exists() and (text := self.termination_file.read_text(encoding="utf-8")):
            return text[:4096]
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            return self.log.tail()
        return ""
