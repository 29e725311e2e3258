"""The states of a version of a model."""

from __future__ import annotations

from enum import StrEnum


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
