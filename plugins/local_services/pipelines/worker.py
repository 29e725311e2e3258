"""Starts, stops and buries local pipeline runs where Airflow's processes live in containers (docker-compose.yaml).

``python -m local_services.pipelines.worker`` serves the folder of a ``local_pipelines`` connection with ``worker``
switched on. A training goes on when the scheduler that asked for it is killed, needs none of its memory, and a machine
does not begin more of them at a time than it can bear. The folder is the queue: whoever asks for a run writes it there.

A worker that finds a run whose process went down with the worker before it, as when the machine was restarted, begins
that run again, once; not after an upgrade that has changed its pipeline.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from threading import Event

from local_services.pipelines.hook import LocalPipelinesHook
from local_services.pipelines.marked_processes import terminate_marked
from local_services.pipelines.run_folder import RunFolder, worker_lock

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_OTHER_PIPELINE = (
    "Its pipeline has changed since it was asked for, as by an upgrade. Clear the task for a run of the new one."
)


class PipelineWorker:
    """The one worker of a folder of runs.

    :param hook: of the connection whose runs it starts.
    :param at_most: so many runs go on at a time; the others wait in the order in which they were asked for.
    """

    def __init__(self, hook: LocalPipelinesHook, *, at_most: int = 1) -> None:
        self._hook = hook
        self._runs_dir = hook.settings.runs_dir
        self._at_most = at_most

    def run(self, stop: Event) -> None:
        """Work until told to stop."""
        self.begin_again()
        while not stop.wait(_LOOK_SECONDS):
            self.look()

    def begin_again(self) -> None:
        """Put the runs back into the queue that went down with the worker before this one."""
        for folder in self._folders():
            if folder.begin_again():
                log.warning("Run %s was interrupted and waits for its turn again.", folder.run_id)

    def look(self) -> None:
        """Look at every run once: stop what shall stop, bury what has died, start what there is room for."""
        waiting, going = [], 0
        for folder in self._folders():
            if folder.is_alive:
                if folder.is_canceled:
                    terminate_marked(folder.mark)
                    log.info("Run %s was cancelled.", folder.run_id)
                else:
                    going += 1
            elif folder.is_canceled or folder.is_over:
                continue
            elif not folder.was_started:
                waiting.append(folder)
            else:
                run = folder.read(bury=partial(terminate_marked, folder.mark))
                log.info("Run %s is %s: %s", run.run_id, run.state.value, run.reason or "no reason was given")
        for folder in sorted(waiting, key=RunFolder.asked_at)[: max(0, self._at_most - going)]:
            if folder.pipeline_has_changed:
                # It would compute for hours before it called a step that is another now.
                folder.give_up(_OTHER_PIPELINE)
                log.warning("Run %s does not begin. %s", folder.run_id, _OTHER_PIPELINE)
                continue
            self._hook.start(folder, None)
            log.info("Run %s was started; its log is %s.", folder.run_id, folder.log_file)

    def _folders(self) -> list[RunFolder]:
        # Hidden ones are no runs, or are being deleted.
        folders = [RunFolder(path) for path in self._runs_dir.glob("[!.]*")]
        return [folder for folder in folders if folder.exists]


def main() -> None:
    """Work until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local_services.pipelines.worker", description=__doc__)
    parser.add_argument("--conn-id", default="pipelines_default")
    parser.add_argument("--at-most", type=int, default=1, help="runs at a time (1)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    hook = LocalPipelinesHook(arguments.conn_id)
    runs_dir = hook.settings.runs_dir
    with worker_lock(runs_dir) as is_mine:
        if not is_mine:
            sys.exit(f"{runs_dir} has a worker already.")
        os.environ["TMPDIR"] = str(_emptied(runs_dir / ".scratch"))
        log.info("Waiting for runs in %s, at most %s at a time.", runs_dir, arguments.at_most)
        PipelineWorker(hook, at_most=arguments.at_most).run(stop)


def _emptied(folder: Path) -> Path:
    """Return the steps' temporary folder without what killed ones have left: checkpoints can be large."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


if __name__ == "__main__":
    main()
