"""What an image name stands for on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.doubles.kubernetes.container_log import ContainerLog

ROOT = Path(__file__).parents[3]


class StartError(Exception):
    """The container's command cannot be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything that a program needs to start.

    :param pod: the pod's object.
    :param container: its container's specification.
    :param variables: of the container, mount paths already replaced.
    :param mounted: the folder behind each mount path.
    :param folder: of the container, empty.
    """

    pod: dict[str, Any]
    container: dict[str, Any]
    command: Sequence[str]
    arguments: Sequence[str]
    variables: Mapping[str, str]
    mounted: Mapping[str, Path]
    folder: Path
    log: ContainerLog


class Execution(Protocol):
    """A started container.

    :ivar addresses: where the container's ports really listen; empty while nothing does.
    """

    addresses: dict[int, tuple[str, int]]

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or ``None`` when it still runs after that long."""

    def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and kill it after the grace period."""


class Program(Protocol):
    """An image that can be started."""

    def start(self, launch: Launch) -> Execution:
        """:raises StartError: when there is no such command in the image."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose commands are programs of this machine.

    :param bin: folder that comes first in ``PATH``, for example ``.venv/pipelines/bin``.
    :param entrypoint: started when the container names no command.
    :param source: working folder and ``PYTHONPATH``.
    """

    bin: Path | str
    entrypoint: tuple[str, ...] = ()
    source: Path = ROOT
    variables: Mapping[str, str] = field(default_factory=dict)

    def start(self, launch: Launch) -> Execution:
        argv = [*(launch.command or self.entrypoint), *launch.arguments]
        if not argv:
            raise StartError("no command specified")
        variables = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(self.source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(launch.folder),
            "TMPDIR": str(launch.folder),
            "HOSTNAME": launch.pod["metadata"]["name"],
            "LANG": "C.UTF-8",
            **self.variables,
            **launch.variables,
        }
        folder = launch.container.get("workingDir") or self.source
        # There is no network namespace: what listens on a port of loopback is taken for the container.
        ports = [entry["containerPort"] for entry in launch.container.get("ports") or []]
        addresses = {port: ("127.0.0.1", port) for port in ports}
        return ProcessGroup(argv, variables, Path(folder), launch.log, addresses)


class ProcessGroup:
    """A container that is a process of this machine, with everything that it starts.

    :param log: gets what the processes print.
    :param addresses: where its ports listen.
    :raises StartError: when there is no such command.
    """

    def __init__(
        self,
        argv: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        log: ContainerLog,
        addresses: dict[int, tuple[str, int]],
    ) -> None:
        self.addresses = addresses
        try:
            # Looked up in the container's PATH: Popen would look in this process's.
            program = _find(argv[0], variables["PATH"])
            self._process = subprocess.Popen(
                [program, *argv[1:]],
                env=dict(variables),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise StartError(f'exec: "{argv[0]}": {error.strerror}') from error
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def wait(self, seconds: float) -> int | None:
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._signal(signal.SIGKILL)  # what the command left behind ends with its container
        self._reader.join(5)
        return code if code >= 0 else 128 - code

    def stop(self, grace_seconds: float) -> None:
        if grace_seconds > 0:
            self._process.terminate()  # The first process alone is told to stop; the others are its own business.
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _read(self, log: ContainerLog) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                log.write(line.rstrip("\n"))


def _find(command: str, path: str) -> str:
    if "/" in command:
        return command
    for folder in path.split(":"):
        candidate = Path(folder) / command
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise StartError(f'exec: "{command}": executable file not found in $PATH')
