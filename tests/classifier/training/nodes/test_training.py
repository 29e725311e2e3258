"""What the step asks of the nodes, what they are told, and where it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from include.classifier.steps import train_step
from include.classifier.tracking import Tracker
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.nodes import training as module
from include.classifier.training.nodes.cluster import TrainingCluster
from include.classifier.training.nodes.node import meeting
from include.classifier.training.nodes.task import Ended, Journal, NodesError, Task, TaskFolder
from include.classifier.training.nodes.training import check_reach, train_over_nodes
from include.classifier.training.problems import FailedBeforeError, HardwareError
from include.contracts.settings import TrainingConfig
from tests.classifier.training.nodes.support import STEP, small_dataset

SETTINGS = TrainingConfig(nodes=2, processes=2, checkpoint_minutes=0, nodes_timeout_hours=2)
TASK = Task(
    dataset_uri="file:///mnt/models/dataset.json",
    labels=["bad", "good"],
    settings=SETTINGS,
    compared=["a text"],
    tracking_run_id="run-1",
    checkpoints_uri="file:///mnt/models/checkpoints",
    identity={"data": "1"},
)
TOLD = {
    "PET_NNODES": "2",
    "PET_NPROC_PER_NODE": "2",
    "PET_NODE_RANK": "1",
    "PET_MASTER_ADDR": "train-0.train",
    "PET_MASTER_PORT": "29500",
}


def trained(tmp_path: Path, cluster: Any, *, checkpoints: Checkpoints | None = None) -> dict[str, Any]:
    return train_over_nodes(
        "file:///mnt/models/dataset.json",
        "reviews",
        labels=["bad", "good"],
        settings=SETTINGS,
        model_dir=tmp_path / "model",
        tracker=Tracker(),
        checkpoints=checkpoints,
        cluster=cluster,
    )


def test_on_one_machine_it_says_what_to_take_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(HardwareError, match=r"this is no pod of one\. .* nodes: 1, and processes: 4"):
        trained(tmp_path, TrainingCluster())


def test_a_step_on_one_machine_ends_before_it_reads_a_row_and_so_does_its_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    step = partial(
        train_step,
        dataset_uri=small_dataset(tmp_path / "dataset"),
        model_dir=str(tmp_path / "model"),
        training_file=str(tmp_path / "training"),
        model_name="reviews",
        model_version="20260101000000",
        settings={"nodes": 2},
        output_uri=(tmp_path / "release").as_uri(),
    )
    with pytest.raises(HardwareError, match="this is no pod of one"):
        step()
    with pytest.raises(FailedBeforeError, match="this is no pod of one"):
        step()

    assert not (tmp_path / "model").exists()


def test_without_a_place_to_hand_over_in_it_refuses(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="has no output_uri"):
        trained(tmp_path, TrainingCluster(namespace="team"))


@pytest.mark.parametrize(
    ("uri", "is_shared"),
    [
        ("s3://models/a", True),
        ("file:///mnt/models/a", True),
        ("file:///mnt/models", True),
        ("file:///mnt/models/scratch/a", False),
        ("file:///mnt/modelsother/a", False),
        ("file:///tmp/a", False),
        ("file:///dev/shm/a", False),
    ],
)
def test_a_folder_that_only_the_step_sees_is_refused(uri: str, is_shared: bool) -> None:
    step = json.loads(json.dumps(STEP))
    step["spec"]["containers"][1]["volumeMounts"].append({"name": "scratch", "mountPath": "/mnt/models/scratch"})
    step["spec"]["volumes"].append({"name": "scratch", "emptyDir": {}})
    if is_shared:
        check_reach(uri, step)
        return
    with pytest.raises(HardwareError, match=r"lies in this pod alone.* ReadWriteMany"):
        check_reach(uri, step)


def test_a_node_meets_the_others_where_the_trainer_says() -> None:
    found = meeting(TOLD, TASK)

    assert (found.nodes, found.rank, found.address, found.port) == (2, 1, "train-0.train", 29500)
    assert found.timeout_seconds == 7200
    older = {name.replace("PET_MASTER", "MASTER"): value for name, value in TOLD.items()}
    assert meeting(older, TASK) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PET_NNODES": ""}, "PET_NNODES is not set: .*deploy/training-runtime.yaml"),
        ({"PET_MASTER_ADDR": ""}, "PET_MASTER_ADDR is not set"),
        ({"PET_NNODES": "3"}, "3 nodes of 2 processes were started, and not 2 of 2"),
        ({"PET_NPROC_PER_NODE": "auto"}, "2 nodes of auto processes were started"),
    ],
)
def test_a_node_that_does_not_fit_says_so(changes: dict[str, str], words: str) -> None:
    with pytest.raises(NodesError, match=words):
        meeting(TOLD | changes, TASK)


def test_what_nodes_are_told_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = TaskFolder(f"{tmp_path.as_uri()}/nodes")
    with pytest.raises(NodesError, match=r"task\.json cannot be read from this node: is the store shared\?"):
        folder.task()
    folder.write_task(TASK)

    assert TaskFolder(f"{tmp_path.as_uri()}/nodes").task() == TASK


def test_a_try_is_written_down_once_and_the_first_moment_stays(tmp_path: Path) -> None:
    folder = TaskFolder(tmp_path.as_uri())
    began = folder.journal().began_at
    assert abs(datetime.now(UTC) - began) < timedelta(hours=1)
    for _ in range(2):
        folder.end(Ended(name="train-1", uid="u", reason="node 0 was lost"))

    assert folder.journal() == Journal(began_at=began, ended=[Ended(name="train-1", uid="u", reason="node 0 was lost")])


def test_only_what_no_new_try_ends_otherwise_is_raised_again_as_it_was(tmp_path: Path) -> None:
    folder = TaskFolder(tmp_path.as_uri())
    folder.fail(2, HardwareError("no GPU"))
    (tmp_path / "failed-3.json").write_text('{"kind": "SystemExit", "message": "m"}')

    assert folder.failure(1) is None
    assert type(folder.failure(2)) is HardwareError
    assert type(folder.failure(3)) is NodesError


def test_what_is_not_ours_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "tries.json").write_text("{")
    with pytest.raises(NodesError, match=r"tries\.json is not what was written there .* Delete it"):
        TaskFolder(tmp_path.as_uri()).journal()


def test_the_module_that_is_started_is_there() -> None:
    assert Path(*module._NODE.split(".")).with_suffix(".py").exists()
