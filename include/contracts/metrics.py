"""The main figures of an evaluation: what they are called, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from include.contracts.registry_tags import MAIN_METRICS_FACT


class Metric(NamedTuple):
    """One figure.

    :param name: key in ``candidate.json``, in MLflow and in the registry.
    :param title: what people read.
    :param higher_is_better: whether more of it is better.
    """

    name: str
    title: str
    higher_is_better: bool


#: Of a text classifier, in the order in which people read them.
MAIN_METRICS = (
    Metric("macro_f1", "macro F1", True),
    Metric("accuracy", "accuracy", True),
    Metric("log_loss", "log loss", False),
    Metric("expected_calibration_error", "calibration error", False),
)

_BETTER = {"higher": True, "lower": False}


def fact_of(metrics: Iterable[Metric]) -> str:
    """Return what the registry keeps of which metrics a release has: ``accuracy:higher,log_loss:lower``."""
    return ",".join(f"{metric.name}:{'higher' if metric.higher_is_better else 'lower'}" for metric in metrics)


def metrics_of(facts: Mapping[str, str]) -> Sequence[Metric]:
    """Return the metrics of a release, the main one first; those of a text classifier where nothing else is said.

    :param facts: of its record.
    """
    parts = (part.rpartition(":") for part in facts.get(MAIN_METRICS_FACT, "").split(","))
    found = [Metric(name, name, _BETTER[better]) for name, _, better in parts if name and better in _BETTER]
    return found or MAIN_METRICS
