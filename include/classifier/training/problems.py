"""Why a training ends without a model."""

from __future__ import annotations


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a finite number: what follows would be noise."""


class HardwareError(ValueError):
    """What is asked for cannot be computed here; the message says what can."""


class FailedBeforeError(RuntimeError):
    """A try before this one has found that the training comes to nothing."""


#: What no new try of the same training on the same machine ends otherwise.
FINAL = (TrainingDivergedError, HardwareError)
