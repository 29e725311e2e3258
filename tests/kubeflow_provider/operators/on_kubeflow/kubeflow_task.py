"""A task whose pipelines run on a Kubeflow that follows a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubeflow_provider.hooks import kubeflow_pipelines
from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.tries import Tries

RUNS = "/apis/v2beta1/runs"
UI = "https://kubeflow.example.com/pipeline"
RUNNING = {"state": "RUNNING", "steps": [("record", "SUCCEEDED"), ("finish", "RUNNING")]}
FAILED = {"state": "FAILED", "steps": [("record", "SUCCEEDED"), ("finish", "FAILED")]}


class Task(Tries):
    """Its operator runs a pipeline on Kubeflow; each try is a process of its own."""

    def __init__(self, pipeline_file: str) -> None:
        super().__init__()
        self.pipeline_file = pipeline_file

    @property
    def run_id(self) -> str:
        return str(self.store[PIPELINE_RUN_KEY]["run_id"])

    def operator(self, **arguments: Any) -> RunPipelineOperator:
        kubeflow_pipelines._TERMINATED.clear()  # a new process remembers nothing
        defaults: dict[str, Any] = {
            "task_id": "train",
            "pipeline_file": self.pipeline_file,
            "parameters": {"file": "somewhere"},
            "display_name": "reviews 1",
            "experiment": "reviews",
            "deferrable": False,
            "poll_interval_seconds": 0.01,
            "max_poll_errors": 3,
        }
        return RunPipelineOperator(**defaults | arguments)

    def run(self, **arguments: Any) -> str:
        return self.operator(**arguments).execute(self.context())


def trained(server: KfpServer) -> int:
    return len(server.workflows)


def before_waiting(operator: RunPipelineOperator, act: Callable[[], Any]) -> None:
    """Have something happen once the run exists and before it is asked about."""
    go_on = operator._go_on

    def act_and_go_on(*arguments: Any) -> str:
        act()
        return go_on(*arguments)

    operator._go_on = act_and_go_on  # type: ignore[method-assign]
