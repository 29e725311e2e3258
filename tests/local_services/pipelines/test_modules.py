"""Modules of the pipeline half that a task runs and waits for, such as preprocessing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from local_services.pipelines import hook as local_pipelines
from local_services.pipelines.hook import LocalPipelinesHook
from tests.waiting import wait_for

pytestmark = pytest.mark.pipelines


@pytest.fixture
def module_hook(connection: Connection, tmp_path: Path) -> LocalPipelinesHook:
    """Hook whose project folder holds one module that does what its ``--do`` says."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "chore.py").write_text(
        "import subprocess, sys, time\n"
        "arguments = dict(item[2:].split('=', 1) for item in sys.argv[1:])\n"
        "print('arguments', sorted(arguments), flush=True)\n"
        "what = arguments['do']\n"
        "if what == 'sleep':\n"
        "    subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "    time.sleep(60)\n"
        "if what.isdigit():\n"
        "    print('row 3 of train.csv has no label', file=sys.stderr)\n"
        "    sys.exit(int(what))\n"
    )
    connection.extra = json.dumps(json.loads(connection.extra or "") | {"project_dir": str(project)})
    return LocalPipelinesHook("p", connection=connection)


def chores(mark_of: LocalPipelinesHook) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PYTHONPATH") == mark_of.settings.project_dir:
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def test_no_argument_of_a_module_is_seen_in_the_list_of_processes(module_hook: LocalPipelinesHook) -> None:
    arguments = {"do": "sleep", "data": "https://me:PASSWORD@host/a.csv"}

    def run() -> None:
        with suppress(KubeflowProviderError):  # it is stopped
            module_hook.run_module("chore", arguments, timeout_seconds=60)

    call = threading.Thread(target=run)
    call.start()
    wait_for(lambda: any(process.name() == "sleep" for process in chores(module_hook)), "the module is at work")
    seen = [word for process in chores(module_hook) for word in process.cmdline()]
    module_hook.terminate_module()
    call.join()
    assert "chore" in seen, "it can be told from others"
    assert "PASSWORD" not in str(seen)


def test_passes_a_modules_output_to_the_task_log(
    module_hook: LocalPipelinesHook, capsys: pytest.CaptureFixture[str]
) -> None:
    module_hook.run_module("chore", {"do": "it", "empty": "", "sign": "-x"}, timeout_seconds=30)

    assert "arguments ['do', 'sign']" in capsys.readouterr().out


def test_input_that_must_be_mended_is_an_invalid_request(module_hook: LocalPipelinesHook) -> None:
    with pytest.raises(InvalidRequestError, match=r"^row 3 of train.csv has no label$"):
        module_hook.run_module("chore", {"do": "2"}, timeout_seconds=30)


def test_another_exit_code_is_an_error(module_hook: LocalPipelinesHook) -> None:
    with pytest.raises(KubeflowProviderError, match=r"chore exited with 3: row 3 of train.csv has no label"):
        module_hook.run_module("chore", {"do": "3"}, timeout_seconds=30)


def test_a_module_that_takes_too_long_is_stopped_with_all_it_started(module_hook: LocalPipelinesHook) -> None:
    with pytest.raises(KubeflowProviderError, match="took longer than 1 s"):
        module_hook.run_module("chore", {"do": "sleep"}, timeout_seconds=1)
    assert chores(module_hook) == []


def test_a_module_can_be_stopped(module_hook: LocalPipelinesHook) -> None:
    module_hook.terminate_module()  # nothing is running

    def stop() -> None:
        while len(chores(module_hook)) < 2:
            time.sleep(0.05)
        module_hook.terminate_module()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KubeflowProviderError, match="was stopped by signal 15"):
        module_hook.run_module("chore", {"do": "sleep"}, timeout_seconds=50)
    stopper.join()
    assert chores(module_hook) == []


def test_a_retry_stops_what_a_killed_try_left_running(
    module_hook: LocalPipelinesHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # The first try loses its Airflow process: nobody stops the module.
        patched.setattr(local_pipelines, "terminate_marked", lambda mark: None)
        patched.setattr(subprocess.Popen, "wait", lambda process, timeout: 0)
        patched.setattr(threading.Thread, "join", lambda thread: None)
        module_hook.run_module("chore", {"do": "sleep"}, timeout_seconds=50)
    while len(chores(module_hook)) < 2:
        time.sleep(0.05)
    left = set(chores(module_hook))

    with pytest.raises(KubeflowProviderError, match="took longer"):
        module_hook.run_module("chore", {"do": "sleep"}, timeout_seconds=1)

    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_task_that_is_killed_takes_its_module_with_it(module_hook: LocalPipelinesHook) -> None:
    command = [module_hook.settings.python, "-c", local_pipelines._MODULE_RUNNER, "chore"]
    task = (
        f"import subprocess, time; child = subprocess.Popen({command}, stdin=subprocess.PIPE, text=True); "
        """child.stdin.write('["--do=sleep"]'); child.stdin.close(); print(child.pid, flush=True); time.sleep(60)"""
    )
    environment = {"PYTHONPATH": module_hook.settings.project_dir, "PATH": os.environ["PATH"]}
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([sys.executable, "-c", task], **options) as worker:
        module = psutil.Process(int(worker.stdout.readline()))
        wait_for(lambda: bool(module.children()), lambda: "the module to be at work")
        (child,) = module.children()
        worker.kill()
    wait_for(lambda: not module.is_running() or module.status() == psutil.STATUS_ZOMBIE, lambda: "its end")
    child.kill()  # what a module starts in a session of its own is found by the next try
