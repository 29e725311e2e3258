"""Canaries of Standard mode (``spec.canary``): which KServe has them, and what becomes of which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.capabilities import Capabilities
from kubeflow_provider.hooks._kserve.modes import Mode

#: The first that gives them their part of the traffic; 0.20 has the field.
_CARRIES_TRAFFIC = (0, 21, 0)
_NOT_IN_CANARIES = ("maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling", "workerSpec")
_ALLOW_READING = "Allow that (docs/operators/inference-services.md#rights)"


def check_canaries(service: Mapping[str, Any], capabilities: Capabilities, mode: Mode | None) -> None:
    """Find out whether the canaries of an InferenceService would come up, and get their part of the traffic.

    :param mode: of the service; ``None`` where it is not known.
    :raises InvalidRequestError: naming everything that stands in their way.
    """
    canaries = service["spec"].get("canary") or []
    if not canaries:
        return
    if problems := [*_problems_of_server(canaries, capabilities, mode), *_problems_of_canaries(service["spec"])]:
        name = service["metadata"]["name"]
        raise InvalidRequestError(f"InferenceService {name} cannot have these canaries: {'; '.join(problems)}.")


def _problems_of_server(
    canaries: list[Mapping[str, Any]], capabilities: Capabilities, mode: Mode | None
) -> Iterator[str]:
    if not capabilities.schema:
        yield f"whether this KServe has `spec.canary` is not known, because its CRD must not be read. {_ALLOW_READING}"
    elif not capabilities.knows("spec.canary"):
        yield f"`spec.canary` came with KServe 0.20, and this is {capabilities}"
        return
    if mode is not Mode.STANDARD:
        yield (
            f"they are for Standard mode, and this service is in {mode or 'an unknown'} mode; in Knative mode "
            "`canary_percent` gives a new predictor a part of the traffic"
        )
    if not any(item.get("trafficPercent") for item in canaries):
        return
    if capabilities.gateway_api is False:
        yield "only routes of the Gateway API give canaries traffic, and this KServe makes an Ingress"
    if capabilities.version is None:
        why = "because its ConfigMap must not be read"
        yield f"whether this KServe gives canaries traffic is not known, {why}. {_ALLOW_READING}"
    elif capabilities.version < _CARRIES_TRAFFIC:
        yield f"{capabilities} gives canaries no traffic; 0.21 does. `trafficPercent: 0` brings one up all the same"


def _problems_of_canaries(spec: Mapping[str, Any]) -> Iterator[str]:
    stable, canaries = spec["predictor"], spec["canary"]
    predictors = [item.get("predictor") or {} for item in canaries]
    names = [stable.get("name"), *(predictor.get("name") for predictor in predictors)]
    if not all(names[1:]) or len(set(names)) < len(names):
        yield "each needs a `name` of its own in its predictor, which is not the stable one's"
    if sum(item.get("trafficPercent") or 0 for item in canaries) > 100:
        yield "their `trafficPercent` are more than 100 in all"
    for item, predictor in zip(canaries, predictors, strict=True):
        name, least = predictor.get("name"), predictor.get("minReplicas")
        if "trafficPercent" not in item:
            yield f"{name} has no `trafficPercent`"
        if found := [field for field in _NOT_IN_CANARIES if field in predictor]:
            yield f"{name} must not have {', '.join(found)}"
        if not item.get("trafficPercent") and not least:
            yield f"{name} has no traffic and no `minReplicas`, so that it would never have a pod"
        if (least or 0) > (stable.get("minReplicas") or 1):
            yield f"{name} has more `minReplicas` than the stable predictor"
