"""A step's pod, a training over nodes to follow, and small data to train on."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.classifier.data.dataset import Split, read_dataset, write_dataset
from include.classifier.training.nodes.cluster import TrainingCluster
from include.classifier.training.nodes.following import NodesTraining
from include.classifier.training.nodes.kinds import Kind, Wanted
from include.classifier.training.nodes.task import TaskFolder
from include.contracts.settings import TrainingConfig
from tests.classifier.training.small_trainings import CLASSES, LABELS, TEXTS
from tests.doubles.kubernetes import Cluster

IMAGE = "training:1"
TRAINING = "0123456789abcdef"
#: Of the first try.
NAME = "train-reviews-0123456789-1"

STEP: dict[str, Any] = {
    "metadata": {
        "name": "step",
        "labels": {"pipeline/runid": "r", "workflows.argoproj.io/workflow": "w"},
        "ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u", "controller": True}
        ],
    },
    "spec": {
        "serviceAccountName": "default",
        "nodeSelector": {"gpu": "yes"},
        "securityContext": {"runAsUser": 1000},
        "containers": [
            {"name": "wait", "image": "argoexec"},
            {
                "name": "main",
                "image": IMAGE,
                "command": ["argoexec"],
                "env": [
                    {"name": "ARGO_NODE_ID", "value": "x"},
                    {"name": "KFP_POD_NAME", "value": "x"},
                    {"name": "PET_NNODES", "value": "9"},
                    {"name": "STORE_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "k"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "metadata-grpc-configmap", "optional": True}}],
                "resources": {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "2", "memory": "4Gi"}},
                "securityContext": {"runAsNonRoot": True},
                "volumeMounts": [
                    {"name": "store", "mountPath": "/mnt/models"},
                    {"name": "shared-memory", "mountPath": "/dev/shm"},
                    {"name": "var-run-argo", "mountPath": "/var/run/argo"},
                ],
            },
        ],
        "volumes": [
            {"name": "store", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
            {"name": "var-run-argo", "emptyDir": {}},
        ],
    },
}


def client(k8s: Cluster) -> TrainingCluster:
    """Return the cluster as the step reaches it."""
    return TrainingCluster(pod="step", namespace=k8s.namespace, api=k8s.api_client())


def wanted(name: str = NAME, attempt: int = 1, seconds: float = 3600.0, **changes: Any) -> Wanted:
    """Return a training that is wanted."""
    asked: Mapping[str, Any] = {
        "training": TRAINING,
        "pod": STEP,
        "nodes": 2,
        "processes": 1,
        "command": ("python", "-m", "node", "s3://models/task", str(attempt)),
        "variables": {"TRAINING_TRACKING_URI": "http://mlflow"},
    }
    return Wanted(name=name, seconds=seconds, **{**asked, **changes})


def training(k8s: Cluster, folder: Path, kind: Kind | None = None, **how: Any) -> NodesTraining:
    """Return a training of two nodes that looks often."""
    cluster = how.pop("cluster", None) or client(k8s)
    asked: dict[str, Any] = {"model": "reviews", "training": TRAINING, "wanted": wanted, "timeout_seconds": 3600.0}
    return NodesTraining(
        cluster=cluster,
        kind=kind or cluster.kind(),
        folder=TaskFolder(folder.as_uri()),
        **{**asked, "poll": 0.02, **how},
    )


def small_dataset(folder: Path) -> str:
    """Write a data set of small rows, and return the URI of its document."""
    write_dataset(
        folder.as_uri(),
        model="reviews",
        label_names=LABELS,
        splits={"train": Split(TEXTS, CLASSES), "evaluation": Split(TEXTS[:9], CLASSES[:9])},
        sources=[],
        rows_in=len(TEXTS) + 9,
        dropped={reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")},
    )
    return f"{folder.as_uri()}/dataset.json"


def alone(how: TrainingConfig, dataset: str, folder: Path) -> Path:
    """Return the folder of the model that one process trains."""
    from include.classifier.tracking import Tracker
    from include.classifier.training.fine_tuning import Training, train_on
    from include.classifier.training.stored_rows import training_rows

    content, how = read_dataset(dataset), how.model_copy(update={"nodes": 1, "processes": 1})
    with training_rows(content, how, beside=folder) as rows:
        train_on(Training(rows=rows, labels=content["labels"], settings=how, model_dir=folder, tracker=Tracker()))
    return folder


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
