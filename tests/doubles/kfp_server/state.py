"""What the API server knows: experiments, pipelines, versions and runs, in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.doubles.kfp_server.argo import Node, Workflow
from tests.doubles.kfp_server.tasks import tasks_of
from tests.doubles.kfp_server.values import timestamp, without_zero_values

#: What 2.17 says of every run when its configuration names an MLflow that is not there, as the stock one does.
_PLUGIN_FAILED = {
    "mlflow": {
        "entries": {"experiment_name": {"value": "KFP-Default"}},
        "state": "PLUGIN_FAILED",
        "state_message": "failed to build MLflow request context",
    }
}

_FINAL = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


@dataclass(slots=True, kw_only=True)
class RunRow:
    """A row of the table of runs.

    :param has_tasks: whether the server keeps tasks of its own, as it does from 3.0 on, and shows no nodes.
    :param has_plugins: whether the server tells what became of its plugins.
    """

    run_id: str
    display_name: str
    experiment_id: str
    namespace: str
    workflow: Workflow
    reference: Mapping[str, str]
    service_account: str
    runtime_config: Mapping[str, Any]
    pipeline_spec: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    storage_state: str = "AVAILABLE"
    state: str = "PENDING"
    state_history: list[dict[str, str]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    created: float = field(default_factory=time.time)
    finished: float = 0
    has_tasks: bool = False
    has_plugins: bool = False
    is_scripted: bool = False
    script: list[Any] = field(default_factory=list)
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.set_state("PENDING")

    @property
    def is_final(self) -> bool:
        """Whether the row will not change any more."""
        return self.state in _FINAL

    def set_state(self, state: str) -> None:
        """Take over a state that the persistence agent reports; an empty phase is written as unspecified."""
        if self.state == "CANCELING" and state in ("PENDING", "RUNNING"):
            state = "CANCELING"
        if not self.state_history or self.state_history[-1].get("state", "") != state:
            self.state_history.append(without_zero_values({"update_time": timestamp(time.time()), "state": state}))
        self.state = state
        if self.is_final and not self.finished:
            self.finished = time.time()

    def next_of_script(self) -> None:
        """Show the next scripted entry; the last one stays."""
        if not self.script:
            return
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        entry = entry if isinstance(entry, Mapping) else {"state": entry}
        self.set_state(entry["state"])
        self.outputs = entry.get("outputs", {})
        if not entry["state"]:
            return  # a workflow that Argo has not looked at has neither a phase nor nodes
        self.nodes = self.workflow.make_nodes(
            entry.get("steps", ()),
            state=entry["state"],
            cached=entry.get("cached", ()),
            never=entry.get("never", ()),
        )

    def sync(self) -> None:
        """Do what the persistence agent does: take over how the workflow is doing."""
        if len(self.state_history) == 1:
            # What Argo has not looked at has no phase, and that is told as no state.
            self.state_history.append({"update_time": timestamp(self.created)})
        if self.is_scripted or self.is_final:
            return
        workflow = self.workflow
        if workflow.process is None and not workflow.is_stopped:
            return
        state = workflow.state
        self.nodes = workflow.nodes() or self.nodes
        if state != self.state:
            self.set_state(state)

    def keys(self) -> dict[str, str]:
        """Return what a list can be filtered and sorted by."""
        return {
            "id": self.run_id,
            "run_id": self.run_id,
            "display_name": self.display_name,
            "created_at": timestamp(self.created),
            "finished_at": timestamp(self.finished),
            "description": self.description,
            "storage_state": self.storage_state,
            "state": self.state,
        }

    def document(self, *, is_full: bool = False) -> dict[str, Any]:
        """Return the row as the API shows it.

        :param is_full: whether it was asked for with ``view=FULL``, which servers before 3.0 do not know.
        """
        # Where the pipeline itself is shown, the name of its version is not.
        shows_pipeline = is_full and self.has_tasks
        return without_zero_values(
            {
                "experiment_id": self.experiment_id,
                "run_id": self.run_id,
                "display_name": self.display_name,
                "storage_state": self.storage_state,
                "description": self.description,
                "pipeline_version_reference": {} if shows_pipeline else self.reference,
                "pipeline_spec": self.pipeline_spec,
                "runtime_config": self.runtime_config,
                "service_account": self.service_account,
                "created_at": timestamp(self.created),
                "scheduled_at": timestamp(self.created),
                "finished_at": timestamp(self.finished),
                "state": self.state,
                "state_history": self.state_history,
                "plugins_output": _PLUGIN_FAILED if self.has_plugins else {},
            }
            | (self._tasks(is_full) if self.has_tasks else self._details())
        )

    def _details(self) -> dict[str, Any]:
        return {"run_details": without_zero_values({"task_details": [self._row(node) for node in self.nodes]})}

    def _row(self, node: Node) -> dict[str, Any]:
        # Neither the pod's name nor an error is ever filled in, and a row's own id is not its node's.
        begins = without_zero_values({"update_time": timestamp(node.started), "state": node.first_state})
        ends = {"update_time": timestamp(node.ended), "state": node.state}
        return without_zero_values(
            {
                "run_id": self.run_id,
                "task_id": str(uuid4()),
                "display_name": node.name,
                "create_time": timestamp(self.created),
                "start_time": timestamp(node.started),
                "end_time": timestamp(node.ended),
                "state": node.state,
                "state_history": [begins, ends] if node.ended and node.state else [begins],
                "child_tasks": [{"pod_name": child} for child in node.children],
            }
        )

    def _tasks(self, is_full: bool) -> dict[str, Any]:
        is_stopped = self.workflow.is_stopped
        tasks = tasks_of(
            self.nodes,
            run_id=self.run_id,
            run_name=self.display_name,
            template=self.workflow.template,
            pipeline=self.workflow.documents[0]["pipelineInfo"]["name"],
            is_stopped=is_stopped,
            outputs=self.outputs,
        )
        shown = {"tasks": tasks, "pipeline_spec": self.workflow.documents[0]} if is_full else {}
        return {"task_count": len(tasks)} | shown
