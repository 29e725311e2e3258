"""A node of a training: ``python -m include.classifier.training.nodes.node FOLDER TRY``, in a pod of the Trainer's.

It finds the others by the variables that the Trainer gives to torchrun (``PET_*``), starts its share of the processes,
and ends with them. What no new try can change it writes into the folder, and the pod's last line says why it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from include.classifier.data.dataset import read_dataset
from include.classifier.progress import first_line, report
from include.classifier.training.nodes.task import SAID, TRACKING_VARIABLE, NodesError, Task, TaskFolder
from include.classifier.training.processes.launch import ROWS, Job, Meeting, check_hardware, launch
from include.classifier.training.stored_rows import training_rows


def meeting(variables: Mapping[str, str], task: Task) -> Meeting:
    """Return where the nodes meet.

    :param variables: of the environment. A PyTorchJob says address and port without ``PET_``.
    :raises NodesError: when one is missing, or does not fit what the task says.
    """

    def value(*names: str) -> str:
        for name in names:
            if found := variables.get(name):
                return found
        raise NodesError(
            f"{names[0]} is not set: nothing says to this node where the others are. Is its container called as the "
            "runtime's, and the runtime one for PyTorch (deploy/training-runtime.yaml)?"
        )

    nodes, processes = value("PET_NNODES"), value("PET_NPROC_PER_NODE")
    asked = (str(task.settings.nodes), str(task.settings.processes))
    if (nodes, processes) != asked:
        raise NodesError(f"{nodes} nodes of {processes} processes were started, and not {asked[0]} of {asked[1]}")
    return Meeting(
        nodes=int(nodes),
        rank=int(value("PET_NODE_RANK")),
        address=value("PET_MASTER_ADDR", "MASTER_ADDR"),
        port=int(value("PET_MASTER_PORT", "MASTER_PORT")),
        # Others may wait for room in the cluster: the step ends what waits too long.
        timeout_seconds=task.settings.nodes_timeout_hours * 3600,
    )


def run(folder: TaskFolder, attempt: int) -> int:
    """Train this node's share, and return the exit code of the process."""
    try:
        _train(folder.task())
    except tuple(SAID.values()) as error:
        folder.fail(attempt, error)
        print(first_line(error), file=sys.stderr, flush=True)
        return 1
    return 0


def _train(task: Task) -> None:
    place = meeting(os.environ, task)
    report(f"train: node {place.rank} of {place.nodes}, {task.settings.processes} processes")
    check_hardware(task.settings.processes)
    with tempfile.TemporaryDirectory(prefix="node-") as name:
        model_dir = Path(name, "model")
        model_dir.mkdir()
        with training_rows(read_dataset(task.dataset_uri), task.settings, beside=model_dir) as rows:
            texts = {"rows": rows.as_document(), "compared": task.compared}
            Path(name, ROWS).write_text(json.dumps(texts), encoding="utf-8")
            job = Job(
                folder=name,
                launcher=os.getpid(),
                labels=task.labels,
                settings=task.settings,
                model_dir=str(model_dir),
                tracking_uri=os.environ.get(TRACKING_VARIABLE, ""),
                tracking_run_id=task.tracking_run_id,
                checkpoints_uri=task.checkpoints_uri,
                identity=task.identity,
            )
            launch(job, place)


def _end(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    # As a container's first process it would not hear of it.
    signal.signal(signal.SIGTERM, _end)
    sys.exit(run(TaskFolder(sys.argv[1]), int(sys.argv[2])))
