"""What differs between kinds of model. The steps of a release ask the kind of a candidate, and nothing else of it.

Whoever adds a kind writes its document (:mod:`include.contracts.kinds`) and a class with the methods of :class:`Kind`,
and names both in the tables; no step of a release changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from include.contracts.candidate import Candidate
from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from model_releases.kinds.kind import Kind
from model_releases.kinds.kubeflow_model import KubeflowModel
from model_releases.kinds.text_classifier import TextClassifier

__all__ = ["KINDS", "Kind", "kind_of"]

#: Class of the document -> kind of the model.
KINDS: Mapping[type[Candidate], Callable[[Any], Kind]] = {
    TextClassifierCandidate: TextClassifier,
    KubeflowModelCandidate: KubeflowModel,
}


def kind_of(candidate: Candidate) -> Kind:
    """Return the candidate as its kind sees it."""
    return KINDS[type(candidate)](candidate)
