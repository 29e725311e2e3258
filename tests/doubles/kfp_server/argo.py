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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from local_services.pipelines.marked_processes import child_environment, terminate_marked

ROOT = Path(__file__).parents[3]

#: What the launcher writes around a step's own output.
_LAUNCHER_BEGINS = "I1122 02:00:00.000000      30 launcher_v2.go:191] publish success.\n"
_LAUNCHER_FAILS = "F1122 02:00:01.000000      30 main.go:57] failed to execute component: exit status 1\n"


#: What a pod has from its cluster: where the Kubernetes API and the volume are.
_OF_PODS = ("KUBECONFIG", "STORE_VOLUME_PATH")

#: Template that a step's pod is made from.
EXECUTOR = "system-container-impl"


@dataclass(slots=True, kw_only=True)
class Node:
    """A node of a workflow, which becomes a row of ``task_details``.

    :param path: the names of the nodes that it is in and its own, from which Argo makes its id.
    :param state: empty for one that never began.
    :param is_pod: whether it stands for a pod of its own.
    """

    workflow: str
    path: str
    name: str
    state: str
    started: float
    ended: float = 0
    is_pod: bool = False
    children: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The workflow's name and a hash (FNV-1a) of the path."""
        return self.workflow if self.path == self.workflow else f"{self.workflow}-{_hash(self.path)}"

    @property
    def first_state(self) -> str:
        """The first that was seen of it: a pod waits for a place."""
        return self.state and ("PENDING" if self.is_pod else "RUNNING")

    @property
    def group(self) -> str:
        """Name of the node that it is in."""
        return self.path.split(".")[-2].removesuffix("(0)")

    @property
    def is_executor(self) -> bool:
        """Whether its pod runs a step."""
        return self.is_pod and self.name.removesuffix("(0)") == "executor"

    def pod(self, template: str) -> str:
        """Return the name of its pod: the template's name stands in the middle of the node's id."""
        return f"{self.workflow}-{template}-{_hash(self.path)}"


def _hash(text: str) -> int:
    number = 0x811C9DC5
    for byte in text.encode():
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return number


@dataclass(slots=True, kw_only=True)
class Workflow:
    """One Argo workflow.

    :param run_id: value of its label ``pipeline/runid``; two workflows may have the same.
    :param documents: the pipeline spec and, where there is one, the platform spec.
    :param has_attempts: whether every template has a retry strategy.
    """

    run_id: str
    documents: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    folder: Path
    has_attempts: bool = True
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
                env=child_environment(python, str(ROOT), self.uid, more=_OF_PODS),
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
        state, steps = self.state, self._account().get("steps", [])
        if state == "PENDING":
            return []
        over = state != "RUNNING"
        began = [(step["name"], "FAILED" if over and step["state"] == "RUNNING" else step["state"]) for step in steps]
        tasks = self.documents[0]["root"]["dag"]["tasks"]
        order = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in tasks.items()})
        never = [name for name in order.static_order() if name not in dict(began)] if state == "FAILED" else []
        return self.make_nodes(began, state=state, never=never)

    def make_nodes(
        self,
        steps: Iterable[tuple[str, str]],
        *,
        state: str,
        cached: Iterable[str] = (),
        never: Iterable[str] = (),
    ) -> list[Node]:
        """Return the nodes of a pipeline whose steps run one after the other.

        :param steps: name and state of those that have started; a name that ends in ``-driver`` is a step whose driver
            is all that started.
        :param cached: steps whose executor was skipped because an earlier result was used.
        :param never: steps that an earlier one's failure kept from starting.
        """
        steps = list(steps)
        graph = _Graph(self.name, has_attempts=self.has_attempts)
        began, is_over = self.created, state not in ("RUNNING", "PENDING")
        ended = began + 2 + 4 * len(steps) if is_over else 0.0
        top = graph.add("", state, began, ended)
        root_driver = graph.add("root-driver", "SUCCEEDED", began, began + 1, scope=top, after=top, is_pod=True)
        last = root = graph.add("root", state, began + 1, ended, scope=top, after=root_driver)
        for position, (name, step_state) in enumerate(steps):
            # Every step costs two pods, so that no two steps in a row begin within one second.
            start = began + 2 + 4 * position
            end = start + 1 if name in cached else (0.0 if step_state in ("RUNNING", "PENDING") else start + 3)
            own = name.removesuffix("-driver")
            driver_state = step_state if own != name else "SUCCEEDED"
            last = graph.add(f"{own}-driver", driver_state, start, start + 1, scope=root, after=last, is_pod=True)
            if own != name:
                last = graph.add(own, "", ended, ended, scope=root, after=last)
                continue
            step = graph.add(name, step_state, start + 1, end, scope=root, after=last)
            executor_state = "SKIPPED" if name in cached else step_state
            executor = graph.add("executor", executor_state, start + 1, end, scope=step, after=step, is_pod=True)
            # What follows a group is a child of its last pod, or of its last attempt.
            last = step if self.has_attempts else executor
        for name in never:
            for node in (f"{name}-driver", name):
                last = graph.add(node, "", ended, ended, scope=root, after=last)
        return sorted(graph.nodes, key=lambda node: node.id)

    def template(self, step: str) -> str:
        """Return the template that a step's pod is made from: labels and annotations make another one of it."""
        tasks = self.documents[0]["root"].get("dag", {}).get("tasks", {})
        component = self.documents[0].get("components", {}).get(tasks.get(step, {}).get("componentRef", {}).get("name"))
        platform = self.documents[1] if len(self.documents) > 1 else {}
        executors = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        metadata = executors.get((component or {}).get("executorLabel"), {}).get("podMetadata")
        if metadata is None:
            return EXECUTOR
        return f"metadata-{len(metadata.get('annotations', {}))}-{len(metadata.get('labels', {}))}-{EXECUTOR}"

    def pod_log(self, pod_name: str) -> str | None:
        """Return what the container ``main`` of a pod has said, ``None`` when there is no such pod."""
        executors = [node for node in self.nodes() if node.is_executor]
        steps = [node.group for node in executors if node.pod(self.template(node.group)) == pod_name]
        for step in self._account().get("steps", []):
            if step["name"] in steps:
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


class _Graph:
    """The nodes of a workflow as they come to be.

    :param has_attempts: whether every template has a retry strategy: a node then has an attempt, which is another node
        and holds what the first one would have held.
    """

    def __init__(self, workflow: str, *, has_attempts: bool) -> None:
        self._workflow = workflow
        self._has_attempts = has_attempts
        self.nodes: list[Node] = []

    def add(
        self,
        name: str,
        state: str,
        started: float,
        ended: float,
        *,
        scope: Node | None = None,
        after: Node | None = None,
        is_pod: bool = False,
    ) -> Node:
        """Add a node, and its attempt where it has one; return the one that others are in or come after.

        :param name: empty for the workflow itself.
        :param scope: what it is in. :param after: whose child it is.
        """
        path = f"{scope.path}.{name}" if scope else self._workflow
        node = Node(
            workflow=self._workflow,
            path=path,
            name=name or self._workflow,
            state=state,
            started=started,
            ended=ended,
            is_pod=is_pod,
        )
        self.nodes.append(node)
        if after is not None:
            after.children.append(node.id)
        if not self._has_attempts or state in ("", "SKIPPED"):
            return node
        attempt = replace(node, path=f"{path}(0)", name=f"{node.name}(0)", children=[])
        node.is_pod = False
        node.children.append(attempt.id)
        self.nodes.append(attempt)
        return attempt
