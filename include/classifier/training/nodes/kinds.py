"""What makes pods of a training in a cluster: a TrainJob of Kubeflow's Trainer, or a PyTorchJob where that is older."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from include.classifier.cluster import own_pod
from include.contracts.version import release_marks as marks

#: Annotation: digest of what is trained, so that a training never follows the pods of another one.
TRAINING = "kubeflow-model-release/training"

#: Label of the nodes' pods, by which a policy of the network knows them (deploy/network-policies.yaml).
_NODE = "kubeflow-model-release/training-node"

#: A pod is called after its job, with ``-node-0-<rank>-<5 letters>`` behind that, and has 63 characters at most. A name
#: that is too long for that is taken, and then nothing ever happens.
_MOST_CHARACTERS = 40


@dataclass(frozen=True)
class Wanted:
    """A training over nodes.

    :param name: of the job.
    :param training: digest of what is trained.
    :param pod: the step's own, which those of the nodes are made after.
    :param command: arguments of a node's process.
    :param variables: of its environment, besides those of the step.
    :param seconds: after which the cluster ends it, whoever is left to do so.
    """

    name: str
    training: str
    pod: Mapping[str, Any]
    nodes: int
    processes: int
    command: tuple[str, ...]
    variables: Mapping[str, str]
    seconds: float

    def container(self) -> dict[str, Any]:
        """Return command and environment of a node's container."""
        main = own_pod.main_container(self.pod)
        command = list(self.command)
        if main.get("workingDir"):
            command = ["sh", "-c", f"cd {shlex.quote(main['workingDir'])} && exec {shlex.join(command)}"]
        # What PyTorch's launcher reads is for the Trainer to say: it refuses a job that does.
        env = [each for each in own_pod.environment(main) if not each["name"].startswith("PET_")]
        env += [{"name": name, "value": value} for name, value in self.variables.items()]
        return {"image": main["image"], "command": command, "env": env}

    def resources(self) -> dict[str, Any]:
        """Return what each node asks for: what the step does."""
        found = own_pod.main_container(self.pod).get("resources") or {}
        return {key: found[key] for key in ("limits", "requests") if found.get(key)}

    def labels(self) -> dict[str, str]:
        """Return the labels of a node's pod."""
        return {**own_pod.labels(self.pod), _NODE: "true"}

    def metadata(self) -> dict[str, Any]:
        """Return those of the job, which goes with the run."""
        return {
            "name": self.name,
            "labels": dict(marks.MANAGED_BY),
            "annotations": {TRAINING: self.training},
            "ownerReferences": own_pod.owners(self.pod),
        }


class Kind(Protocol):
    """A kind of job."""

    group: str
    version: str
    plural: str
    #: As people call one.
    title: str
    #: Name of the container in each pod.
    container: str

    def body(self, wanted: Wanted) -> dict[str, Any]:
        """Return the job as an object."""

    def left_out(self, wanted: Wanted) -> list[str]:
        """Return what the step's pod has and a node's cannot have, in words."""

    def selector(self, name: str) -> str:
        """Return the labels of a job's pods."""

    def rank(self, pod: Mapping[str, Any]) -> int:
        """Return which node a pod is, from 0."""

    def restarts(self, pod: Mapping[str, Any]) -> int:
        """Return how often all pods had been started anew when this one was."""

    def ended(self, job: Mapping[str, Any]) -> tuple[str, str]:
        """Return ``complete``, ``failed``, ``suspended`` or, while it goes on, nothing, and what is said of it."""


def name_of(model: str, training: str, attempt: int) -> str:
    """Return a job's name: the same for each start of a step, another for each try and each training.

    :param training: digest of what is trained, and for which release.
    :param attempt: from 1.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:16].strip("-")
    name = "-".join(filter(None, ("train", readable, training[:10], str(attempt))))
    assert len(name) <= _MOST_CHARACTERS
    return name


def digest(*parts: str) -> str:
    """Return the SHA-256 of words that say what is trained, and for which release."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
