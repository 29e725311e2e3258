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


class ReleaseState(StrEnum):
    """State of one version of a model in the registry. The values are tag values there: never rename them."""

    REGISTERED = "registered"
    CANDIDATE = "candidate"
    LIVE = "live"
    RETIRED = "retired"
    REJECTED = "rejected"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"

    @property
    def has_been_live(self) -> bool:
        """True for what users reach or have reached: it was tested on the endpoint once, and can be put back."""
        return self in _STATES_OF_WHAT_WAS_LIVE


_STATES_OF_WHAT_WAS_LIVE = frozenset({ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.ROLLED_BACK})
