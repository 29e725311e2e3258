"""Workflows: what really runs behind the API server, and how Argo tells about it.

A workflow runs the stored pipeline with ``python -m include.pipelines.local_runner`` in a folder of its own, or does
what a test has scripted for it.
"""

from __future__ import annotations

import json
import random
import string
import subprocess
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from local_services.pipelines.marked_processes import child_environment, terminate_marked

ROOT = Path(__file__).parents[3]

#: What the launcher writes around a step's own output.
_LAUNCHER_BEGINS = "I1122 02:00:00.000000      30 launcher_v2.go:191] publish success.\n"
_LAUNCHER_FAILS = "F1122 02:00:01.000000      30 main.go:57] failed to execute component: exit status 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of a workflow, which becomes a row of ``task_details``."""

    id: str
    name: str
    state: str
    started: float
    ended: float = 0
    children: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Workflow:
    """One Argo workflow.

    :param run_id: value of its label ``pipeline/runid``; two workflows may have the same.
    :param documents: the pipeline spec and, where there is one, the platform spec.
    """

    run_id: str
    documents: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    folder: Path
    uid: str = field(default_factory=lambda: str(uuid4()))
    name: str = ""
    created: float = field(default_factory=time.time)
    process: subprocess.Popen[bytes] | None = None
    is_stopped: bool = False

    def __post_init__(self) -> None:
        tail = "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
        self.name = self.name or f"{self.documents[0]['pipelineInfo']['name']}-{tail}"

    def start(self, python: str) -> None:
        """Start the workflow's process; its state of an earlier attempt is forgotten."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state.json").unlink(missing_ok=True)
        (self.folder / "request.json").write_text(json.dumps({"parameters": dict(self.parameters)}), encoding="utf-8")
        (self.folder / "pipeline.yaml").write_text(yaml.safe_dump_all(self.documents), encoding="utf-8")
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [python, "-m", "include.pipelines.local_runner", str(self.folder)],
                env=child_environment(python, str(ROOT), self.uid),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop its pods, which takes a while: nobody waits for it."""
        self.is_stopped = True
        if self.process is not None:
            threading.Thread(target=terminate_marked, args=(self.uid,), daemon=True).start()

    def kill(self) -> None:
        """Stop its pods and wait until they are gone."""
        if self.process is not None:
            terminate_marked(self.uid, grace_seconds=1)
            self.process.wait()

    @property
    def state(self) -> str:
        """State as Argo's phase would give it: a workflow that was stopped is FAILED, never CANCELED."""
        if self.process is None:
            return "FAILED" if self.is_stopped else "PENDING"
        over = self.process.poll() is not None
        told = str(self._account().get("state", "RUNNING"))
        if not over:
            # Its account may be complete a moment before its process has ended; pods are like that too.
            return "RUNNING" if (self.folder / "state.json").exists() else "PENDING"
        return told if told == "SUCCEEDED" else "FAILED"

    def nodes(self) -> list[Node]:
        """Return a node for each pod and each group of pods."""
        steps = self._account().get("steps", [])
        if not steps:
            return []
        over = self.state not in ("RUNNING", "PENDING")
        return make_nodes(
            self.name,
            [(step["name"], "FAILED" if over and step["state"] == "RUNNING" else step["state"]) for step in steps],
            state=self.state,
            began=self.created,
        )

    def pod_log(self, pod_name: str) -> str | None:
        """Return what the container ``main`` of a pod has said, ``None`` when there is no such pod."""
        for step in self._account().get("steps", []):
            if pod_name == executor_pod(self.name, step["name"]):
                with (self.folder / "log.txt").open("rb") as log:
                    log.seek(step["log_start"])
                    said = log.read() if step["log_end"] is None else log.read(step["log_end"] - step["log_start"])
                ending = _LAUNCHER_FAILS if step["state"] == "FAILED" else ""
                return _LAUNCHER_BEGINS + said.decode("utf-8", "replace") + ending
        return None

    def _account(self) -> dict[str, Any]:
        try:
            account: dict[str, Any] = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return account


def node_id(workflow: str, *path: str) -> str:
    """Return a node's id: the workflow's name and a hash, as Argo makes it."""
    return f"{workflow}-{zlib.crc32('.'.join((workflow, *path)).encode())}"


def executor_pod(workflow: str, step: str) -> str:
    """Return the name of the pod that runs a step: the node's id with the template's name in its middle."""
    return f"{workflow}-system-container-impl-{node_id(workflow, step, 'executor').rpartition('-')[2]}"


def make_nodes(
    workflow: str, steps: Iterable[tuple[str, str]], *, state: str, began: float, cached: Iterable[str] = ()
) -> list[Node]:
    """Return the nodes of a pipeline whose steps run one after the other.

    :param steps: name and state of those that have started.
    :param cached: steps whose executor was skipped because an earlier result was used.
    """
    steps = list(steps)
    first = (node_id(workflow, f"{steps[0][0]}-driver"),) if steps else ()
    driver, root = node_id(workflow, "root-driver"), node_id(workflow, "root")
    ended = 0.0 if state in ("RUNNING", "PENDING") else began + 2 + 4 * len(steps)
    nodes = [
        Node(id=workflow, name=workflow, state=state, started=began, ended=ended, children=(driver,)),
        Node(id=driver, name="root-driver", state="SUCCEEDED", started=began, ended=began + 1, children=(root,)),
        Node(id=root, name="root", state=state, started=began + 1, ended=ended, children=first),
    ]
    for position, (name, step_state) in enumerate(steps):
        # Every step costs two pods, so that no two steps in a row begin within one second.
        start = began + 2 + 4 * position
        step, executor = node_id(workflow, name), node_id(workflow, name, "executor")
        following = (node_id(workflow, f"{steps[position + 1][0]}-driver"),) if position + 1 < len(steps) else ()
        end = start + 1 if name in cached else (0.0 if step_state in ("RUNNING", "PENDING") else start + 3)
        executor_state = "SKIPPED" if name in cached else step_state
        if not name.endswith("-driver"):
            nodes.append(
                Node(
                    id=node_id(workflow, f"{name}-driver"),
                    name=f"{name}-driver",
                    state="SUCCEEDED",
                    started=start,
                    ended=start + 1,
                    children=(step,),
                )
            )
            nodes.append(
                Node(
                    id=executor, name="executor", state=executor_state, started=start + 1, ended=end, children=following
                )
            )
        nodes.append(Node(id=step, name=name, state=step_state, started=start + 1, ended=end, children=(executor,)))
    return sorted(nodes, key=lambda node: node.id)
