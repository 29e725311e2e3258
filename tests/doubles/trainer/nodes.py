"""Programs in the place of nodes that train."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from tests.doubles.kubernetes.programs import Execution, Launch


@dataclass
class FakeNodes:
    """An image whose containers run until a test says how they end.

    :ivar ends: rank -> exit code; a rank that is not there runs on.
    :ivar says: what each of them prints first.
    :ivar ignores_sigterm: whether a node that is told to end runs on until it is killed.
    :ivar started: each that was started.
    """

    ends: dict[int, int] = field(default_factory=dict)
    says: list[str] = field(default_factory=lambda: ["train: a node"])
    last_words: str = "boom"
    ignores_sigterm: bool = False
    started: list[Launch] = field(default_factory=list)

    def start(self, launch: Launch) -> Execution:
        self.started.append(launch)
        for line in self.says:
            launch.log.write(line)
        return _Running(self, launch)

    def variables(self, pod: str) -> dict[str, str]:
        """Return what the container of the pod whose name begins so was given."""
        found = [each for each in self.started if each.pod["metadata"]["name"].startswith(pod)]
        return dict(found[-1].variables)


class _Running:
    addresses: dict[int, tuple[str, int]]

    def __init__(self, nodes: FakeNodes, launch: Launch) -> None:
        self.addresses = {}
        self._nodes = nodes
        self._launch = launch
        self._rank = int(launch.variables.get("PET_NODE_RANK") or 0)
        self._stopped = threading.Event()
        self._code: int | None = None

    def wait(self, seconds: float) -> int | None:
        self._stopped.wait(seconds)
        if self._code is None and self._rank in self._nodes.ends:
            self._code = self._nodes.ends[self._rank]
            if self._code:
                self._launch.log.write(self._nodes.last_words)
        return self._code

    def stop(self, grace_seconds: float) -> None:
        if self._code is None and self._nodes.ignores_sigterm and grace_seconds:
            time.sleep(grace_seconds)
            self._code = 137
        elif self._code is None:
            self._code = 143 if grace_seconds else 137
        self._stopped.set()
