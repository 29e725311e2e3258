"""The states of runs, deployments and releases, with the questions that callers ask of them."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """State of a pipeline run, named as Kubeflow Pipelines names them (``RuntimeState``)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    PAUSED = "PAUSED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """True when the run will not change any more."""
        return self in _TERMINAL_RUN_STATES

    @property
    def goes_on(self) -> bool:
        """True while the run may still get to its end: nobody has asked it to stop."""
        return not self.is_terminal and self is not RunState.CANCELING

    @property
    def is_successful(self) -> bool:
        """True when every step of the run succeeded."""
        return self is RunState.SUCCEEDED


_TERMINAL_RUN_STATES = frozenset({RunState.SUCCEEDED, RunState.SKIPPED, RunState.FAILED, RunState.CANCELED})


class DeploymentState(StrEnum):
    """State of one version of a model in the serving system."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"

    @property
    def is_terminal(self) -> bool:
        """True when waiting longer changes nothing."""
        return self is not DeploymentState.PENDING


#: States of Airflow's tasks that will do nothing more, unless a user says so.
TASK_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: Those of tasks with whose work nobody goes on; a cleared task goes on with it in its next try.
TASK_GIVEN_UP = TASK_OVER - {"success"}
