"""Whether what stands in an InferenceService's spec is ready: judged by revisions, deployments and pods.

The condition ``Ready`` alone says nothing: it stays True for the old version while the new one crashes, and turns to
Unknown while the old one serves. What KServe writes about the model is kept after it has healed, and is missing for
images, volumes, secrets and quotas. So the condition is only asked what no other object knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeflow_provider.hooks._kserve.modes import Mode
from kubeflow_provider.hooks._kserve.observation import REVISION_LABEL, Observation, find, parse_time, time_of
from kubeflow_provider.hooks._kserve.pod_troubles import Patience, Trouble, pod_troubles
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]

#: Annotation that takes the pods of a service away, and keeps the service.
_STOP = "serving.kserve.io/stop"

_HOPELESS_SPECS = ("NoSupportingRuntime", "RuntimeDisabled", "InvalidPredictorSpec")
#: Says only what the conditions say.
_EMPTY_EVENTS = ("InferenceServiceNotReady",)
_HOPELESS_EVENTS = ("ServerlessModeRejected",)
_REVISION_CONDITIONS = ("LatestDeploymentReady", "PredictorConfigurationReady", "PredictorReady")
_HOPELESS_REVISIONS = ("Unable to fetch image", "Initial scale was never achieved", "ProgressDeadlineExceeded")
#: What a condition says while pods are on their way, of a new version as after the drain of a node; how long that may
#: take is for whoever waits. Everything else that is False for long is hopeless.
_ON_THE_WAY = (
    "MinimumReplicasUnavailable",
    "ReplicaSetUpdated",
    "Deploying",
    "RevisionMissing",
    "ConfigurationMissing",
)
#: KServe writes down how a container ended, and not by whom: these may be the cluster's, which its pods tell.
_ENDED_FROM_OUTSIDE = (137, 143)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of a version.

    :param trouble: what stands in its way, where something does.
    """

    state: DeploymentState
    reason: str | None = None
    trouble: Trouble | None = None


def judge(seen: Observation, patience: Patience) -> Verdict:
    """Say whether the version in the spec has become what the spec says, share of the traffic included."""
    obstacle = _obstacle(seen, patience)
    if obstacle is None:
        return Verdict(state=DeploymentState.READY)
    troubles = list(_troubles(seen, patience))
    hopeless = next((trouble for trouble in troubles if trouble.is_hopeless), None)
    if hopeless:
        return Verdict(state=DeploymentState.FAILED, reason=hopeless.text, trouble=hopeless)
    reason = troubles[0].text if troubles else obstacle
    return Verdict(state=DeploymentState.PENDING, reason=reason, trouble=troubles[0] if troubles else None)


def _obstacle(seen: Observation, patience: Patience) -> str | None:
    """Return why the version is not ready, ``None`` when it is."""
    if (seen.service["metadata"].get("annotations") or {}).get(_STOP) == "true":
        return f"it is stopped (annotation {_STOP})"
    if seen.mode is None:
        return "KServe has not looked at it yet"
    if obstacle := _unseen(seen, patience):
        return obstacle
    obstacle = _knative_obstacle(seen) if seen.mode is Mode.KNATIVE else _standard_obstacle(seen)
    if obstacle:
        return obstacle
    pods = [pod for pod in seen.own_pods() if (pod.get("status") or {}).get("phase") != "Failed"]
    if not any(_is_ready(pod) for pod in pods) and (pods or seen.service["spec"]["predictor"].get("minReplicas", 1)):
        return f"none of its {len(pods)} pod(s) is ready"
    return _condition_obstacle(seen)


def _unseen(seen: Observation, patience: Patience) -> str | None:
    """Say that KServe may not have seen the spec as it is, where nothing but time can tell."""
    marks = seen.marks
    # A revision that sleeps has no pods whose marks would tell.
    is_certain = marks.is_certain and (seen.mode is Mode.STANDARD or seen.own_pods() or marks.replaces)
    age = seen.seconds_since(marks.since)
    if is_certain or marks.since is None or age >= patience.settle_seconds:
        return None
    return f"it was changed {max(age, 0.0):.0f} s ago, and KServe may not have seen that yet"


def _condition_obstacle(seen: Observation) -> str | None:
    for part in ("transformer", "explainer"):
        condition = seen.condition(f"{part.capitalize()}Ready")
        if seen.service["spec"].get(part) and condition.get("status") != "True":
            return f"its {part} is not ready: {_words(condition)}"
    if seen.condition("Ready").get("status") != "True":
        # While traffic is being split, Ready is about things that users do not see.
        ingress = seen.condition("IngressReady")
        if ingress.get("status") != "True":
            return f"its address is not ready: {_words(ingress)}"
    return None


def _words(condition: Object) -> str:
    return condition.get("message") or condition.get("reason") or "no word of it yet"


def _knative_obstacle(seen: Observation) -> str | None:
    part, marks = seen.component, seen.marks
    newest = part.get("latestCreatedRevision")
    if not newest or newest == marks.replaces:
        return "its revision has not been made yet"
    if part.get("latestReadyRevision") != newest:
        return f"revision {newest} is not ready yet"
    if wrong := [pod for pod in seen.pods if _revision(pod) == newest and not marks.are_on(pod)]:
        return f"revision {newest} still has pods of {marks.value_on(wrong[0])}"
    # Until the controller has followed, the item of the latest revision still names the one before.
    share = sum(item.get("percent") or 0 for item in part.get("traffic") or [] if item.get("revisionName") == newest)
    wanted = 100 if marks.percent is None or not part.get("latestRolledoutRevision") else marks.percent
    if part.get("latestRolledoutRevision") == newest and marks.percent is not None and share == 100:
        return None  # a first release gets everything, whatever part it is given
    return None if share == wanted else f"revision {newest} has {share} % of the traffic, not {wanted} % yet"


def _standard_obstacle(seen: Observation) -> str | None:
    """Look at the Deployment of each predictor; at all of them where no mark tells which is whose."""
    templates = {id(item): item["spec"]["template"] for item in seen.deployments}
    marks = seen.marks
    made_from = {marks.value_on(templates[id(item)]) for item in seen.deployments}
    if not seen.deployments or marks.values - made_from:
        return "its Deployment has not been changed yet"
    own = (item for item in seen.deployments if marks.are_on(templates[id(item)]))
    return next(filter(None, map(_rollout_obstacle, own)), None)


def _rollout_obstacle(deployment: Object) -> str | None:
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 1):
        return "its Deployment has not been looked at yet"
    updated, total, available = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated == total == available >= max(wanted, 1):
        return None
    return f"{updated} of {wanted} pod(s) are of this version, {total} run in all, {available} are available"


def _troubles(seen: Observation, patience: Patience) -> Iterator[Trouble]:
    """Yield what may be wrong, causes before their consequences."""
    of_pods = [trouble for pod in seen.own_pods() for trouble in pod_troubles(pod, seen, patience)]
    yield from of_pods
    is_late = seen.seconds_since(seen.marks.since) >= patience.grace_seconds
    yield from _refused_pods(seen, is_late=is_late)
    # They repeat what the pods say; why, and how long to wait, is known from there.
    yield from _model_status(seen, is_late=is_late and not of_pods)
    yield from _conditions(seen, is_late=is_late and not of_pods)
    yield from _service_events(seen, patience, is_late=is_late)


def _refused_pods(seen: Observation, *, is_late: bool) -> Iterator[Trouble]:
    """Pods that a quota or an admission rule keeps from coming into being."""
    for event in seen.events_of_parts():
        if event.get("reason") == "FailedCreate" and not seen.has_pods_since(event):
            yield Trouble(text=f"Its pods are refused: {event.get('message', '')}", is_hopeless=is_late)
    for deployment in seen.deployments:
        condition = find((deployment.get("status") or {}).get("conditions"), "ReplicaFailure")
        if condition.get("status") == "True":
            yield Trouble(text=f"Its pods are refused: {condition.get('message', '')}", is_hopeless=is_late)


def _model_status(seen: Observation, *, is_late: bool) -> Iterator[Trouble]:
    status = seen.status.get("modelStatus") or {}
    # KServe never clears this one: after the model has healed it still tells of the failure before.
    failure = status.get("lastFailureInfo") or {}
    reason, message = failure.get("reason", ""), failure.get("message", "")
    if status.get("transitionStatus") == "InvalidSpec":
        text = f"KServe cannot serve it ({reason}): {message}"
        yield Trouble(text=text, is_hopeless=is_late or reason in _HOPELESS_SPECS)
    elif status.get("transitionStatus") == "BlockedByFailedLoad":
        is_own = failure.get("exitCode") not in _ENDED_FROM_OUTSIDE
        yield Trouble(text=f"The model cannot be loaded ({reason}): {message}", is_hopeless=is_late and is_own)


def _conditions(seen: Observation, *, is_late: bool) -> Iterator[Trouble]:
    for deployment in seen.deployments:
        progress = find((deployment.get("status") or {}).get("conditions"), "Progressing")
        if progress.get("status") == "False":
            yield Trouble(text=f"Its Deployment gave up: {progress.get('message', '')}", is_hopeless=is_late)
    since = seen.marks.since
    for kind in _REVISION_CONDITIONS:
        condition = seen.condition(kind)
        changed_at = parse_time(condition.get("lastTransitionTime"))
        is_old = since is not None and changed_at is not None and changed_at < since
        if condition.get("status") == "False" and not is_old:
            reason = condition.get("reason", "")
            text = f"{kind} is False ({reason}): {condition.get('message', '')}"
            is_over = is_late and reason not in _ON_THE_WAY
            yield Trouble(text=text, is_hopeless=is_over or any(words in text for words in _HOPELESS_REVISIONS))


def _service_events(seen: Observation, patience: Patience, *, is_late: bool) -> Iterator[Trouble]:
    for event in seen.events_of(seen.service):
        reason = event.get("reason", "")
        if event.get("type") == "Warning" and reason not in _EMPTY_EVENTS and seen.is_news(event):
            text = f"KServe says ({reason}): {event.get('message', '')}"
            goes_on = reason == "InternalError" and seen.seconds_since(time_of(event)) < patience.grace_seconds
            yield Trouble(text=text, is_hopeless=reason in _HOPELESS_EVENTS or (is_late and goes_on))


def _is_ready(pod: Object) -> bool:
    return find((pod.get("status") or {}).get("conditions"), "Ready").get("status") == "True"


def _revision(pod: Object) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(REVISION_LABEL)
