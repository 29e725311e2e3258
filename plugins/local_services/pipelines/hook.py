"""Runs compiled pipelines on this machine, each in a child process of the pipeline half's environment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from threading import Thread
from typing import IO, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from airflow.sdk import BaseHook, Connection

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.services import JsonValue, PreparedRun, Run, RunRequest
from local_services.pipelines.marked_processes import child_environment, terminate_marked
from local_services.pipelines.run_folder import RunFolder, worker_lives
from local_services.pipelines.settings import REFUSED_TEXT, LocalPipelinesSettings

_RUNNER = "include.pipelines.local_runner"
#: Finds what a run needs without importing it, which would take a second or more.
_PROBE = f"""
from importlib.metadata import version
from importlib.util import find_spec
if find_spec({_RUNNER!r}) is None:
    raise SystemExit("{_RUNNER} is not in the project folder.")
print(version("kfp"))
"""
_TEST_SECONDS = 60
_NEVER = datetime.min.replace(tzinfo=UTC)

#: How many finished runs keep their folder: artifacts and logs of older ones make room.
KEEP_FINISHED_RUNS = 20
#: Stands for ``python -m`` with arguments that come on standard input. A task that is killed takes its module with it
#: (``PR_SET_PDEATHSIG``, ``SIGTERM``); one that was killed before leaves no arguments to begin with.
_MODULE_RUNNER = (
    "import ctypes, json, runpy, sys; sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 15); "
    "module = sys.argv[1]; sys.argv[1:] = json.load(sys.stdin); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


class LocalPipelinesHook(BaseHook):
    """The pipeline service (:class:`kubeflow_provider.services.PipelineService`) of a machine without a cluster.

    A run is a process that belongs to nobody: it outlives the Airflow process that started it, and every process of
    the same user on this machine can look after it through its folder (:mod:`local_services.pipelines.run_folder`).

    Where Airflow's processes live in containers, a run would go down with the one that started it, and no other could
    stop it. With ``worker`` in the connection a process of its own (:mod:`local_services.pipelines.worker`) starts,
    stops and buries the runs, and what is done here is to write into their folders.

    :param local_pipelines_conn_id: Airflow connection.
    :param connection: the connection itself, where it is already known.
    """

    conn_name_attr = "local_pipelines_conn_id"
    default_conn_name = "pipelines_default"
    conn_type = "local_pipelines"
    hook_name = "Local Pipelines"
    #: They go over the standard input.
    shows_arguments = False

    def __init__(
        self, local_pipelines_conn_id: str = default_conn_name, *, connection: Connection | None = None
    ) -> None:
        super().__init__()
        self.local_pipelines_conn_id = local_pipelines_conn_id
        self._connection = connection
        self._module_mark: str | None = None

    @cached_property
    def settings(self) -> LocalPipelinesSettings:
        """The connection's fields, checked."""
        return LocalPipelinesSettings.from_connection(
            self._connection or self.get_connection(self.local_pipelines_conn_id)
        )

    def find_pipeline(self, pipeline: str, version: str | None = None) -> PipelineSpec:
        """Refuse: nothing is kept here."""
        raise InvalidRequestError(
            f"No pipelines are kept on this machine: give {pipeline!r} as `pipeline_file` or `pipeline_spec`."
        )

    def check_run(self, request: RunRequest) -> None:
        """Find out whether the run could be started.

        :raises InvalidRequestError: when kfp.local would change or refuse a parameter.
        """
        if affected := [name for name, value in request.parameters.items() if REFUSED_TEXT in json.dumps(value)]:
            raise InvalidRequestError(
                f"Parameters {', '.join(sorted(affected))} contain {REFUSED_TEXT!r}, which kfp.local would replace "
                "by the path of its interpreter; use another spelling or path."
            )
        if affected := [name for name, value in request.parameters.items() if _holds_null(value)]:
            raise InvalidRequestError(
                f"Parameters {', '.join(sorted(affected))} hold a null, which kfp.local refuses; leave the key out."
            )

    def create_run(self, request: RunRequest) -> Run:
        """Start the run, or return the one that already has this id."""
        return self.start_run(self.prepare_run(request).document)

    def prepare_run(self, request: RunRequest) -> PreparedRun:
        """Check the request."""
        self.check_run(request)
        return PreparedRun(run_id=request.run_id, document=asdict(request))

    def start_run(self, document: Mapping[str, JsonValue], *, is_repeat: bool = False) -> Run:
        """Start a prepared run, or return the one that already has its id."""
        request = RunRequest(**{**document, "pipeline": PipelineSpec(**document["pipeline"])})  # type: ignore[arg-type]
        folder = self._folder(request.run_id)
        if self.settings.worker:
            folder.ask(request)
        else:
            self.start(folder, request)
        self._prune(keep=request.run_id)
        return self._read(folder)

    def start(self, folder: RunFolder, request: RunRequest | None) -> None:
        """Start a run's process, unless that happened before.

        :param folder: the run's folder.
        :param request: ``None`` for what was asked for in the folder.
        """
        folder.start_once(request, lambda lock: self._spawn(folder, lock))
        if folder.is_canceled:
            terminate_marked(folder.mark)  # the wish to stop may have come while the process was starting

    def get_run(self, run_id: str) -> Run | None:
        """Return the run, or ``None`` when there is none."""
        folder = self._folder(run_id)
        return self._read(folder) if folder.exists else None

    async def aget_run(self, run_id: str, *, slack_seconds: float = 0.0) -> Run | None:
        """Like :meth:`get_run`, without blocking the event loop; a few small files need no company."""
        return await asyncio.to_thread(self.get_run, run_id)

    def find_runs(self, text: str) -> list[Run]:
        """Return the runs whose description holds the text and that nobody has asked to stop; the newest first."""
        runs = [run for run in self._runs() if run.state.goes_on and text in run.description]
        return sorted(runs, key=lambda run: run.created_at or _NEVER, reverse=True)

    def terminate_run(self, run_id: str) -> None:
        """Stop every process of the run. Harmless when it is over or unknown."""
        run = self.get_run(run_id)
        if run is None or run.state.is_terminal:
            return
        # Recorded first: a step that dies of the signal must not be taken for one that failed.
        folder = self._folder(run_id)
        folder.cancel()
        if not self.settings.worker:
            terminate_marked(folder.mark)
        self.log.info("Pipeline run %s has been cancelled.", run_id)

    def terminate_all(self) -> int:
        """Stop every run that is going, as `make stop` asks for; return how many there were."""
        going = [run.run_id for run in self._runs() if not run.state.is_terminal]
        for run_id in going:
            self.terminate_run(run_id)
        return len(going)

    async def aterminate_run(self, run_id: str) -> None:
        """Like :meth:`terminate_run`, without blocking the event loop."""
        await asyncio.to_thread(self.terminate_run, run_id)

    def artifacts_uri(self, run_id: str) -> str:
        """Return the folder in which a run's steps leave their artifacts; it goes when twenty newer runs are over."""
        return f"file://{self._folder(run_id).artifacts}"

    def run_url(self, run_id: str) -> str | None:
        """Return ``None``: a run's folder has no page."""
        return None

    def get_run_log(self, run_id: str, *, last_lines: int = 30) -> str:
        """Return the last log lines of the failed step, or of the run where no step failed."""
        return self._folder(run_id).log_tail(last_lines)

    def run_module(
        self,
        module: str,
        arguments: Mapping[str, str],
        *,
        timeout_seconds: float,
        cluster: Mapping[str, JsonValue] | None = None,
        is_prepared: bool = False,
    ) -> None:
        """Run ``python -m module --key=value ...`` of the pipeline half in its environment and wait for it.

        The arguments are handed over on its standard input: everybody on the machine sees those of a process, and the
        address of a source may hold a password.

        :raises InvalidRequestError: when it exits with 2; the message is its last line on stderr.
        :raises KubeflowProviderError: when it exits with another non-zero code or takes too long.
        """
        given = {key: value for key, value in arguments.items() if value != ""}
        # The same call has the same mark, so that a try finds what an earlier one, killed without notice, left behind.
        mark = str(uuid5(NAMESPACE_URL, json.dumps([self.settings.project_dir, module, sorted(given.items())])))
        terminate_marked(mark)
        self._module_mark = mark
        try:
            self._run_module([module, *(f"--{key}={value}" for key, value in given.items())], mark, timeout_seconds)
        finally:
            self._module_mark = None

    def prepare_module(
        self,
        module: str,
        arguments: Mapping[str, str],
        *,
        timeout_seconds: float,
        cluster: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Return nothing: on this machine the module is a process of the task, which ends with it."""

    def terminate_module(self) -> None:
        """Stop what :meth:`run_module` is running for this hook. Harmless when there is nothing."""
        if mark := self._module_mark:
            terminate_marked(mark)

    def test_connection(self) -> tuple[bool, str]:
        """Check that the environment imports what a run needs and that runs can be kept."""
        try:
            self.settings.runs_dir.mkdir(parents=True, exist_ok=True)
            if not os.access(self.settings.runs_dir, os.W_OK):
                return False, f"{self.settings.runs_dir} cannot be written to."
            if self.settings.worker and not worker_lives(self.settings.runs_dir):
                return (
                    False,
                    f"No worker looks after {self.settings.runs_dir}; `docker compose up -d pipelines` starts it.",
                )
            result = subprocess.run(
                [self.settings.python, "-c", _PROBE],
                **self._surroundings("connection test"),
                capture_output=True,
                text=True,
                check=True,
                timeout=_TEST_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            return False, f"{self.settings.python}: {(error.stderr.strip().splitlines() or ['no message'])[-1]}"
        except (KubeflowProviderError, OSError, subprocess.TimeoutExpired) as error:
            return False, str(error)
        return True, f"KFP {result.stdout.strip()} runs pipelines with {self.settings.python}."

    def _runs(self) -> list[Run]:
        if not self.settings.runs_dir.is_dir():
            return []
        runs = [self.get_run(path.name) for path in self.settings.runs_dir.glob("[!.]*") if RunFolder(path).exists]
        return [run for run in runs if run is not None]

    def _read(self, folder: RunFolder) -> Run:
        return folder.read(bury=None if self.settings.worker else lambda: terminate_marked(folder.mark))

    def _folder(self, run_id: str) -> RunFolder:
        try:
            return RunFolder(self.settings.runs_dir / str(UUID(run_id)))
        except ValueError as error:
            raise InvalidRequestError(f"Run id {run_id!r} is not a UUID.") from error

    def _spawn(self, folder: RunFolder, lock: int) -> int:
        """Start the run's process with the lock's file descriptor as its own."""
        folder.mark = folder.run_id
        with folder.log_file.open("ab") as log:
            pid = self._popen(
                ["-m", _RUNNER, str(folder.path)],
                **self._surroundings(folder.run_id),
                pass_fds=(lock,),
                stdout=log,
                stderr=subprocess.STDOUT,
            ).pid
        self.log.info("Pipeline run %s is process %s; its log is %s.", folder.run_id, pid, folder.log_file)
        return pid

    def _surroundings(self, mark: str) -> dict[str, Any]:
        """Return how every child process of this hook is started."""
        return {
            "env": child_environment(
                self.settings.python, self.settings.project_dir, mark, more=self.settings.environment
            ),
            "cwd": self.settings.project_dir,
            "stdin": subprocess.DEVNULL,
            # Airflow signals the process group of a task; a run does not belong to it.
            "start_new_session": True,
        }

    def _popen(self, arguments: list[str], **options: Any) -> subprocess.Popen[Any]:
        try:
            return subprocess.Popen([self.settings.python, *arguments], **options)
        except OSError as error:
            raise InvalidRequestError(
                f"Connection {self.local_pipelines_conn_id!r}: {self.settings.python} cannot be started in "
                f"{self.settings.project_dir}: {error.strerror}."
            ) from error

    def _run_module(self, command: list[str], mark: str, timeout_seconds: float) -> None:
        module, *arguments = command
        process = self._popen(
            ["-c", _MODULE_RUNNER, module],
            **self._surroundings(mark) | {"stdin": subprocess.PIPE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        errors: list[str] = []
        readers = [
            Thread(target=self._relay, args=(process.stdout, [])),
            Thread(target=self._relay, args=(process.stderr, errors)),
        ]
        for reader in readers:
            reader.start()
        assert process.stdin is not None  # PIPE
        with suppress(BrokenPipeError), process.stdin:  # whoever died before has said why
            process.stdin.write(json.dumps(arguments))
        try:
            code = process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise KubeflowProviderError(f"{command[0]} took longer than {timeout_seconds:.0f} s; stopped.") from error
        finally:
            terminate_marked(mark)  # also what the module may have left running
            for reader in readers:
                reader.join()
        if code == 0:
            return
        last_words = errors[-1] if errors else "it said nothing"
        if code == 2:
            raise InvalidRequestError(last_words)
        ending = f"exited with {code}" if code > 0 else f"was stopped by signal {-code}"
        if code == -signal.SIGKILL:
            ending += ", most likely because memory ran out"
        raise KubeflowProviderError(f"{command[0]} {ending}: {last_words}")

    def _relay(self, stream: IO[str], last: list[str]) -> None:
        """Pass a child's lines on to the task log and keep the last one."""
        for line in stream:
            if text := line.rstrip():
                self.log.info("%s", text)
                last[:] = [text]

    def _prune(self, *, keep: str) -> None:
        """Make room for new runs; another process may be doing the same."""
        finished = []
        for path in self.settings.runs_dir.iterdir():
            with suppress(FileNotFoundError, NotADirectoryError):
                if path.name != keep and (when := RunFolder(path).finished_at()) is not None:
                    finished.append((when, path))
        for _, path in sorted(finished, reverse=True)[KEEP_FINISHED_RUNS:]:
            RunFolder(path).delete()


def _holds_null(value: JsonValue) -> bool:
    if isinstance(value, dict | list):
        return any(_holds_null(part) for part in (value.values() if isinstance(value, dict) else value))
    return value is None
