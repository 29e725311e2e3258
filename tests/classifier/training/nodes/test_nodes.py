"""Two nodes train the model that one process trains, whatever is lost meanwhile: each is a process that is started as
Trainer starts its pods, and meets the other at loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import read_dataset
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.features import FEATURES_FILE
from include.classifier.training.nodes.task import FOLDER, Task, TaskFolder
from include.classifier.training.problems import TrainingDivergedError
from include.contracts.settings import TrainingConfig
from tests.classifier.training.nodes.support import alone, free_port, small_dataset
from tests.classifier.training.small_trainings import TEXTS, largest_difference, settings, without_dropout

# Each of them imports PyTorch and Transformers in four to six processes, some of them twice.
pytestmark = [pytest.mark.long, pytest.mark.processes]

ROOT = Path(__file__).parents[4]
TOLERANCE = 1e-5
IDENTITY = {"of": "these tests"}

#: The last epoch's weights are kept, or the best one's.
KEEPS = {"last": {"early_stopping_patience": 0}, "best": {"early_stopping_patience": 2}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base model without dropout."""
    return without_dropout(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("dataset"))


#: Exit codes of the nodes, and what they said.
Nodes = Callable[..., tuple[list[int], str]]


@pytest.fixture
def nodes(tmp_path: Path, dataset: str) -> Nodes:
    """Starts the nodes of a try, and waits for them."""

    def start(how: TrainingConfig, attempt: int = 1, *, dies: str = "nobody:0:0") -> tuple[list[int], str]:
        folder = TaskFolder(f"{store(tmp_path).uri}/{FOLDER}")
        folder.write_task(
            Task(
                dataset_uri=dataset,
                labels=read_dataset(dataset)["labels"],
                settings=how,
                compared=TEXTS[:5],
                tracking_run_id=None,
                checkpoints_uri=store(tmp_path).uri,
                identity=IDENTITY,
            )
        )
        command = [sys.executable, "-m", "include.classifier.training.nodes.node", folder.uri, str(attempt)]
        port = free_port()
        started = []
        for rank in range(how.nodes):
            variables = {
                "PYTHONPATH": str(ROOT),
                "GLOO_SOCKET_IFNAME": "lo",
                "PET_NNODES": str(how.nodes),
                "PET_NPROC_PER_NODE": str(how.processes),
                "PET_NODE_RANK": str(rank),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
                "TRAINING_WORKER": "tests.classifier.training.processes.dying_worker",
                "LEDGER": str(tmp_path / "ledger"),
                "DIES": dies,
            }
            log = (tmp_path / f"node-{attempt}-{rank}.log").open("w+", encoding="utf-8")
            environment = os.environ | variables
            started.append(
                (subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT), log)
            )
        said = ""
        for process, log in started:
            process.wait()
            log.seek(0)
            said += log.read()
            log.close()
        return [process.returncode for process, _ in started], said

    return start


def store(folder: Path) -> Checkpoints:
    return Checkpoints((folder / "checkpoints").as_uri(), IDENTITY, every_seconds=0)


def fetched(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the model that the nodes have handed over."""
    facts = store(folder).finished(folder / "model")
    assert facts is not None
    return folder / "model", facts


def steps_of(folder: Path, rank: int) -> list[int]:
    lines = (folder / "ledger").read_text(encoding="utf-8").splitlines()
    return [int(line.split()[1]) for line in lines if line.split()[0] == str(rank)]


@pytest.mark.parametrize(
    ("processes", "keeps", "more"),
    [(1, "last", {}), (1, "best", {"checkpoint_minutes": 0}), (2, "best", {"in_memory_rows": 10})],
    ids=["two-processes", "the-best-epoch-and-no-states", "four-processes-and-stored-rows"],
)
def test_two_nodes_train_what_one_process_trains(
    base: str, dataset: str, tmp_path: Path, nodes: Nodes, processes: int, keeps: str, more: dict[str, Any]
) -> None:
    how = settings(base, nodes=2, processes=processes, **KEEPS[keeps], **more)
    codes, said = nodes(how)

    assert codes == [0, 0], said
    assert f"each in {2 * processes} processes on 2 nodes" in said
    model, facts = fetched(tmp_path)
    assert (facts["epochs_run"], facts["parameters"]["nodes"]) == (3, 2)
    assert (model / FEATURES_FILE).exists()
    assert largest_difference(model, alone(how, dataset, tmp_path / "alone" / "model")) < TOLERANCE


def test_a_node_that_is_lost_costs_the_steps_since_the_last_state(
    base: str, dataset: str, tmp_path: Path, nodes: Nodes
) -> None:
    how = settings(base, nodes=2, **KEEPS["best"])
    codes, said = nodes(how, dies="worker:1:9")
    assert 0 not in codes, said
    assert store(tmp_path).finished(tmp_path / "model") is None

    codes, said = nodes(how, 2, dies="nobody:0:0")

    assert codes == [0, 0], said
    model, facts = fetched(tmp_path)
    first = facts["began_at_steps"][1]
    assert first in (8, 9)  # the others may have died before they kept the ninth
    assert steps_of(tmp_path, 1) == [*range(1, 10), *range(first + 1, 19)]
    assert largest_difference(model, alone(how, dataset, tmp_path / "alone" / "model")) < TOLERANCE


def test_a_loss_that_is_no_number_on_one_node_ends_all_and_is_said(base: str, tmp_path: Path, nodes: Nodes) -> None:
    how = settings(base, nodes=2)
    codes, said = nodes(how, dies="weights:1:9")

    assert codes == [1, 1], said
    failure = TaskFolder(f"{store(tmp_path).uri}/{FOLDER}").failure(1)
    assert isinstance(failure, TrainingDivergedError)
    assert said.count("\nTrainingDivergedError: The loss became nan in step 10 of 18") >= how.nodes
