"""Cluster settings are read whole, and wrong ones are named all at once."""

from __future__ import annotations

from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings import ClusterSettings
from kubeflow_provider.kubernetes.settings_base import amount
from kubeflow_provider.kubernetes.step_settings import StepSettings
from tests.kubeflow_provider.pipelines.test_patch import SETTINGS


def test_what_is_handed_on_as_json_arrives_unchanged() -> None:
    settings = ClusterSettings.model_validate(SETTINGS)

    assert ClusterSettings.from_mapping(settings.model_dump(mode="json")) == settings


def test_nothing_is_needed() -> None:
    assert ClusterSettings.from_mapping({}) == ClusterSettings()


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"imge": "x"}, r"cluster\.imge: "),
        ({"image_pull_policy": "Sometimes"}, r"cluster\.image_pull_policy: .*'IfNotPresent'"),
        ({"volumes": [{"claim": "Models", "mount_path": "mnt"}]}, r"volumes\.0\.claim: .*volumes\.0\.mount_path: "),
        ({"volumes": [{"claim": "m", "mount_path": "/m", "sub_path": "/a"}]}, r"volumes\.0\.sub_path: "),
        ({"volumes": [{"claim": name, "mount_path": "/m"} for name in "ab"]}, "volumes: two of them have the same"),
        ({"volumes": [{"claim": "a.b", "mount_path": "/m"}]}, r"volumes\.0\.claim: "),
        ({"secrets": [{"name": "s", "keys": {}}]}, r"secrets\.0\.keys: "),
        ({"secrets": [{"name": "s", "keys": {"a": "not-a-name"}}]}, r"secrets\.0\.keys\.a: "),
        ({"tolerations": [{"value": "a"}]}, r"tolerations\.0: a toleration without `key` needs `operator: Exists`"),
        ({"tolerations": [{"operator": "Exists", "value": "a"}]}, r"tolerations\.0: .* takes no `value`"),
        ({"tolerations": [{"key": "a", "seconds": 5}]}, r"tolerations\.0: `seconds` needs `effect: NoExecute`"),
        ({"run_as_user": 0}, r"cluster\.run_as_user: .*greater than or equal to 1"),
        ({"module_pod": {"memory": "two"}}, r"module_pod\.memory: "),
        ({"steps": {"train": {"retries": -1}}}, r"steps\.train\.retries: "),
        ({"steps": {"train": {"cpu": "1"}}}, r"steps\.train\.cpu: unknown; known are .*cpu_request, cpu_limit, "),
        (
            {"volumes": [{"claim": "m", "mount_path": "/m", "path": "a"}]},
            r"volumes\.0\.path: unknown; known are claim, ",
        ),
        ({"steps": {"train": {"memory_limit": "4 GB"}}}, r"steps\.train\.memory_limit: "),
        ({"steps": {"train": {"memory_limit": "4K"}}}, r"steps\.train\.memory_limit: "),
        ({"steps": {"train": {"accelerator_type": "V100"}}}, r"steps\.train\.accelerator_type: "),
        ({"steps": {"train": {"pod_labels": {"a b": "c"}}}}, r"pod_labels\.a b\.\[key\]: "),
        ({"pod_labels": {"a": "what it is for"}}, r"cluster\.pod_labels\.a: "),
        ({"pod_labels": {"pipeline/runid": "a"}}, "keys that begin with pipeline/"),
        ({"node_affinity": [{}]}, r"node_affinity\.0: a term needs `match_expressions` or `match_fields`"),
        ({"node_affinity": [{"match_fields": [{"key": "a", "operator": "In"}]}]}, "`operator: In` needs `values`"),
        (
            {"node_affinity": [{"match_fields": [{"key": "a", "operator": "Exists", "values": ["b"]}]}]},
            "`operator: Exists` takes no `values`",
        ),
        (
            {"node_affinity": [{"match_expressions": [{"key": "a", "operator": "Gt", "values": ["b"]}]}]},
            "`operator: Gt` takes one whole number",
        ),
        (
            {"secrets": [{"name": "s", "keys": {"k": "A"}}], "steps": {"train": {"env": {"A": "b"}}}},
            r"steps\.train\.env: A comes from a Secret",
        ),
    ],
)
def test_a_wrong_setting_is_named(mapping: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        ClusterSettings.from_mapping(mapping)


def test_all_wrong_settings_are_named_at_once_and_no_value_is_told() -> None:
    with pytest.raises(InvalidRequestError) as failure:
        ClusterSettings.from_mapping({"env": {"9": "hunter2"}, "run_as_user": "me", "image": ""})

    message = str(failure.value)
    assert all(name in message for name in ("cluster.env.9", "cluster.run_as_user", "cluster.image"))
    assert "hunter2" not in message


@pytest.mark.parametrize(("quantity", "number"), [("500m", 0.5), ("2", 2), ("1.5", 1.5), ("1Gi", 2**30), ("3G", 3e9)])
def test_a_quantity_is_a_number(quantity: str, number: float) -> None:
    assert amount(quantity) == number


def test_a_number_of_a_file_is_a_quantity() -> None:
    step = StepSettings.from_mapping({"cpu_limit": 2, "cpu_request": 0.5, "accelerator_limit": "1"})

    assert (step.cpu_limit, step.cpu_request, step.accelerator_limit) == ("2", "0.5", 1)
