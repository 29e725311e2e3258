"""The double of Katib answers as Katib's API does; the search itself is tested against it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiException, CustomObjectsApi  # noqa: TID253

from tests.doubles.katib import Ending, Katib
from tests.doubles.kubernetes import Cluster, cluster
from tests.waiting import wait_for

PLACE = ("kubeflow.org", "v1beta1", "models", "experiments")


@pytest.fixture
def k8s() -> Iterator[Cluster]:
    with cluster() as k8s:
        yield k8s


def body(**changes: Any) -> dict[str, Any]:
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"args": "${trialParameters.rate} ${trialParameters.name}"}}
    template = {
        "trialParameters": [{"name": "rate", "reference": "lr"}, {"name": "name", "reference": "${trialSpec.Name}"}],
        "trialSpec": job,
    }
    spec = {
        "objective": {"type": "maximize", "objectiveMetricName": "macro_f1"},
        "parameters": [{"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.1", "max": "0.5"}}],
        "maxTrialCount": 3,
        "parallelTrialCount": 2,
        "maxFailedTrialCount": 2,
        "trialTemplate": template,
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "e"},
        "spec": {**spec, **changes},
    }


def create(k8s: Cluster, **changes: Any) -> None:
    CustomObjectsApi(k8s.api_client()).create_namespaced_custom_object(*PLACE, body(**changes))


def true(k8s: Cluster) -> set[str]:
    found = CustomObjectsApi(k8s.api_client()).get_namespaced_custom_object(*PLACE, "e")
    return {each["type"] for each in found.get("status", {}).get("conditions", []) if each["status"] == "True"}


def refused(k8s: Cluster, **changes: Any) -> tuple[int, str]:
    with pytest.raises(ApiException) as error:
        create(k8s, **changes)
    return error.value.status, str(error.value.body)


def test_without_its_definitions_there_is_nothing(k8s: Cluster) -> None:
    assert refused(k8s)[0] == 404


def test_a_second_one_of_a_name_is_refused(k8s: Cluster) -> None:
    Katib(k8s, lambda name, values: Ending("Running"))
    create(k8s)

    assert refused(k8s)[0] == 409


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"maxFailedTrialCount": 4}, "spec.maxFailedTrialCount"),
        ({"parallelTrialCount": 4}, "spec.parallelTrialCount"),
        ({"earlyStopping": {"algorithmName": "halving"}}, "unable to get EarlyStopping config data"),
        ({"parameters": []}, "parameter reference lr does not exist"),
    ],
)
def test_what_does_not_fit_together_is_refused(k8s: Cluster, changes: dict[str, Any], words: str) -> None:
    Katib(k8s, lambda name, values: Ending())
    code, said = refused(k8s, **changes)

    assert code == 400
    assert words in said


def test_an_experiment_ends_after_its_trials_and_names_the_best(k8s: Cluster) -> None:
    katib = Katib(k8s, lambda name, values: Ending(values=(0.9, float(values["lr"]))))
    create(k8s)
    wait_for(lambda: "Succeeded" in true(k8s), "the end", pause=0.01)

    (found,) = katib.experiments()
    assert true(k8s) == {"Created", "Succeeded"}  # Running is there and is not true any more
    assert found["status"]["trialsSucceeded"] == 3
    best = found["status"]["currentOptimalTrial"]
    latest = max(float(each["status"]["observation"]["metrics"][0]["latest"]) for each in katib.trials())
    (metric,) = best["observation"]["metrics"]
    assert (float(metric["latest"]), metric["max"]) == (latest, "0.9")


def test_as_many_failures_as_allowed_fail_it(k8s: Cluster) -> None:
    Katib(k8s, lambda name, values: Ending("MetricsUnavailable"))
    create(k8s)

    wait_for(lambda: "Failed" in true(k8s), "the failure", pause=0.01)


def test_a_deleted_one_stays_until_its_finalizer_is_gone_and_takes_its_trials_along(k8s: Cluster) -> None:
    katib = Katib(k8s, lambda name, values: Ending("Running"))
    create(k8s)
    wait_for(lambda: len(katib.trials()) == 2, "the trials", pause=0.01)
    katib.holds_deleted = True
    CustomObjectsApi(k8s.api_client()).delete_namespaced_custom_object(*PLACE, "e")

    assert "deletionTimestamp" in katib.experiments()[0]["metadata"]
    assert refused(k8s)[0] == 409
    katib.holds_deleted = False
    wait_for(lambda: not katib.experiments() and not katib.trials() and not katib.jobs(), "nothing", pause=0.01)
