"""Runs the steps of a local run as forks of one process that has made their imports.

kfp.local starts an interpreter for each step, and each of them imports KFP before it does anything. A step of a
training spends ten seconds of CPU on importing PyTorch and Transformers besides: most of the time of a trial release. A
fork starts with the imports made.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

#: What kfp's compiler writes before the source of a lightweight component's function.
_PREAMBLE = "kfp.dsl.executor_main"


def fork_steps(*, first: Sequence[str] = (), later: Sequence[str] = ()) -> None:
    """Make kfp.local run lightweight components as forks of this process; those that install packages stay as they are.

    :param first: modules to import before the first step starts, besides KFP.
    :param later: modules to import while the first step runs.
    """
    from kfp.local import subprocess_task_handler as handler

    in_a_process_of_its_own = handler.run_local_subprocess
    waiting = list(later)

    def run(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        # Forking a process with threads may copy a lock that nobody will ever release.
        if len(full_command) < 4 or _PREAMBLE not in full_command[2] or threading.active_count() > 1:
            return in_a_process_of_its_own(full_command=full_command, env_vars=env_vars)
        source, arguments = full_command[3], full_command[4:]
        pid, output = _fork(lambda: _execute(source, arguments), env_vars or {})
        while waiting:
            import_module(waiting.pop(0))
        with output:
            for line in output:
                print(line, end="")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == -signal.SIGKILL:
            print("Killed")  # the shell's word for it, which would stand here without forking
        return code

    handler.run_local_subprocess = run
    for module in first:
        import_module(module)


def _fork(work: Callable[[], None], env: Mapping[str, str]) -> tuple[int, io.TextIOBase]:
    """Run ``work`` in a fork; return its process id and what it writes to stdout and stderr."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading, encoding="utf-8", errors="replace")
    code = 1
    try:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        # As subprocess does. Among them is the lock by which the run's process shows that it lives.
        os.closerange(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16))
        sys.stdout = sys.stderr = os.fdopen(1, "w", encoding="utf-8", buffering=1, closefd=False)
        _forget_logging()
        # They are the parent's, and one of them deletes the run's scratch folder.
        atexit._clear()
        os.environ.update(env)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        _end_as_an_interpreter()
        os._exit(code)


def _end_as_an_interpreter() -> None:
    """Do what the end of an interpreter does for the code that it has run."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    with suppress(Exception):
        if util := sys.modules.get("multiprocessing.util"):
            util._exit_function()  # it waits for processes, and ends those that are nobody's any more
        atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()


def _forget_logging() -> None:
    root = logging.getLogger()
    root.handlers.clear()
    root.filters.clear()


def _execute(source: str, arguments: Sequence[str]) -> None:
    """Do what the preamble does: put the component's source into a file and call kfp's executor on it."""
    from kfp.dsl import executor_main

    program = Path(tempfile.mkdtemp()) / "ephemeral_component.py"
    program.write_text(source, encoding="utf-8")
    os.environ["_KFP_RUNTIME"] = "true"
    sys.argv = [executor_main.__name__, "--component_module_path", str(program), *arguments]
    executor_main.executor_main()
