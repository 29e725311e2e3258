"""The main figures of an evaluation: what they are called, and which way is better."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One figure.

    :param name: key in ``candidate.json``, in MLflow and in the registry.
    :param title: what people read.
    :param higher_is_better: whether more of it is better.
    """

    name: str
    title: str
    higher_is_better: bool


#: In the order in which people read them.
MAIN_METRICS = (
    Metric("macro_f1", "macro F1", True),
    Metric("accuracy", "accuracy", True),
    Metric("log_loss", "log loss", False),
    Metric("expected_calibration_error", "calibration error", False),
)
