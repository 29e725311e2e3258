"""One of the processes of a training: ``python -m include.classifier.training.processes.worker``.

``TRAINING_JOB`` says what there is to do (:class:`include.classifier.training.processes.launch.Job`); PyTorch's
launcher says which of how many it is. What no new try can change is written for the launcher and ends all of them; a
process that is killed lets all of them begin again.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import warnings
from pathlib import Path

from include.classifier.progress import PROGRESS_FILE, report
from include.classifier.training.processes.launch import ERROR, FACTS, JOB_VARIABLE, LASTING, ROWS, Job
from include.classifier.training.processes.peers import Peers

#: Linux's number for it, of ``prctl``.
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Do this process's part, and return its exit code."""
    job = Job.model_validate_json(os.environ[JOB_VARIABLE])
    _die_with(job.launcher)
    folder = Path(job.folder)
    if (folder / ERROR).exists():
        return 1  # This is a new try of what none can change.
    peers = Peers.from_environment()
    if not peers.is_first:
        _say_nothing()
    if start := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
        report(f"train: a process of this training has died, and all begin again; start {start + 1}")
    return _train(job, peers, folder / f"start-{start}")


def _train(job: Job, peers: Peers, scratch: Path) -> int:
    from include.classifier.tracking import Tracker, resume
    from include.classifier.training.checkpoints.store import Checkpoints
    from include.classifier.training.fine_tuning import Training, fine_tune
    from include.classifier.training.stored_rows import rows_of

    warnings.filterwarnings("ignore", message="OMP_NUM_THREADS")  # How many there are, the training itself says.
    scratch.mkdir(exist_ok=True)
    texts = json.loads(Path(job.folder, ROWS).read_text(encoding="utf-8"))
    checkpoints = None
    if job.checkpoints_uri and peers.is_first_of_node:  # That of another node reads what the first one goes on from.
        every = job.settings.checkpoint_minutes * 60 or float("inf")
        checkpoints = Checkpoints(job.checkpoints_uri, job.identity, every_seconds=every)
        checkpoints.tracking_run_id = job.tracking_run_id
    training = Training(
        rows=rows_of(texts["rows"]),
        labels=job.labels,
        settings=job.settings,
        model_dir=Path(job.model_dir),
        tracker=resume(job.tracking_uri, job.tracking_run_id) if peers.is_first else Tracker(),
        checkpoints=checkpoints,
        compared_texts=texts["compared"],
    )
    _meet(peers, scratch.name)
    try:
        facts = fine_tune(training, scratch=scratch, peers=peers)
    except LASTING as error:
        _write(Path(job.folder, ERROR), {"kind": type(error).__name__, "message": str(error)})
        return 1
    if peers.is_first:
        _write(Path(job.folder, FACTS), facts)
    _leave()
    return 0


def _meet(peers: Peers, start: str) -> None:
    """Get to know the other processes of this start.

    PyTorch would do so itself, with names that a new start has in common with the one before: a process could then read
    where one that is dead had listened, and fail, and let all of them begin again.
    """
    import torch
    from torch import distributed

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    distributed.init_process_group(
        backend, store=distributed.PrefixStore(start, store), rank=peers.rank, world_size=peers.size
    )


def _leave() -> None:
    """Wait until the first process has written the model, and part."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _die_with(launcher: int) -> None:
    """Let the kernel end this process with its launcher, whatever ends that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:  # It was gone before it could be waited for.
        os._exit(1)


def _say_nothing() -> None:
    """Leave the progress of all to the first process; errors are still seen."""
    os.environ.pop(PROGRESS_FILE, None)
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  open to the end


def _write(path: Path, document: object) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(document), encoding="utf-8")
    scratch.replace(path)


if __name__ == "__main__":
    sys.exit(main())
