"""The last word on readiness: a prediction through the door that users take."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kubeflow_provider.exceptions import OutageError, ServiceUnavailableError
from kubeflow_provider.hooks._kserve.observation import Observation, find, parse_time
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.readiness import Verdict
from kubeflow_provider.hooks._kserve.record import VERSION_LABEL, Record, given_protocol
from kubeflow_provider.hooks._kserve.releases.answering import told_version
from kubeflow_provider.open_inference import as_v2_request
from kubeflow_provider.services import Answer
from kubeflow_provider.states import DeploymentState

_BODY = json.dumps({"instances": ["Is the model there?"]}).encode()
_NOT_YET = (502, 503, 504)


def prove(seen: Observation, patience: Patience, predict: Callable[[bytes], Answer]) -> Verdict:
    """Ask a service that looks ready.

    Gateways learn of a service some seconds after it is ready, and say 404 or 503 until then. Whether an answer is
    good is not judged here: that is the smoke test's task.
    """
    obstacle = _obstacle(seen.service, predict)
    if obstacle is None:
        return Verdict(state=DeploymentState.READY)
    if not seen.own_pods():
        # It sleeps, and a question wakes it: how long that takes is for its first pod to say.
        return Verdict(state=DeploymentState.PENDING, reason=f"it has scaled to zero and is woken: {obstacle}")
    waited = min((seen.seconds_since(moment) for moment in _ready_since(seen)), default=0.0)
    if waited < patience.route_seconds:
        return Verdict(state=DeploymentState.PENDING, reason=f"its pods are ready, but {obstacle}")
    reason = f"its pods have been ready for {waited:.0f} s, but {obstacle}"
    return Verdict(state=DeploymentState.FAILED, reason=reason)


def answers(seen: Observation, predict: Callable[[bytes], Answer]) -> bool:
    """Tell whether a service answers with its version, and only with that, however much of it is missing."""
    versions = {(pod["metadata"].get("labels") or {}).get(VERSION_LABEL) for pod in seen.pods}
    version = Record.of(seen.service).version
    return versions <= {version} and _obstacle(seen.service, predict) is None


def _obstacle(service: dict[str, Any], predict: Callable[[bytes], Answer]) -> str | None:
    version = Record.of(service).version
    try:
        answer = predict(as_v2_request(_BODY) if given_protocol(service) == "v2" else _BODY)
    except OutageError:  # of what leads to the service: it says nothing about it
        raise
    except ServiceUnavailableError as error:
        return f"a prediction got no answer: {error}"
    if answer.status_code in _NOT_YET or (answer.status_code == 404 and not isinstance(answer.body, dict)):
        return f"a prediction was answered with HTTP {answer.status_code}"
    answered = told_version(service, answer)
    return None if answered in (None, version) else f"a prediction was answered by version {answered}"


def _ready_since(seen: Observation) -> list[Any]:
    pods = (find((pod.get("status") or {}).get("conditions"), "Ready") for pod in seen.own_pods())
    stamps = [condition.get("lastTransitionTime") for condition in (*pods, seen.condition("Ready"))]
    return [parse_time(stamp) for stamp in stamps if stamp]
