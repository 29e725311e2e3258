"""The Experiment that is asked for: a space in Katib's words, and Jobs made after the pod of the step."""

from __future__ import annotations

from typing import Any

import pytest

from include.classifier.search.katib.experiment import experiment, name_of, settings_of
from include.contracts.search.settings import SearchConfig, Values

SPACE = {
    "learning_rate": Values(low=1e-5, high=1e-2, log=True),
    "epochs": Values(low=1, high=4, step=0.5),
    "batch_size": Values(choices=[8, 16]),
    "max_length": Values(low=32, high=128, step=32),
}

POD: dict[str, Any] = {
    "metadata": {
        "name": "step",
        "labels": {"pipeline/runid": "r", "workflows.argoproj.io/workflow": "w"},
        "ownerReferences": [
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u", "controller": True}
        ],
    },
    "spec": {
        "serviceAccountName": "default-editor",
        "nodeSelector": {"gpu": "yes"},
        "nodeName": "node-7",
        "containers": [
            {"name": "wait", "image": "argoexec"},
            {
                "name": "main",
                "image": "training:1",
                "command": ["argoexec"],
                "env": [
                    {"name": "ARGO_NODE_ID", "value": "x"},
                    {"name": "KFP_POD_NAME", "value": "x"},
                    {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "k"}}},
                ],
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
                "volumeMounts": [
                    {"name": "store", "mountPath": "/mnt/models"},
                    {"name": "var-run-argo", "mountPath": "/var/run/argo"},
                    {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ],
            },
        ],
        "volumes": [
            {"name": "store", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "var-run-argo", "emptyDir": {}},
            {"name": "token", "projected": {}},
        ],
    },
}


def made(**settings: Any) -> dict[str, Any]:
    asked = {"folder": "s3://models/a b", "question": "q", "pod": POD, "trials": 9, "failures": 5, "seconds": 3600.0}
    config = SearchConfig(space=SPACE, parallel=16, **settings)
    return experiment("search-1", config=config, space=SPACE, **asked)


def test_the_space_is_said_in_katibs_words() -> None:
    spaces = {each["name"]: (each["parameterType"], each["feasibleSpace"]) for each in made()["spec"]["parameters"]}

    assert spaces == {
        "learning_rate": ("double", {"min": "1e-05", "max": "0.01", "distribution": "logUniform"}),
        "epochs": ("double", {"min": "1.0", "max": "4.0", "distribution": "uniform", "step": "0.5"}),
        "batch_size": ("categorical", {"list": ["8", "16"]}),
        "max_length": ("int", {"min": "32", "max": "128", "distribution": "uniform", "step": "32"}),
    }


def test_the_budget_fits_together() -> None:
    spec = made()["spec"]

    assert (spec["maxTrialCount"], spec["parallelTrialCount"], spec["maxFailedTrialCount"]) == (9, 9, 5)
    assert spec["earlyStopping"]["algorithmName"] == "medianstop"
    assert "earlyStopping" not in made(early_stop="none")["spec"]


@pytest.mark.parametrize(("objective", "kind"), [("macro_f1", "maximize"), ("log_loss", "minimize")])
def test_the_last_word_of_a_trial_is_its_value(objective: str, kind: str) -> None:
    assert made(objective=objective)["spec"]["objective"] == {
        "type": kind,
        "objectiveMetricName": objective,
        "metricStrategies": [{"name": objective, "value": "latest"}],
    }


def test_a_trial_has_what_the_step_has_and_nothing_of_argo() -> None:
    job = made()["spec"]["trialTemplate"]["trialSpec"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]

    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (0, 4200)
    assert (container["image"], container["resources"]) == ("training:1", {"limits": {"nvidia.com/gpu": "1"}})
    assert [each["name"] for each in container["env"]] == ["AWS_SECRET_ACCESS_KEY"]
    assert [each["name"] for each in container["volumeMounts"]] == ["store"]
    assert [each["name"] for each in pod["volumes"]] == ["store"]
    assert (pod["serviceAccountName"], pod["nodeSelector"], pod["restartPolicy"]) == (
        "default-editor",
        {"gpu": "yes"},
        "Never",
    )
    assert "nodeName" not in pod
    labels = job["template"]["metadata"]["labels"]
    assert (labels["pipeline/runid"], labels["sidecar.istio.io/inject"]) == ("r", "false")
    assert "workflows.argoproj.io/workflow" not in labels  # Argo would take it for one of its own
    assert container["command"][:2] == ["sh", "-c"]
    assert (
        "'s3://models/a b' ${trialParameters.trial} --learning-rate=${trialParameters.learning_rate}"
        in (container["command"][2])
    )


def test_it_goes_with_the_run_and_not_with_the_pod() -> None:
    assert made()["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u"}
    ]


def test_a_name_is_that_of_the_search_and_short_enough_for_its_trials() -> None:
    name = name_of("20261130090000", "s3://models/reviews/search/20261130090000")

    assert name == name_of("20261130090000", "s3://models/reviews/search/20261130090000")
    assert name != name_of("20261130090000", "s3://models/others/search/20261130090000")
    assert len(name) <= 40


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learning_rate", "0.00123", 0.00123),
        ("learning_rate", "0.0100000001", 0.01),
        ("epochs", "1.7", 1.5),
        ("epochs", "4.4", 4.0),
        ("batch_size", "16", 16),
        ("batch_size", "16.0", 16),
        ("max_length", "100.0", 96),
        ("max_length", "140", 128),
    ],
)
def test_what_katib_proposes_is_brought_to_the_nearest_value_of_the_space(name: Any, text: str, value: Any) -> None:
    found = settings_of([{"name": name, "value": text}], {name: SPACE[name]})

    assert found == {name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize("assignments", [[], [{"name": "batch_size", "value": "many"}], [{"name": "batch_size"}]])
def test_what_is_no_number_is_refused(assignments: Any) -> None:
    with pytest.raises(ValueError, match=r"no value for|could not convert"):
        settings_of(assignments, {"batch_size": SPACE["batch_size"]})
