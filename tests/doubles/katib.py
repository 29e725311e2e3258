"""Katib on the double of a cluster: CRDs, the validating webhook, and controllers of Experiments and Trials.

What is odd about it is odd about Katib 0.19 (``pkg/webhook/v1beta1/experiment``, ``pkg/controller.v1beta1``):

- an Experiment in a namespace without Katib's label is refused with 400; so is one whose counts do not fit together, or
  whose template names a parameter that is none;
- both kinds have a finalizer of the controller's own, so that a deleted one is there for a moment more;
- conditions are never taken away: ``Running`` turns False when another comes;
- ``MetricsUnavailable`` counts as failed, and as many failed Trials as ``maxFailedTrialCount`` fail the Experiment;
- the observation has min, max and latest as text, and comes when the Job is over.

What it does not do: suggestions (a test or a rule proposes), pods (a test says how a Trial ends).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.resources import JOBS, NAMESPACES, Resource
from tests.doubles.kubernetes.store import Object

GROUP = "kubeflow.org"
EXPERIMENTS = Resource(
    group=GROUP, version="v1beta1", plural="experiments", kind="Experiment", has_status=True, custom=True
)
TRIALS = Resource(group=GROUP, version="v1beta1", plural="trials", kind="Trial", has_status=True, custom=True)

INJECTION = "katib.kubeflow.org/metrics-collector-injection"
_OF = "katib.kubeflow.org/experiment"
_FINALIZER, _TRIAL_FINALIZER = "update-prometheus-metrics", "clean-metrics-in-db"

#: Condition -> reason and message.
_SAID = {
    "Created": ("TrialCreated", "Trial is created"),
    "Running": ("TrialRunning", "Trial is running"),
    "Succeeded": ("TrialSucceeded", "Trial has succeeded"),
    "Failed": ("TrialFailed", "Trial has failed"),
    "Killed": ("TrialKilled", "Trial is killed"),
    "EarlyStopped": ("TrialEarlyStopped", "Trial is early stopped"),
    "MetricsUnavailable": ("MetricsUnavailable", "Metrics are not available"),
}
_COUNTED = {
    "Succeeded": "trialsSucceeded",
    "Failed": "trialsFailed",
    "Killed": "trialsKilled",
    "EarlyStopped": "trialsEarlyStopped",
    "MetricsUnavailable": "trialMetricsUnavailable",
    "Running": "trialsRunning",
    "Created": "trialsPending",
}
_OVER = ("Killed", "Failed", "MetricsUnavailable", "EarlyStopped", "Succeeded")


@dataclass(frozen=True)
class Ending:
    """How a Trial ends.

    :param condition: the last one; ``Running``: it does not end.
    :param values: of the objective, after each epoch.
    :param job: reason and message of its Job.
    """

    condition: str = "Succeeded"
    values: tuple[float, ...] = ()
    job: tuple[str, str] = ("", "")


#: Name and settings of a Trial, as text -> how it ends.
Trains = Callable[[str, dict[str, str]], Ending]


@dataclass
class Katib:
    """Katib, installed in a cluster whose tests' namespace has its label.

    :param trains: says how Trials end.
    :ivar created: every Experiment that was ever made.
    :ivar holds_deleted: whether what is deleted keeps its finalizer, as while the controller is away.
    """

    cluster: Cluster
    trains: Trains
    created: list[Object] = field(default_factory=list)
    holds_deleted: bool = False

    def __post_init__(self) -> None:
        self._store = self.cluster.store
        self._store.resources += [EXPERIMENTS, TRIALS]
        self._store.admissions.append(self._admit)
        self.cluster.controllers.append(self._reconcile)
        self.label({INJECTION: "enabled"})

    def label(self, labels: Mapping[str, str]) -> None:
        """Give the tests' namespace these labels, and no others."""
        self._store.change(
            NAMESPACES, "", self.cluster.namespace, lambda entry: entry["metadata"].update(labels=dict(labels))
        )

    def experiments(self) -> list[Object]:
        return self._store.entries(EXPERIMENTS, self.cluster.namespace)

    def trials(self) -> list[Object]:
        return self._store.entries(TRIALS, self.cluster.namespace, by_age=True)

    def jobs(self) -> list[Object]:
        """Return the Jobs of Trials that are under way or were retained."""
        return self._store.entries(JOBS, self.cluster.namespace, by_age=True)

    # Webhook

    def _admit(self, resource: Resource, new: Object, old: Object | None) -> None:
        if resource != EXPERIMENTS or old is not None:
            return
        space = new["metadata"]["namespace"]
        labels = self._store.get(NAMESPACES, "", space)["metadata"].get("labels") or {}
        why = _problem(new)
        if labels.get(INJECTION) != "enabled":
            why = f'Cannot create the Experiment "{new["metadata"]["name"]}" in namespace "{space}": '
            why += f'the namespace lacks label "{INJECTION}: enabled"'
        if why:
            name = "validator.experiment.katib.kubeflow.org"
            raise ApiError(400, "BadRequest", f'admission webhook "{name}" denied the request: {why}')

    # Controllers

    def _reconcile(self) -> None:
        for experiment in self._store.entries(EXPERIMENTS):
            if not self._keeps_finalizer(EXPERIMENTS, experiment, _FINALIZER):
                self._reconcile_experiment(experiment)
        for trial in self._store.entries(TRIALS):
            if not self._keeps_finalizer(TRIALS, trial, _TRIAL_FINALIZER):
                self._reconcile_trial(trial)

    def _keeps_finalizer(self, resource: Resource, entry: Object, name: str) -> bool:
        """Tell whether there was something to do about it, and nothing else is to be done now."""
        metadata = entry["metadata"]
        has, is_going = name in (metadata.get("finalizers") or []), "deletionTimestamp" in metadata
        if has and not is_going:
            return False
        if not (is_going and self.holds_deleted):
            kept = [] if is_going else [name]
            self._store.change(
                resource, metadata["namespace"], metadata["name"], lambda e: e["metadata"].update(finalizers=kept)
            )
        return True

    def _reconcile_experiment(self, experiment: Object) -> None:
        spec, name, space = experiment["spec"], experiment["metadata"]["name"], experiment["metadata"]["namespace"]
        status = experiment.setdefault("status", {})
        if not _true(status):
            self.created.append(experiment)
            _mark(status, "Created", "ExperimentCreated", "Experiment is created")
            status["startTime"] = timestamp()
            return self._put(EXPERIMENTS, experiment)
        if {"Succeeded", "Failed"} & _true(status):
            return None
        trials = [each for each in self._store.entries(TRIALS, space) if each["metadata"]["labels"][_OF] == name]
        states = [_state(each) for each in trials]
        status.update({key: states.count(state) for state, key in _COUNTED.items()}, trials=len(trials))
        over, failed = [s for s in states if s in _OVER], [s for s in states if s in ("Failed", "MetricsUnavailable")]
        self._optimal(spec, status, trials)
        if failed and len(failed) >= spec.get("maxFailedTrialCount", 10**9):
            message = "Experiment has failed because max failed count has reached"
            _mark(status, "Failed", "ExperimentFailed", message)
        elif len(over) >= spec.get("maxTrialCount", 10**9):
            message = "Experiment has succeeded because max trial count has reached"
            _mark(status, "Succeeded", "ExperimentMaxTrialsReached", message)
        else:
            _mark(status, "Running", "ExperimentRunning", "Experiment is running")
            wanted = min(spec.get("parallelTrialCount", 3), spec["maxTrialCount"] - len(over))
            for number in range(len(trials), len(trials) + wanted - (len(trials) - len(over))):
                self._add_trial(experiment, number)
        return self._put(EXPERIMENTS, experiment)

    def _optimal(self, spec: Object, status: Object, trials: list[Object]) -> None:
        metric, best = spec["objective"]["objectiveMetricName"], max
        best = max if spec["objective"]["type"] == "maximize" else min
        told = [each for each in trials if each.get("status", {}).get("observation")]
        if told:
            found = best(told, key=lambda each: float(each["status"]["observation"]["metrics"][0]["latest"]))
            status["currentOptimalTrial"] = {
                "bestTrialName": found["metadata"]["name"],
                "parameterAssignments": found["spec"]["parameterAssignments"],
                "observation": found["status"]["observation"],
            }
            assert found["status"]["observation"]["metrics"][0]["name"] == metric

    def _add_trial(self, experiment: Object, number: int) -> None:
        spec, owner = experiment["spec"], experiment["metadata"]
        assigned = [{"name": e["name"], "value": _proposed(e["feasibleSpace"], number)} for e in spec["parameters"]]
        name = f"{owner['name']}-{secrets.token_hex(4)}"
        reference = {"apiVersion": f"{GROUP}/v1beta1", "kind": "Experiment", "name": owner["name"], "uid": owner["uid"]}
        trial = {
            "metadata": {"name": name, "labels": {_OF: owner["name"]}, "ownerReferences": [reference]},
            "spec": {"objective": spec["objective"], "parameterAssignments": assigned},
        }
        made = self._store.create(TRIALS, trial, owner["namespace"])
        values = {each["name"]: each["value"] for each in assigned}
        text = json.dumps(spec["trialTemplate"]["trialSpec"])
        for each in spec["trialTemplate"]["trialParameters"]:
            value = name if each["reference"] == "${trialSpec.Name}" else values[each["reference"]]
            text = text.replace(f"${{trialParameters.{each['name']}}}", value)
        of_trial = {"apiVersion": f"{GROUP}/v1beta1", "kind": "Trial", "name": name, "uid": made["metadata"]["uid"]}
        job = {**json.loads(text), "metadata": {"name": name, "ownerReferences": [of_trial]}}
        self._store.create(JOBS, job, owner["namespace"])

    def _reconcile_trial(self, trial: Object) -> None:
        status, state = trial.setdefault("status", {}), _state(trial)
        if state in _OVER:
            return
        following = {"": "Created", "Created": "Running"}.get(state)
        ending = Ending()
        if following is None:
            values = {each["name"]: each["value"] for each in trial["spec"]["parameterAssignments"]}
            ending = self.trains(trial["metadata"]["name"], values)
            following = ending.condition
        if following == state:
            return
        reason, message = _SAID[following]
        if any(ending.job):
            reason, message = f"{reason}. Job reason: {ending.job[0]}", f"{message}. Job message: {ending.job[1]}"
        _mark(status, following, reason, message)
        if following == "Created":
            status["startTime"] = timestamp()
        if following in _OVER:
            status["completionTime"] = timestamp()
            if ending.values:
                metric = trial["spec"]["objective"]["objectiveMetricName"]
                low, high, last = (repr(f) for f in (min(ending.values), max(ending.values), ending.values[-1]))
                status["observation"] = {"metrics": [{"name": metric, "min": low, "max": high, "latest": last}]}
        self._put(TRIALS, trial)

    def _put(self, resource: Resource, entry: Object) -> None:
        metadata = entry["metadata"]
        self._store.change(
            resource,
            metadata["namespace"],
            metadata["name"],
            lambda e: e.update(status=entry["status"]),
            subresource="status",
        )


def _true(status: Object) -> set[str]:
    return {each["type"] for each in status.get("conditions") or [] if each["status"] == "True"}


def _state(trial: Object) -> str:
    true = _true(trial.get("status") or {})
    return next((each for each in (*_OVER, "Running", "Created") if each in true), "")


def _mark(status: Object, condition: str, reason: str, message: str) -> None:
    conditions = status.setdefault("conditions", [])
    if condition not in ("Created", "Running"):
        for each in conditions:
            if each["type"] == "Running":
                each["status"] = "False"
    if condition not in _true(status):
        now = timestamp()
        said = {"type": condition, "status": "True", "reason": reason, "message": message}
        conditions.append(said | {"lastUpdateTime": now, "lastTransitionTime": now})


def _proposed(space: Mapping[str, Any], number: int) -> str:
    if listed := space.get("list"):
        return str(listed[number % len(listed)])
    low, high = float(space["min"]), float(space["max"])
    return repr(low + (high - low) * ((number * 37) % 100) / 100)


def _problem(experiment: Object) -> str:
    spec, template = experiment["spec"], experiment["spec"]["trialTemplate"]
    if not re.match(r"^[a-z]([-a-z0-9]*[a-z0-9])?", experiment["metadata"]["name"]):
        return "metadata.name: Invalid value: name must consist of lower case alphanumeric characters or '-'"
    for count in ("parallelTrialCount", "maxFailedTrialCount"):
        if spec[count] > spec["maxTrialCount"]:
            return f"spec.{count}: Invalid value: {spec[count]}: should be less than or equal to spec.maxTrialCount"
    if spec.get("earlyStopping", {}).get("algorithmName", "medianstop") != "medianstop":
        return "spec.earlyStopping.algorithmName: Invalid value: unable to get EarlyStopping config data for algorithm"
    known, text = {each["name"] for each in spec["parameters"]}, json.dumps(template["trialSpec"])
    for each in template["trialParameters"]:
        if not each["reference"].startswith("${trialSpec.") and each["reference"] not in known:
            return f"spec.trialTemplate.trialParameters: parameter reference {each['reference']} does not exist"
        if f"${{trialParameters.{each['name']}}}" not in text:
            return f"spec.trialTemplate.trialParameters: parameter name: {each['name']} not found in spec.trialTemplate"
        text = text.replace(f"${{trialParameters.{each['name']}}}", "")
    if re.search(r"\$\{trialParameters\..+?\}", text):
        return "spec.trialTemplate: Invalid value: parameters in spec.trialTemplate not found in spec.trialParameters"
    if template["trialSpec"].get("metadata", {}).get("name"):
        return "spec.trialTemplate: metadata.name and metadata.namespace in spec.trialTemplate must be omitted"
    return ""
