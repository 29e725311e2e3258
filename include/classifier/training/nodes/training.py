"""The training step where several nodes train: says what there is to do, has it done, and fetches the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from include.classifier.cluster import own_pod
from include.classifier.cluster.api import ClusterError
from include.classifier.cluster.waiting import patiently
from include.classifier.data.sources import as_uri
from include.classifier.progress import report
from include.classifier.training.nodes.cluster import TrainingCluster
from include.classifier.training.nodes.following import NodesTraining
from include.classifier.training.nodes.kinds import Kind, Wanted, digest
from include.classifier.training.nodes.task import FOLDER, TRACKING_VARIABLE, NodesError, Task, TaskFolder
from include.classifier.training.problems import HardwareError
from include.contracts.settings import TrainingConfig

if TYPE_CHECKING:
    from include.classifier.tracking import Tracker
    from include.classifier.training.checkpoints.store import Checkpoints

_NODE = "include.classifier.training.nodes.node"

#: Volumes that no other pod sees.
_OF_ONE_POD = ("emptyDir", "ephemeral", "configMap", "secret", "projected", "downwardAPI", "hostPath")


def train_over_nodes(
    dataset_uri: str,
    model: str,
    *,
    labels: Sequence[str],
    settings: TrainingConfig,
    model_dir: Path,
    tracker: Tracker,
    checkpoints: Checkpoints | None,
    compared_texts: Sequence[str] = (),
    cluster: TrainingCluster | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Train on the pods of a TrainJob; see :func:`include.classifier.training.fine_tuning.train_on`.

    :param model: name of the model.
    :param cluster: default: the one whose pod this process runs in.
    :param how: of :class:`~include.classifier.training.nodes.following.NodesTraining`, for tests.
    :raises HardwareError: when this is no pod of a cluster, or other pods cannot reach what this one sees.
    :raises NodesError: when the cluster refuses, or no try comes to an end.
    """
    cluster = cluster or TrainingCluster()
    if not cluster.is_in_a_pod:
        raise HardwareError(
            f"training.nodes: {settings.nodes} nodes are pods of a cluster, and this is no pod of one. On one machine "
            f"take nodes: 1, and processes: {settings.all_processes} for the same training."
        )
    if checkpoints is None:
        raise HardwareError(
            "training.nodes: nodes hand the model over in the store, and this training has no output_uri"
        )
    kind, pod = _look(cluster)
    for uri in (checkpoints.uri, dataset_uri):
        check_reach(uri, pod)
    of_identity = (f"{name}={value}" for name, value in sorted(checkpoints.identity.items()))
    training = digest(checkpoints.uri, *of_identity)
    folder = TaskFolder(f"{checkpoints.uri}/{FOLDER}/{training[:10]}")
    task = Task(
        dataset_uri=dataset_uri,
        labels=list(labels),
        settings=settings,
        compared=list(compared_texts),
        tracking_run_id=tracker.run_id,
        checkpoints_uri=checkpoints.uri,
        identity=checkpoints.identity,
    )
    folder.write_task(task)
    wanted = Wanted(
        name="",
        training=training,
        pod=pod,
        nodes=settings.nodes,
        processes=settings.processes,
        command=("python", "-m", _NODE, folder.uri),
        variables={TRACKING_VARIABLE: tracker.uri} if tracker.uri else {},
        seconds=0.0,
    )
    if left_out := kind.left_out(wanted):
        report(
            f"train: the cluster's {kind.title}s cannot be given {', '.join(left_out)}: where the nodes need that, it "
            "has to stand in their TrainingRuntime"
        )
    NodesTraining(
        cluster=cluster,
        kind=kind,
        folder=folder,
        model=model,
        training=training,
        wanted=partial(_named, wanted),
        timeout_seconds=settings.nodes_timeout_hours * 3600,
        **how,
    ).run()
    if (facts := checkpoints.finished(model_dir)) is None:
        raise NodesError(
            f"The nodes have ended well, and the trained model is not in {checkpoints.uri}: do they write to another "
            "store than the step reads?"
        )
    return facts


def _named(wanted: Wanted, name: str, attempt: int, seconds: float) -> Wanted:
    return replace(wanted, name=name, command=(*wanted.command, str(attempt)), seconds=seconds)


def _look(cluster: TrainingCluster) -> tuple[Kind, Mapping[str, Any]]:
    """Return what trains over nodes in this cluster, and the step's own pod."""
    from threading import Event

    wait = partial(Event().wait, 10.0)
    try:
        return patiently(cluster.kind, wait=wait), patiently(cluster.own_pod, wait=wait)
    except ClusterError as error:
        raise NodesError(f"training.nodes: {error}.") from None


def check_reach(uri: str, pod: Mapping[str, Any]) -> None:
    """Refuse a folder that only this pod sees.

    Whether a claim may be mounted by several nodes at once (``ReadWriteMany``) its pods do not say.

    :raises HardwareError: with the remedy.
    """
    parts = urlsplit(as_uri(uri))
    if parts.scheme not in ("file", "local", ""):
        return
    path = PurePosixPath(unquote(parts.path))
    shared = {each["name"] for each in pod["spec"].get("volumes") or () if not any(key in each for key in _OF_ONE_POD)}
    mounts = own_pod.mounts(own_pod.main_container(pod))
    over = [each for each in mounts if path.is_relative_to(each["mountPath"])]
    nearest = max(over, key=lambda each: len(each["mountPath"]), default=None)
    if nearest is None or nearest["name"] not in shared:
        raise HardwareError(
            f"training.nodes: {path} lies in this pod alone, and the nodes are other pods. Let the model store be an "
            "object store, or a claim that is ReadWriteMany and mounted into the step."
        )
