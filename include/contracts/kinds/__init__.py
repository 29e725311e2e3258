"""The kinds of model that are released, as far as their documents go."""

from __future__ import annotations

from collections.abc import Mapping

from include.contracts.candidate import Candidate
from include.contracts.documents import DocumentError, loads
from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.text_classifier import TextClassifierCandidate

#: What a ``candidate.json`` that names no kind is of: so were all of them once.
TEXT_CLASSIFIER = "text-classifier"

#: What a pipeline of anybody's has made, served by KServe.
KUBEFLOW_MODEL = "kubeflow-model"

CANDIDATES: Mapping[str, type[Candidate]] = {
    TEXT_CLASSIFIER: TextClassifierCandidate,
    KUBEFLOW_MODEL: KubeflowModelCandidate,
}


def parse_candidate(text: str, *, where: str) -> Candidate:
    """Return what a ``candidate.json`` says, of whichever kind of model it speaks.

    :param where: its URI, for the error message.
    :raises DocumentError: when it is not JSON, or not what its kind should be.
    """
    document = loads(text, where=where)
    kind = document.get("kind", TEXT_CLASSIFIER) if isinstance(document, dict) else TEXT_CLASSIFIER
    candidate = CANDIDATES.get(kind) if isinstance(kind, str) else None
    if candidate is None:
        raise DocumentError(
            f"{where} is not a valid {Candidate.file}: kind is none of {', '.join(sorted(CANDIDATES))}."
        )
    return candidate.read(document, where=where)
