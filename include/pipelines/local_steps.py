"""How the steps of a local run are started, told of, and kept out of the project's environments.

Packages that a component asks for are installed into an environment of their own: one for each list of packages, on top
of the environment of the run, made once and used again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import sysconfig
import threading
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

#: Folder of the environments, beside the runs' folders.
ENVIRONMENTS = ".environments"
_INSTALLS = "pip install"
#: In an environment once a step has installed its packages there, or has found that they cannot be had.
_READY = "ready"
_current = threading.local()


class Watcher(Protocol):
    """Is told of the steps."""

    def step_starts(self, name: str) -> Any:
        """Return what stands for a step that starts."""

    def step_has_run(self, step: Any, exit_code: int) -> None:
        """Take how its process ended, before kfp.local has said a word about that."""

    def step_ends(self, step: Any, state: str) -> None:
        """Take how it ended."""


def take_over(watcher: Watcher, environments: Path) -> None:
    """Make kfp.local start steps as this module does; its own interface tells of no step, and of no exit code.

    :param watcher: is told of every step, also of those that run at the same time.
    :param environments: folder for the environments of steps that install packages.
    """
    from kfp.local import status, subprocess_task_handler, task_dispatcher

    class Handler(subprocess_task_handler.SubprocessTaskHandler):
        def run(self) -> status.Status:
            # The interpreter is found by the PATH, and not written into the command: its own path may hold a space.
            with _environment(self.full_command, environments) as variables:
                code = subprocess_task_handler.run_local_subprocess(
                    full_command=self.full_command, env_vars={**self.env_vars, **variables}
                )
            watcher.step_has_run(_current.step, code)
            return status.Status.FAILURE if code else status.Status.SUCCESS

    run_task: Callable[..., tuple[dict[str, Any], status.Status]] = task_dispatcher.run_single_task_implementation

    def run(*arguments: Any, **named: Any) -> tuple[dict[str, Any], status.Status]:
        step = watcher.step_starts(str(named["component_name"]).removeprefix("comp-"))
        _current.step = step
        succeeded = False
        try:
            outputs, found = run_task(*arguments, **named)
            succeeded = found is status.Status.SUCCESS
        finally:
            watcher.step_ends(step, "SUCCEEDED" if succeeded else "FAILED")
        return outputs, found

    subprocess_task_handler.SubprocessTaskHandler = Handler
    task_dispatcher.run_single_task_implementation = run


@contextmanager
def _environment(command: list[str], environments: Path) -> Iterator[dict[str, str]]:
    """Yield the variables with which a step finds its interpreter, and the packages that it installs."""
    installs = next((part for part in command if _INSTALLS in part), None)
    if installs is None:
        yield _with_path(Path(sys.executable).parent)
        return
    # On top of this environment: what is there already is not installed again, and what it has is never changed.
    base = sysconfig.get_paths()["purelib"]
    digest = hashlib.sha256("\0".join([sys.version, base, installs]).encode()).hexdigest()[:16]
    folder = environments / digest
    environments.mkdir(parents=True, exist_ok=True)
    with (environments / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of steps that want the same packages at once, one installs them
        if not (folder / _READY).exists():
            venv.create(folder, clear=True, with_pip=True)
            own = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
            Path(own, "of_the_run.pth").write_text(f"{base}\n", encoding="utf-8")
            yield _with_path(folder / "bin")
            (folder / _READY).touch()
            return
    yield _with_path(folder / "bin")


def _with_path(folder: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])}
