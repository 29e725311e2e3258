"""The Katib Experiment of a search: what is asked for, as an object of ``kubeflow.org/v1beta1``."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from include.classifier.cluster import own_pod
from include.contracts.search.document import Settings
from include.contracts.search.settings import WHOLE, SearchConfig, Space, Values
from include.contracts.version import release_marks as marks

GROUP, VERSION = "kubeflow.org", "v1beta1"
EXPERIMENTS, TRIALS = "experiments", "trials"

#: Katib's own label on each Trial.
OF_EXPERIMENT = "katib.kubeflow.org/experiment"

#: Annotation: digest of what is searched, so that a search never follows the Experiment of another question.
QUESTION = "kubeflow-model-release/search-question"

CONTAINER = "training"
_MODULE = "include.classifier.search.katib.job"

#: A Job ends so long after the search's time, in seconds, whoever is left to end it.
_JOB_GRACE = 600

_OF_THE_CONTAINER = ("image", "imagePullPolicy", "envFrom", "resources", "securityContext")


def name_of(search_id: str, folder: str) -> str:
    """Return the Experiment's name: the same for each try of a search, another for each model."""
    return f"search-{search_id}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}"


def experiment(
    name: str,
    *,
    config: SearchConfig,
    space: Space,
    folder: str,
    question: str,
    pod: Mapping[str, Any],
    trials: int,
    failures: int,
    seconds: float,
) -> dict[str, Any]:
    """Return the Experiment.

    :param folder: URI of the search, where each trial finds its task and writes what Katib has no field for.
    :param question: digest of what is searched.
    :param pod: the step's own, which those of the trials are made after.
    :param trials: that are left of the budget.
    :param failures: so many failed trials make Katib call the whole Experiment failed.
    :param seconds: that are left of the budget.
    """
    highest = config.objective == "macro_f1"
    # Katib wraps the command in a shell of its own; what is one already is left as it is.
    command = [f"--{each.replace('_', '-')}=${{trialParameters.{each}}}" for each in space]
    line = shlex.join(["python", "-m", _MODULE, folder]) + " ${trialParameters.trial} " + " ".join(command)
    spec: dict[str, Any] = {
        "objective": {
            "type": "maximize" if highest else "minimize",
            "objectiveMetricName": config.objective,
            # After each epoch a trial says what it would be worth if that was the last.
            "metricStrategies": [{"name": config.objective, "value": "latest"}],
        },
        "algorithm": {
            "algorithmName": "tpe",
            "algorithmSettings": [{"name": "random_state", "value": str(config.seed)}],
        },
        "parameters": [{"name": name, **_parameter(name, values)} for name, values in space.items()],
        "maxTrialCount": trials,
        "parallelTrialCount": min(config.parallel, trials),
        "maxFailedTrialCount": min(failures, trials),
        "resumePolicy": "Never",
        "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
        "trialTemplate": {
            "primaryContainerName": CONTAINER,
            "trialParameters": [
                {"name": "trial", "reference": "${trialSpec.Name}"},
                *({"name": each, "reference": each} for each in space),
            ],
            "trialSpec": _job(pod, line, seconds),
        },
    }
    if config.early_stop == "median":
        # As Optuna's: the first epoch of a trial says little, and so do the first trials.
        settings = [{"name": "min_trials_required", "value": "4"}, {"name": "start_step", "value": "2"}]
        spec["earlyStopping"] = {"algorithmName": "medianstop", "algorithmSettings": settings}
    metadata = {
        "name": name,
        "labels": dict(marks.MANAGED_BY),
        "annotations": {QUESTION: question},
        "ownerReferences": own_pod.owners(pod),
    }
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Experiment", "metadata": metadata, "spec": spec}


def settings_of(assignments: Iterable[Mapping[str, Any]], space: Space) -> Settings:
    """Return the settings of a Trial.

    Katib's algorithms count steps from 0 and not from the lower bound, and some know no whole numbers: the trial and
    the search both take the nearest value that the space has.

    :param assignments: ``parameterAssignments``: name and value, both text.
    :raises ValueError: when one is missing, or no number.
    """
    found = {str(each.get("name")): each.get("value") for each in assignments}
    if missing := sorted(set(space) - set(found)):
        raise ValueError(f"no value for {', '.join(missing)}")
    return {name: _nearest(name, float(str(found[name])), values) for name, values in space.items()}


def _nearest(name: str, value: float, values: Values) -> int | float:
    if values.choices:
        return min(values.choices, key=lambda choice: abs(choice - value))
    assert values.low is not None
    assert values.high is not None
    value = min(max(value, values.low), values.high)
    step = values.step or (1 if name in WHOLE else None)
    if step:
        most = int((values.high - values.low) / step + 1e-9)
        value = values.low + min(round((value - values.low) / step), most) * step
    return int(value) if name in WHOLE else value


def _parameter(name: str, values: Values) -> dict[str, Any]:
    if values.choices:
        return {"parameterType": "categorical", "feasibleSpace": {"list": [str(each) for each in values.choices]}}
    assert values.low is not None
    assert values.high is not None
    whole = name in WHOLE
    space = {
        "min": str(int(values.low)) if whole else repr(values.low),
        "max": str(int(values.high)) if whole else repr(values.high),
        "distribution": "logUniform" if values.log else "uniform",
    }
    if values.step:
        space["step"] = str(int(values.step)) if whole else repr(values.step)
    return {"parameterType": "int" if whole else "double", "feasibleSpace": space}


def _job(pod: Mapping[str, Any], line: str, seconds: float) -> dict[str, Any]:
    main = own_pod.main_container(pod)
    container = {
        "name": CONTAINER,
        "command": ["sh", "-c", line],
        "env": own_pod.environment(main),
        "volumeMounts": own_pod.mounts(main),
        **{key: main[key] for key in _OF_THE_CONTAINER if main.get(key)},
    }
    if main.get("workingDir"):
        container["workingDir"] = main["workingDir"]
    template = {
        "metadata": {"labels": own_pod.labels(pod)},
        "spec": {
            "containers": [container],
            "volumes": own_pod.volumes(pod),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            **own_pod.placement(pod),
        },
    }
    # Another try of the same settings would report its epochs behind those of the first.
    job = {"backoffLimit": 0, "activeDeadlineSeconds": int(seconds) + _JOB_GRACE, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": job}
