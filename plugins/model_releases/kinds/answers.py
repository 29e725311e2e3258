"""The answers of a version, whatever kind of model it is: when there are any, and who has given them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from kubeflow_provider.exceptions import ServiceUnavailableError
from kubeflow_provider.services import Answer
from model_releases.kinds.kind import Predict

_PAUSE_SECONDS = 0.5


def answering_version(answer: Answer) -> str:
    """Return the version that has answered, empty where nobody says.

    The server's own word counts for most, then ``model_version`` of the Open Inference Protocol, then what this
    project's text classifiers say with each prediction.
    """
    if answer.version:
        return answer.version
    if not isinstance(answer.body, Mapping):
        return ""
    if version := answer.body.get("model_version"):
        return str(version)
    try:
        return str(answer.body["predictions"][0]["version"])
    except (KeyError, IndexError, TypeError):
        return ""


def first_answer(predict: Predict, body: bytes, patience_seconds: float) -> Answer:
    """Ask until the version is reachable: routes to a new deployment take a moment."""
    deadline = time.monotonic() + patience_seconds
    while True:
        is_late = time.monotonic() >= deadline
        try:
            answer = predict(body)
        except ServiceUnavailableError:
            if is_late:
                raise
        else:
            if is_late or answer.status_code not in (404, 503):
                return answer
        time.sleep(_PAUSE_SECONDS)
