"""Starts and ends a TorchServe, whoever needs one: a package that is tried, a pod, the server of one machine.

A server has a private folder. It is the temporary folder of all its processes, and by that they are known.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from include.contracts.monitoring.capture_environment import CODE_VARIABLE, RECORD_VARIABLE
from include.marked_processes import end, find

#: A multicast address: it can be bound and listened on, but nobody can connect to it. TorchServe has no switch to leave
#: gRPC off, and on its management port any user of the machine could load code.
NOWHERE = "224.0.0.1"

LOOPBACK = "127.0.0.1"

#: Of the environment: a server's processes are known by their temporary folder.
_MARK = "TMPDIR"

_KILL_SECONDS = 10.0


def command(python: str, *, model_store: Path, config: Path, log_config: Path | None = None) -> list[str]:
    """Return the command line of a server that stays in the foreground.

    :param python: interpreter of an environment with torchserve.
    :param config: its ``config.properties``.
    :param log_config: for Log4j; default: TorchServe's own, which copies all it is asked to the console.
    """
    options = ["--start", "--foreground", "--ncs", "--model-store", str(model_store), "--ts-config", str(config)]
    options += ["--log-config", str(log_config)] if log_config else []
    return [python, "-m", "ts.model_server", *options]


def environment(
    folder: Path, *, java_home: str, logs: Path, inherited: Mapping[str, str], record: Path | None = None
) -> dict[str, str]:
    """Return the environment of a server, whose handlers get all of it.

    :param folder: private to this user; the server's alone.
    :param logs: folder for its logs.
    :param inherited: of whoever starts it; what would lead the server elsewhere is left out.
    :param record: file that says with which settings each version is served: handlers look there whether requests are
        captured.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        # A PYTHONPATH would come before an archive's own code.
        if not name.startswith(("TS_", "PYTHON")) and name not in ("_JAVA_OPTIONS", RECORD_VARIABLE, CODE_VARIABLE)
    }
    private = dict.fromkeys((_MARK, "TEMP"), str(folder)) | dict.fromkeys(
        ("LOG_LOCATION", "METRICS_LOCATION"), str(logs)
    )
    # Java takes the encoding of paths from the locale alone, and has no letters but ASCII's in that of C.
    capture = {} if record is None else {RECORD_VARIABLE: str(record), CODE_VARIABLE: str(Path(__file__).parents[1])}
    return kept | private | capture | {"JAVA_HOME": java_home, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def free_ports(count: int, host: str = LOOPBACK) -> list[int]:
    """Return ports that nothing uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]


def processes(folder: Path) -> list[psutil.Process]:
    """Return the server of a folder, its launcher and its workers, also those whose server was killed."""
    return find(_MARK, str(folder))


def terminate(folder: Path) -> bool:
    """Ask the server of a folder to end; it answers what it was asked, and its workers follow.

    :return: whether there was anything to end.
    """
    found = processes(folder)
    # TorchServe's launcher does not hand the signal on to Java, which would live on without it.
    for process in [process for process in found if _is_java(process)] or found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    return bool(found)


def wait_until_gone(folder: Path, timeout_seconds: float) -> bool:
    """Return whether the server of a folder and all its workers have ended within this time."""
    return not end(_MARK, str(folder), lambda process: None, timeout_seconds)


def kill(folder: Path) -> None:
    """Kill the server of a folder with its workers, also those that it starts meanwhile."""
    end(_MARK, str(folder), psutil.Process.kill, _KILL_SECONDS)


def _is_java(process: psutil.Process) -> bool:
    try:
        return process.name() == "java"
    except psutil.NoSuchProcess:
        return False


def last_lines(*logs: Path, lines: int) -> str:
    """Return the last lines of logs, one after the other; one that is not there yet has none."""
    texts = (log.read_text(encoding="utf-8", errors="replace")[-20_000:] for log in logs if log.is_file())
    return "\n".join("".join(texts).splitlines()[-lines:])
