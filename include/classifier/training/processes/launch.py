"""Starts the processes of a training with PyTorch's elastic launcher, and answers for them.

What ``torchrun --standalone`` does, from within the step: a process that dies ends the others, and all of them begin
again where the last state was kept. They die with this process, whatever kills it, so that nothing trains on for which
nobody waits. For one of several nodes it is what ``torchrun --master-addr`` does: a process that dies ends its node.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from pydantic import BaseModel

from include.classifier.data.problems import DataError
from include.classifier.progress import report
from include.classifier.serving.cpus import available_cpus
from include.classifier.training.base_model import BaseModelError
from include.classifier.training.checkpoints.store import TakenOverError
from include.classifier.training.problems import HardwareError, TrainingDivergedError
from include.contracts.settings import TrainingConfig

if TYPE_CHECKING:
    from include.classifier.training.fine_tuning import Training

PROJECT_DIR = Path(__file__).parents[4]

#: How often all processes begin again after one of them has died.
MAX_RESTARTS = 3

#: Holds the job: a variable and no argument, because the address of a tracking server may hold a password.
JOB_VARIABLE = "TRAINING_JOB"
#: What is started; a name in a variable, so that a test can let a process die in a certain step.
WORKER_VARIABLE = "TRAINING_WORKER"
_WORKER = "include.classifier.training.processes.worker"

ROWS, FACTS, ERROR = "rows.json", "facts.json", "error.json"

#: What no new try changes: a process that meets it ends all of them, and its message ends the training.
LASTING = (TrainingDivergedError, BaseModelError, TakenOverError, HardwareError, DataError)


class ProcessesError(RuntimeError):
    """The processes of a training have died once too often."""


class Meeting(NamedTuple):
    """Where the launchers of several nodes meet.

    :param rank: of this node, from 0; the first one listens at the address.
    :param timeout_seconds: that a node waits for the others.
    """

    nodes: int
    rank: int
    address: str
    port: int
    timeout_seconds: float


class Job(BaseModel):
    """What a process is told.

    :param folder: private folder of this training on this machine: rows, errors, facts and files on their way.
    :param launcher: process id; whoever finds itself without it ends.
    """

    folder: str
    launcher: int
    labels: list[str]
    settings: TrainingConfig
    model_dir: str
    tracking_uri: str = ""
    tracking_run_id: str | None = None
    checkpoints_uri: str = ""
    identity: dict[str, str] = {}


def train_in_processes(training: Training) -> dict[str, Any]:
    """Train in as many processes as the settings say; see :func:`include.classifier.training.fine_tuning.train_on`."""
    settings, model_dir, checkpoints = training.settings, training.model_dir, training.checkpoints
    check_hardware(settings.processes)
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model_dir.parent, prefix=".processes-") as name:
        folder = Path(name)
        # In a file, because a variable's length has a limit.
        texts = {"rows": training.rows.as_document(), "compared": list(training.compared_texts)}
        (folder / ROWS).write_text(json.dumps(texts), encoding="utf-8")
        job = Job(
            folder=name,
            launcher=os.getpid(),
            labels=list(training.labels),
            settings=settings,
            model_dir=str(model_dir),
            tracking_uri=training.tracker.uri,
            tracking_run_id=training.tracker.run_id,
            checkpoints_uri=checkpoints.uri if checkpoints else "",
            identity=checkpoints.identity if checkpoints else {},
        )
        launch(job)
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return facts


def check_hardware(processes: int) -> None:
    """Refuse more processes than there are GPUs, and say when there are fewer processors.

    :raises HardwareError: with both numbers.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < gpus < processes:
        raise HardwareError(
            f"training.processes: {processes} processes need as many GPUs, and {gpus} of them can be seen here. Ask "
            "for more of them (resources.accelerator_count), or take fewer processes."
        )
    if not gpus and (cpus := available_cpus()) < processes:
        report(f"train: {processes} processes share {cpus} processors; raise resources.cpu, or take fewer processes")


def launch(job: Job, meeting: Meeting | None = None) -> None:
    """Start the processes of this machine, and wait for them.

    :param meeting: where those of other nodes are met; default: there are none.
    :raises ProcessesError: when they have died once too often; of several nodes, once.
    :raises TrainingDivergedError: and what else :func:`include.classifier.training.fine_tuning.train_on` raises.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        nproc_per_node=job.settings.processes,
        role="train",
        logs_specs=DefaultLogsSpecs(log_dir=str(Path(job.folder, "launcher"))),
        **(_ALONE | {"run_id": uuid4().hex} if meeting is None else _together(meeting)),
    )
    variables = {
        JOB_VARIABLE: job.model_dump_json(),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT_DIR), os.environ.get("PYTHONPATH", "")])),
    }
    # PyTorch warns of its own that it looks for weights without a gradient, which some architectures have.
    variables["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
    if meeting is None and sys.platform == "linux":
        variables["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    try:
        with _environment(variables):
            elastic_launch(config, sys.executable)("-m", os.environ.get(WORKER_VARIABLE, _WORKER))
    except ChildFailedError as error:
        exit_codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        _explain(Path(job.folder), exit_codes, tries=1 if meeting else MAX_RESTARTS + 1)


#: Nobody but these processes takes part: no name of this machine has to be known to anybody.
_ALONE: dict[str, Any] = {
    "min_nodes": 1,
    "max_nodes": 1,
    "rdzv_backend": "c10d",
    "rdzv_endpoint": "localhost:0",
    "max_restarts": MAX_RESTARTS,
    "local_addr": "127.0.0.1",
}


def _together(meeting: Meeting) -> dict[str, Any]:
    """Return what torchrun makes of ``--nnodes``, ``--node-rank``, ``--master-addr`` and ``--master-port``.

    A launcher that started its processes anew would wait for those of the others, which know nothing of that: whoever
    has started the nodes starts all of them again.
    """
    return {
        "min_nodes": meeting.nodes,
        "max_nodes": meeting.nodes,
        "run_id": "train",
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{meeting.address}:{meeting.port}",
        "rdzv_configs": {"rank": meeting.rank, "timeout": int(meeting.timeout_seconds)},
        "max_restarts": 0,
    }


def _explain(folder: Path, exit_codes: Mapping[int, int], *, tries: int) -> None:
    """Raise what one of the processes had to say, else how the last of them ended."""
    if (folder / ERROR).exists():
        said = json.loads((folder / ERROR).read_text(encoding="utf-8"))
        raise {kind.__name__: kind for kind in LASTING}.get(said["kind"], ProcessesError)(said["message"]) from None
    rank, code = next(iter(exit_codes.items()), (0, 1))
    how = f"ended with exit code {code}, for the reason that it printed above"
    if code == -signal.SIGKILL:
        how = "was killed from outside, most likely because memory ran out: lower batch_size, or raise resources.memory"
    elif code < 0:
        how = f"was ended by signal {-code}"
    tried = f" It was tried {tries} times." if tries > 1 else ""
    raise ProcessesError(f"Process {rank} of the training {how}.{tried}") from None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started, and forget them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
