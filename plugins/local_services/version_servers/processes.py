"""The processes of one installation: a server for each version, and the router before them.

They outlive the task that needed them first, and are found again by a mark in their environment, however that task
ended. Each has a folder with its socket below one that nobody else can enter; a version that was taken away, or never
started since the last reboot, has none.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

import include
from include.marked_processes import end, find
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.states import DeploymentState
from local_services.kserve_server.runtime.layout import failure_of, server_folder, socket_of
from local_services.private_folder import check_private, check_socket_path, inherited_environment
from local_services.record import StoredVersion, record_file
from local_services.version_servers.settings import ServersSettings

#: Of the environment of each process: its installation and its own folder. Processes that run carry them: never rename.
_INSTALLATION = "KSERVE_SERVER_INSTALLATION"
_FOLDER = "KSERVE_SERVER_FOLDER"

#: Adds the folder of ``runtime`` to what its environment imports from, behind everything else. Not on PYTHONPATH: the
#: folder above it is full of what must not be imported there.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from runtime.{module} import main; main()"

_ROUTER_SECONDS = 60.0
#: A server that is told to end answers what it has begun, and what arrives within a second.
STOP_SECONDS = 30.0
_KILL_SECONDS = 10.0
_LOG_LINES = 15


class Processes:
    """The processes of one state folder; any process of the same user can see, start and stop them.

    :param settings: where they run.
    """

    #: Of the folder of their sockets. Processes that run are found by it: never rename.
    kind = "kserve-server"
    #: What the message says where an interpreter cannot be started.
    needed = "an environment with KServe's own server; `make kserve-server` makes one"
    #: What a message says where nothing runs.
    remedy = "The next release or prediction starts it."

    def __init__(self, settings: ServersSettings) -> None:
        self._settings = settings
        self.run_dir = settings.run_dir(self.kind)
        self.log_dir = settings.state_dir / "logs"
        self._router = self.run_dir / "router"

    # The router

    def is_router_up(self) -> bool:
        """Tell whether the router answers.

        :raises PermissionDeniedError: when the folder of its socket is not ours alone.
        """
        if not os.path.lexists(self.run_dir):
            return False
        check_private(self.run_dir)
        return self._ask(self._router, "/v2/health/live") == 200

    def start_router(self) -> None:
        """Start the router and wait until it listens. Versions whose processes live on are left alone.

        :raises InvalidRequestError: when something else uses its port, or the environment lacks what it needs.
        :raises ServiceUnavailableError: when it does not come up.
        """
        self._end(_FOLDER, str(self._router))
        self._check_port()
        self.make_folders()
        self._sweep()
        document = {
            "host": self._settings.host,
            "port": self._settings.port,
            "record": str(record_file(self._settings.state_dir)),
            "code": str(Path(include.__path__[0]).parent) if self.router_captures else "",
        }
        process = self._start_runtime("router", self._router, document, "router", python=self.router_python)
        deadline = time.monotonic() + _ROUTER_SECONDS
        while not self.is_router_up():
            if process.poll() is not None or time.monotonic() > deadline:
                reason = self._last_lines("router")
                self._end(_FOLDER, str(self._router))
                self._sweep()
                raise ServiceUnavailableError(
                    f"The router did not start at {self._settings.address}; logs are in {self.log_dir}. "
                    f"Last lines:\n{reason}"
                )
            time.sleep(0.05)

    def make_folders(self) -> None:
        """Make the folders of sockets, logs and models, for this user only.

        :raises InvalidRequestError: when the path of a socket would be too long.
        :raises PermissionDeniedError: when the folder of the sockets is not ours alone.
        """
        check_socket_path(socket_of(self.run_dir / ("0" * 20)).with_name("sp"))
        for folder in (self._settings.state_dir, self.log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings.state_dir.chmod(0o700)  # whoever may change it decides what is loaded
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        check_private(self.run_dir)

    def stop(self) -> bool:
        """Stop everything; harmless when nothing runs. What is under way is answered.

        :return: whether there was anything to stop.
        """
        was_running = bool(self.processes())
        self._end(_FOLDER, str(self._router))  # first, because what it has taken in is for the others to answer
        self._end(_INSTALLATION, str(self.run_dir))
        shutil.rmtree(self.run_dir, ignore_errors=True)
        return was_running

    def processes(self) -> list[psutil.Process]:
        """Return every process of this installation."""
        return find(_INSTALLATION, str(self.run_dir))

    # A version

    def start_version(self, model: str, version: str, stored: StoredVersion, path: Path) -> None:
        """Start the process of a version, without waiting for it. One that is there already is stopped before.

        :param path: of what it loads, which the caller has checked.
        """
        self.stop_version(model, version, stored)
        self.start_server(model, version, stored, path, self._folder(model, version, stored))

    def note_failure(self, model: str, version: str, stored: StoredVersion, reason: str) -> None:
        """Write down why a version cannot be started, so that not everybody tries it again."""
        self.stop_version(model, version, stored)
        folder = self._folder(model, version, stored)
        folder.mkdir(mode=0o700)
        failure_of(folder).write_text(reason, encoding="utf-8")

    def stop_version(self, model: str, version: str, stored: StoredVersion) -> None:
        """Stop the process of a version; harmless when there is none."""
        folder = self._folder(model, version, stored)
        if folder.exists():
            self._end(_FOLDER, str(folder))
            shutil.rmtree(folder, ignore_errors=True)

    def state(self, model: str, version: str, stored: StoredVersion) -> tuple[DeploymentState, str | None] | None:
        """Return a version's state and, unless it is READY, the reason; ``None`` when it was not started."""
        folder = self._folder(model, version, stored)
        if not folder.exists():
            return None
        if self._ask(folder, f"/v2/models/{model}/ready") == 200:
            return DeploymentState.READY, None
        # In this order: a process that has failed is still there for a moment.
        is_there = bool(find(_FOLDER, str(folder)))
        if failure_of(folder).is_file():
            word = failure_of(folder).read_text(encoding="utf-8")
            return DeploymentState.FAILED, f"It could not be loaded. {word}"
        if is_there:
            return DeploymentState.PENDING, "It is being loaded."
        if self._ask(folder, f"/v2/models/{model}/ready") == 200:
            return DeploymentState.READY, None  # somebody has started it meanwhile
        lines = self._last_lines(f"{model}-{version}")
        return DeploymentState.FAILED, f"Its process ended. Last lines of its log:\n{lines or 'none'}"

    def is_gone(self, model: str, version: str, stored: StoredVersion) -> bool:
        """Tell whether a version has no process and nothing speaks against one: it was never started, or killed."""
        folder = self._folder(model, version, stored)
        return not failure_of(folder).is_file() and not _listens(folder) and not find(_FOLDER, str(folder))

    def ask(self, model: str, version: str, stored: StoredVersion, path: str) -> httpx.Response | None:
        """Return a version's answer at a path; ``None`` where there is none."""
        return self._answer(self._folder(model, version, stored), path)

    # Parts

    def _folder(self, model: str, version: str, stored: StoredVersion) -> Path:
        return server_folder(self.run_dir, model, version, stored.sha256, _predictor(stored))

    #: Whether the router captures requests, where the servers themselves do not.
    router_captures = False

    @property
    def router_python(self) -> str:
        """Interpreter of the router: of an environment with httpx and uvicorn."""
        return self._settings.python

    def start_server(self, model: str, version: str, stored: StoredVersion, path: Path, folder: Path) -> None:
        """Start the server of a version, which listens at the socket of a folder that is not there yet."""
        raise NotImplementedError

    def _start_runtime(
        self, module: str, folder: Path, document: Mapping[str, Any], log_name: str, *, python: str
    ) -> subprocess.Popen[bytes]:
        """Start a program of ``kserve_server/runtime``.

        :param document: that it reads.
        """
        document = {**document, "log": str(self.log_dir / f"{log_name}.log")}
        runtime = Path(__file__).parents[1] / "kserve_server"
        command = [python, "-I", "-X", "utf8", "-c", _START.format(module=module), str(runtime), str(folder)]
        return self._start(command, folder, log_name, document={f"{module}.json": document})

    def _start(
        self,
        command: Sequence[str],
        folder: Path,
        log_name: str,
        *,
        document: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process with a folder of its own.

        :param document: name of a file in it -> what stands there, in JSON.
        """
        folder.mkdir(mode=0o700)
        for name, content in (document or {}).items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        python = command[0]
        marks = {_INSTALLATION: str(self.run_dir), _FOLDER: str(folder), "TMPDIR": str(folder), **(environment or {})}
        with self._console(log_name).open("wb") as console:
            try:
                return subprocess.Popen(
                    command,
                    cwd=folder,
                    env=inherited_environment(python) | marks,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # it outlives the task that needed it first
                )
            except OSError as error:
                raise InvalidRequestError(
                    f"{python} cannot be started ({error.strerror or error}). The connection's `python` must be the "
                    f"interpreter of {self.needed}."
                ) from error

    def _end(self, variable: str, value: str) -> None:
        if end(variable, value, psutil.Process.terminate, STOP_SECONDS):
            end(variable, value, psutil.Process.kill, _KILL_SECONDS)

    def _ask(self, folder: Path, path: str) -> int:
        """Return the status of an answer; 0 where there is none."""
        answer = self._answer(folder, path)
        return answer.status_code if answer else 0

    def _answer(self, folder: Path, path: str) -> httpx.Response | None:
        if not _listens(folder):
            return None
        transport = httpx.HTTPTransport(uds=str(socket_of(folder)), verify=False)
        try:
            with httpx.Client(transport=transport, base_url="http://model", timeout=10.0) as client:
                return client.get(path)
        except httpx.TransportError:
            return None

    def _sweep(self) -> None:
        """Remove the folders of processes that are gone: of before a reboot, or killed."""
        for folder in self.run_dir.iterdir():
            if not find(_FOLDER, str(folder)):
                shutil.rmtree(folder, ignore_errors=True)

    def _check_port(self) -> None:
        with socket.socket() as probe:
            if probe.connect_ex((self._settings.host, self._settings.port)) == 0:
                raise InvalidRequestError(
                    f"{self._settings.address} is in use by another program, so the router cannot start there. Stop "
                    "that program, or give the connection another port."
                )

    def _console(self, log_name: str) -> Path:
        return self.log_dir / f"{log_name}.console.log"

    def _last_lines(self, log_name: str) -> str:
        logs = (self.log_dir / f"{log_name}.log", self._console(log_name))
        texts = (log.read_text(encoding="utf-8", errors="replace")[-20_000:] for log in logs if log.is_file())
        return "\n".join("".join(texts).splitlines()[-_LOG_LINES:])


def _predictor(stored: StoredVersion) -> dict[str, Any]:
    return dict(stored.settings.get("predictor") or {})


def _listens(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(socket_of(folder))) == 0
