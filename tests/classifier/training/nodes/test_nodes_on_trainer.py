"""A step whose nodes are pods of the double: they really train, one of them is lost, and the model is that of one
process. What is not there is a network: all of them meet at loopback."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import read_dataset
from include.classifier.tracking import Tracker
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.nodes.training import train_over_nodes
from tests.classifier.training.nodes.support import IMAGE, alone, client, free_port, small_dataset
from tests.classifier.training.small_trainings import TEXTS, largest_difference, settings, without_dropout
from tests.doubles.kubernetes import Image, cluster
from tests.doubles.kubernetes.resources import PODS
from tests.doubles.trainer import Trainer
from tests.rights import rights

pytestmark = [pytest.mark.long, pytest.mark.processes]


def step(folder: Path, **variables: str) -> dict[str, Any]:
    """Return the step's pod, with a claim that all pods mount."""
    env = [{"name": name, "value": value} for name, value in variables.items()]
    mounts = [{"name": "store", "mountPath": str(folder)}]
    main = {"name": "main", "image": IMAGE, "env": env, "volumeMounts": mounts}
    volumes = [{"name": "store", "persistentVolumeClaim": {"claimName": "models"}}]
    return {"metadata": {"name": "step"}, "spec": {"containers": [main], "volumes": volumes}}


def test_a_lost_node_costs_another_trainjob_and_the_model_is_that_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    base, dataset = without_dropout(models / "base"), small_dataset(models / "dataset")
    how = settings(base, nodes=2, early_stopping_patience=2)
    checkpoints = Checkpoints((models / "checkpoints").as_uri(), {"of": "this test"}, every_seconds=0)
    images: dict[str, Any] = {IMAGE: Image(Path(sys.executable).parent)}
    with cluster(images=images, claims={"models": models}) as k8s:
        trainer = Trainer(k8s, master_address="127.0.0.1", master_port=free_port())
        trainer.add_runtime("release-training", restartPolicy="Never", job={"backoffLimit": 0})
        k8s.faults.unschedulable("step")
        pod = step(
            models,
            GLOO_SOCKET_IFNAME="lo",
            TRAINING_WORKER="tests.classifier.training.processes.dying_worker",
            LEDGER=str(models / "ledger"),
            DIES="worker:1:9",
        )
        k8s.store.create(PODS, pod, k8s.namespace)
        k8s.faults.allow_only(rights("training-over-nodes-rbac.yaml"))
        facts = train_over_nodes(
            dataset,
            "reviews",
            labels=read_dataset(dataset)["labels"],
            settings=how,
            model_dir=tmp_path / "model",
            tracker=Tracker(),
            checkpoints=checkpoints,
            compared_texts=TEXTS[:5],
            cluster=client(k8s),
            poll=0.2,
        )

        assert len(trainer.created) == 2
        assert trainer.trainjobs() == []
    said = capsys.readouterr().out
    assert "another TrainJob goes on from the last state" in said
    assert "train: goes on after step 9, epoch 1.5" in said
    assert facts["began_at_steps"] == [0, 9]
    assert largest_difference(tmp_path / "model", alone(how, dataset, tmp_path / "alone" / "model")) < 1e-5
