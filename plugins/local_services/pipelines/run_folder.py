"""The folder of a local pipeline run: the one place where every process that deals with the run meets.

======================  ===================================================================================
``request.json``        what was asked for; without it nobody ever asked for this run
``pipeline.yaml``       the compiled pipeline, as it was then
``claim``               locked for the moment in which a caller decides whether the run must be started
``lock``                locked for as long as the run's process lives
``mark``                what the run's processes carry (``marked_processes.MARK``), where it is not the run's id
``pid``                 written once the run's process exists
``state.json``          the run's own account (``include/pipelines/local_runner.py``)
``canceled``            somebody asked the run to stop; written before its processes are stopped
``interrupted``         the run was begun again after the machine, or its worker, had gone down with it
``log.txt progress``    what the run says
======================  ===================================================================================

The lock belongs to an open file that the run's process inherits. The kernel lets it go when the process dies, however
it dies, and whatever happens to Airflow; it cannot be taken for another process's, also not after a reboot. The
folder must be on a file system of this machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import parse_pipeline_spec
from kubeflow_provider.run_outputs import is_too_large
from kubeflow_provider.services import Run, RunRequest, RunStep
from kubeflow_provider.states import RunState

_START_SECONDS = 30.0
_LONGEST_PROGRESS = 200
_LOG_TAIL_BYTES = 256 * 1024
# Beside the runs, and hidden from whoever lists them.
_WORKER_LOCK = ".worker"


class RunFolder:
    """One run's folder.

    :param path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file = path / "log.txt"
        self.progress_file = path / "progress"
        self.pipeline_file = path / "pipeline.yaml"
        self._request_file = path / "request.json"
        self._state_file = path / "state.json"
        self._pid_file = path / "pid"
        self._mark_file = path / "mark"
        self._canceled_file = path / "canceled"
        self._interrupted_file = path / "interrupted"
        self._lock_file = path / "lock"

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.path.name

    @property
    def mark(self) -> str:
        """What the processes of the run carry in their environment."""
        try:
            return self._mark_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return self.run_id

    @mark.setter
    def mark(self, mark: str) -> None:
        self._mark_file.write_text(mark, encoding="utf-8")

    @property
    def exists(self) -> bool:
        """Whether somebody has asked for this run."""
        return self._request_file.exists()

    @property
    def is_canceled(self) -> bool:
        """Whether somebody has asked the run to stop."""
        return self._canceled_file.exists()

    def cancel(self) -> None:
        """Record that the run has to stop; one that was not started yet never will be."""
        self._canceled_file.touch()

    def ask(self, request: RunRequest) -> None:
        """Write down what is asked for, unless that happened before; a worker starts it."""
        with self._claimed():
            if not self.exists:
                self._write_request(request)

    def start_once(self, request: RunRequest | None, spawn: Callable[[int], int]) -> None:
        """Start the run's process unless that happened before, whoever else tries at the same time.

        :param request: ``None`` for what :meth:`ask` wrote down.
        :param spawn: starts the process so that it inherits the file descriptor that it is given; returns its id.
        """
        with self._claimed(), self._locked() as lock:
            if lock is None or self.was_started:
                return
            if request is not None:
                self._write_request(request)
            self._pid_file.write_text(str(spawn(lock)))

    def begin_again(self) -> bool:
        """Forget how far a run had come whose process went down with its worker, so that it can be started again.

        Once only: a run that takes its worker down with it must not do that for ever.

        :return: whether there was such a run.
        """
        with self._claimed():
            if self.is_canceled or not self.was_started or self.is_alive or self.is_over:
                return False
            if self._interrupted_file.exists():
                return False
            self._interrupted_file.touch()
            for file in (self._state_file, self._mark_file, self.progress_file, self._pid_file):
                file.unlink(missing_ok=True)
            return True

    @property
    def pipeline_has_changed(self) -> bool:
        """Whether the pipeline that was asked for is another by now, as after an upgrade.

        ``False`` where its file cannot be seen from here. Runs of version 0.1.0 do not name theirs, and no pipeline is
        as it was then; to go in the version after next.
        """
        file = self._read_request().get("pipeline_file")
        if file is None:
            return True
        try:
            content = Path(file).read_bytes()
        except OSError:
            return False
        try:
            return parse_pipeline_spec(content, source=file) != read_pipeline_spec(self.pipeline_file)
        except InvalidRequestError:
            return True

    def give_up(self, reason: str) -> None:
        """Write the account of a run that never begins.

        :param reason: why.
        """
        with self._claimed():
            if not self.was_started:
                self._close({}, reason)

    def read(self, *, bury: Callable[[], None] | None) -> Run:
        """Return the run.

        :param bury: called when the run's process is gone without a result, to stop what it left behind; ``None``
            where a worker looks after the run, which may begin it again.
        """
        # In this order: a run that had started before its lock was found free is over, and its account complete.
        started = self._pid_file.exists() or self._state_file.exists()
        alive = self.is_alive
        document = self._read_state()
        state = RunState(document.get("state", RunState.PENDING))
        if self.is_canceled and state is not RunState.SUCCEEDED:
            state = RunState.CANCELING if alive else RunState.CANCELED
        elif started and not alive and not state.is_terminal and bury is not None:
            bury()
            document = self._close(document, self._how_it_died(document))
            state = RunState.FAILED
        request = self._read_request()
        return Run(
            run_id=self.run_id,
            state=state,
            display_name=request["display_name"],
            description=request.get("description", ""),
            created_at=datetime.fromtimestamp(self.asked_at(), tz=UTC),
            steps=self._steps(document, run=state),
            reason=document.get("reason") if state is RunState.FAILED else None,
            outputs=self._outputs(document) if state is RunState.SUCCEEDED else None,
        )

    @property
    def artifacts(self) -> Path:
        """Folder with what the run's steps leave, see ``include/pipelines/local_runner.py``."""
        return self.path / "artifacts"

    def _outputs(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what the run has made; ``None`` where that has no place in Airflow's database."""
        outputs = document.get("outputs")
        return outputs if isinstance(outputs, dict) and not is_too_large(outputs) else None

    def log_tail(self, last_lines: int) -> str:
        """Return the last lines of the failed step, or of the run where no step failed."""
        if not self.log_file.exists():
            return ""
        failed = [step for step in self._read_state().get("steps", []) if step["state"] == RunState.FAILED]
        start, end = (failed[-1]["log_start"], failed[-1]["log_end"]) if failed else (0, None)
        with self.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END) if end is None else end
            log.seek(max(start, end - _LOG_TAIL_BYTES))
            text = log.read(end - log.tell()).decode("utf-8", "replace")
        return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-last_lines:])

    def asked_at(self) -> float:
        """Return when the run was asked for (Unix time)."""
        return self._request_file.stat().st_mtime

    def finished_at(self) -> float | None:
        """Return when the run ended (Unix time), ``None`` when it has not."""
        if not self.exists or self.is_alive or not (self.is_over or self.is_canceled):
            return None
        return (self._state_file if self._state_file.exists() else self._canceled_file).stat().st_mtime

    def delete(self) -> None:
        """Remove the run with everything in it."""
        # Out of the way first: half a folder would look like a run that was killed.
        trash = self.path.with_name(f".{self.path.name}")
        with suppress(FileNotFoundError):
            self.path.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    @property
    def was_started(self) -> bool:
        """Whether the run has, or had, a process, or never will have one."""
        return self.is_canceled or self._pid_file.exists() or self._state_file.exists()

    @property
    def is_over(self) -> bool:
        """Whether the run has written its account to the end."""
        return RunState(self._read_state().get("state", RunState.PENDING)).is_terminal

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """Hold the claim: nobody else decides meanwhile whether the run must be started."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / "claim").open("a") as claim:
            fcntl.flock(claim, fcntl.LOCK_EX)
            yield

    def _write_request(self, request: RunRequest) -> None:
        self.pipeline_file.write_bytes(request.pipeline.to_yaml())
        _write_json(
            self._request_file,
            {
                "pipeline_file": request.pipeline.source,
                "parameters": dict(request.parameters),
                "display_name": request.display_name,
                "experiment": request.experiment,
                "description": request.description,
            },
        )

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Hold the run's lock; yield ``None`` when the run's process holds it."""
        with self._lock_file.open("a") as lock:
            # Readers hold the lock for microseconds; a process holds it until it has begun its account, at least.
            deadline = time.monotonic() + _START_SECONDS
            while not _flock(lock.fileno(), fcntl.LOCK_EX):
                if self.was_started:
                    yield None
                    return
                if time.monotonic() > deadline:
                    raise ServiceUnavailableError(
                        f"Run {self.run_id} has a process that does not begin; see {self.log_file}."
                    )
                time.sleep(0.01)
            yield lock.fileno()

    @property
    def is_alive(self) -> bool:
        """Whether the run's process lives."""
        try:
            with self._lock_file.open("rb") as lock:
                return not _flock(lock.fileno(), fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def _read_request(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._request_file.read_text(encoding="utf-8"))
        return document

    def _read_state(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return document

    def _how_it_died(self, document: Mapping[str, Any]) -> str:
        if document:
            return "Its process ended without a result: it was killed, memory ran out, or the machine restarted."
        return f"Its process ended before the first step: {self.log_tail(1) or 'it said nothing'}"

    def _close(self, document: Mapping[str, Any], reason: str) -> dict[str, Any]:
        """Write the account to its end in place of a process that no longer can."""
        now = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
        log_end = self.log_file.stat().st_size if self.log_file.exists() else 0
        steps = [
            step | {"state": RunState.FAILED.value, "ended": now, "log_end": log_end}
            if step["state"] == RunState.RUNNING
            else step
            for step in document.get("steps", [])
        ]
        closed = {**document, "state": RunState.FAILED.value, "reason": reason, "ended": now, "steps": steps}
        _write_json(self._state_file, closed)
        return closed

    def _steps(self, document: Mapping[str, Any], *, run: RunState) -> tuple[RunStep, ...]:
        steps = []
        for step in document.get("steps", []):
            state = RunState(step["state"])
            if state is RunState.FAILED and run in (RunState.CANCELING, RunState.CANCELED):
                # It died of the signal, and its run came to say so: one in which a step had failed before would have
                # been over, and could not have been cancelled.
                state = RunState.CANCELED
            elif state is RunState.RUNNING and run.is_terminal:
                state = run
            progress = self._progress() if state is RunState.RUNNING else None
            steps.append(RunStep(name=step["name"], state=state, progress=progress))
        return tuple(steps)

    def _progress(self) -> str | None:
        try:
            lines = self.progress_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except FileNotFoundError:
            return None
        return lines[-1][:_LONGEST_PROGRESS] if lines else None


@contextmanager
def worker_lock(runs_dir: Path) -> Iterator[bool]:
    """Be the one worker of a folder of runs.

    :param runs_dir: the folder; made when it is absent.
    :return: False when another process is.
    """
    runs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (runs_dir / _WORKER_LOCK).open("a") as lock:
        yield _flock(lock.fileno(), fcntl.LOCK_EX)


def worker_lives(runs_dir: Path) -> bool:
    """Tell whether a worker looks after a folder of runs."""
    try:
        with (runs_dir / _WORKER_LOCK).open("rb") as lock:
            return not _flock(lock.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_json(file: Path, document: Mapping[str, Any]) -> None:
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps(document), encoding="utf-8")
    scratch.replace(file)
