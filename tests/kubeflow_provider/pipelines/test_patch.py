"""Cluster settings stand in a pipeline as the KFP compiler itself would have put them there."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings import ClusterSettings
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.patch import apply
from kubeflow_provider.pipelines.reading import read_pipeline_spec

ROOT = Path(__file__).parents[3]
TEST_PIPELINES = ROOT / "tests" / "test_pipelines"

SETTINGS: dict[str, Any] = {
    "image": "example/settled:2",
    "image_pull_policy": "IfNotPresent",
    "image_pull_secrets": ["registry"],
    "volumes": [
        {"claim": "models", "mount_path": "/mnt/models"},
        {"claim": "data", "mount_path": "/mnt/data", "sub_path": "reviews"},
    ],
    "secrets": [
        {"name": "s3", "keys": {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"}},
        {"name": "hub", "keys": {"token": "HF_TOKEN"}, "optional": True},
    ],
    "config_maps": [
        {"name": "proxy", "keys": {"http": "HTTP_PROXY"}, "optional": True},
        {"name": "region", "keys": {"name": "AWS_REGION"}},
    ],
    "env": {"HF_HOME": "/tmp/hub"},
    "node_selector": {"pool": "training"},
    "tolerations": [{"key": "team", "value": "a", "effect": "NoSchedule"}],
    "run_as_user": 1000,
    "run_as_group": 2000,
    "time_to_live_seconds": 3600,
    "active_deadline_seconds": 86400,
    "steps": {
        "train": {
            "display_name": "Train",
            "retries": 2,
            "retry_backoff_seconds": 30,
            "node_selector": {"gpu": "true"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute", "seconds": 60}],
        },
        "evaluate": {"display_name": "Measure", "cache": True},
        "package": {"cache": False},
    },
}


@pytest.fixture
def before() -> PipelineSpec:
    return read_pipeline_spec(TEST_PIPELINES / "cluster_settings_before.yaml")


def settled(spec: PipelineSpec, version: str | None = "2.17.0", **settings: Any) -> PipelineSpec:
    return apply(spec, ClusterSettings.from_mapping(settings), server_version=version)


def kubernetes(spec: PipelineSpec) -> Any:
    assert spec.platform is not None
    return spec.platform["platforms"]["kubernetes"]


def executor(spec: PipelineSpec, name: str) -> Any:
    return kubernetes(spec)["deploymentSpec"]["executors"][f"exec-{name}"]


def task(spec: PipelineSpec, name: str) -> Any:
    return spec.document["root"]["dag"]["tasks"][name]


def test_settings_give_what_the_compiler_gives(before: PipelineSpec) -> None:
    expected = read_pipeline_spec(TEST_PIPELINES / "cluster_settings_after.yaml")

    result = settled(before, **SETTINGS)

    assert result.document == expected.document
    assert result.platform == expected.platform


def test_putting_settings_in_twice_changes_nothing(before: PipelineSpec) -> None:
    once = settled(before, **SETTINGS)

    assert settled(once, **SETTINGS) == once


def test_the_given_pipeline_stays_as_it_was(before: PipelineSpec) -> None:
    copy = deepcopy(before)

    settled(before, **SETTINGS)

    assert before == copy


@pytest.mark.parametrize("version", ["2.17.0", "2.5.0", None])
def test_a_pipeline_without_settings_is_left_alone(version: str | None) -> None:
    spec = read_pipeline_spec(ROOT / "include" / "pipelines" / "train_classifier.yaml")

    assert settled(spec, version) == spec


def test_whether_a_step_is_cached_is_its_authors_choice_whatever_it_is_called(before: PipelineSpec) -> None:
    assert task(settled(before), "package")["cachingOptions"] == {"enableCache": True}


def test_caching_and_retries_can_be_switched_off(before: PipelineSpec) -> None:
    result = settled(before, steps={"train": {"cache": False}, "package": {"retries": 0}})

    assert task(result, "train")["cachingOptions"] == {}
    assert "retryPolicy" in task(before, "package")
    assert "retryPolicy" not in task(result, "package")


def test_an_image_that_the_pipeline_or_the_server_chooses_is_kept(before: PipelineSpec) -> None:
    executors = settled(before, image="example/settled:2").document["deploymentSpec"]["executors"]

    assert executors["exec-choose"]["container"]["image"].startswith("{{$.inputs.parameters")
    assert executors["exec-createpvc"]["container"]["image"] == "argostub/createpvc"
    assert "container" not in executors["exec-importer"]


def test_what_the_author_set_is_kept_but_for_a_volume_at_the_same_path(before: PipelineSpec) -> None:
    assert [mount["mountPath"] for mount in executor(before, "train")["pvcMount"]] == ["/mnt/scratch"]

    beside = settled(before, volumes=[{"claim": "models", "mount_path": "/mnt/models"}], env={"AUTHORS": "changed"})
    instead = settled(before, volumes=[{"claim": "models", "mount_path": "/mnt/scratch"}])

    assert [mount["mountPath"] for mount in executor(beside, "train")["pvcMount"]] == ["/mnt/scratch", "/mnt/models"]
    assert [mount["constant"] for mount in executor(instead, "train")["pvcMount"]] == ["models"]
    assert beside.document["deploymentSpec"]["executors"]["exec-evaluate"]["container"]["env"] == [
        {"name": "AUTHORS", "value": "changed"}
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"env": {"HF_TOKEN": "mine"}},
        {"secrets": [{"name": "mine", "keys": {"token": "HF_TOKEN"}}]},
        {"config_maps": [{"name": "mine", "keys": {"token": "HF_TOKEN"}}]},
    ],
)
@pytest.mark.parametrize(
    "author",
    [
        {"secretAsEnv": [{"secretName": "hub", "keyToEnv": [{"secretKey": "t", "envVar": "HF_TOKEN"}]}]},
        {"configMapAsEnv": [{"configMapName": "hub", "keyToEnv": [{"configMapKey": "t", "envVar": "HF_TOKEN"}]}]},
        {"fieldPathAsEnv": [{"name": "HF_TOKEN", "fieldPath": "metadata.name"}]},
        {"env": [{"name": "HF_TOKEN", "value": "author's"}]},
    ],
)
def test_a_variable_that_author_and_model_give_is_the_models_alone(
    before: PipelineSpec, settings: dict[str, Any], author: dict[str, Any]
) -> None:
    document, platform = deepcopy(dict(before.document)), deepcopy(dict(before.platform or {}))
    author = deepcopy(author)
    document["deploymentSpec"]["executors"]["exec-train"]["container"]["env"] = author.pop("env", [])
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"] = author
    result = settled(PipelineSpec(document=document, platform=platform), **settings)

    container = result.document["deploymentSpec"]["executors"]["exec-train"]["container"]
    text = json.dumps([container.get("env", []), executor(result, "train")])
    assert text.count('"HF_TOKEN"') == 1
    assert "mine" in text


def test_the_models_nodes_win_over_those_that_come_with_the_run(before: PipelineSpec) -> None:
    platform = deepcopy(dict(before.platform or {}))
    author = {"nodeSelector": {"nodeSelectorJson": {"componentInputParameter": "nodes"}}}
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"] = author
    spec = PipelineSpec(document=before.document, platform=platform)

    assert executor(settled(spec, env={"A": "b"}), "train") == author
    chosen = executor(settled(spec, node_selector={"pool": "training"}), "train")
    assert chosen == {"nodeSelector": {"labels": {"pool": "training"}}}


def test_an_image_that_a_parameter_chooses_in_part_is_kept(before: PipelineSpec) -> None:
    document = deepcopy(dict(before.document))
    image = "registry.example/trainer:{{$.inputs.parameters['tag']}}"
    document["deploymentSpec"]["executors"]["exec-train"]["container"]["image"] = image
    result = settled(PipelineSpec(document=document, platform=before.platform), image="example/settled:2")
    assert result.document["deploymentSpec"]["executors"]["exec-train"]["container"]["image"] == image


def test_a_variable_that_the_model_gives_twice_is_refused() -> None:
    twice = {"env": {"X": "1"}, "secrets": [{"name": "s", "keys": {"k": "X"}}]}
    with pytest.raises(InvalidRequestError, match="X given twice"):
        ClusterSettings.from_mapping(twice)


@pytest.mark.parametrize("version", ["2.16.0", "2.5.0", "v2.14.3", None])
def test_what_would_make_an_old_server_drop_the_whole_platform_document_is_left_out(
    before: PipelineSpec, version: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    result = settled(
        before, version, time_to_live_seconds=60, active_deadline_seconds=60, node_selector={"pool": "training"}
    )

    assert "pipelineConfig" not in kubernetes(result)
    assert executor(result, "train")["nodeSelector"] == {"labels": {"pool": "training"}}
    assert "activeDeadlineSeconds, resourceTtlOnCompletion" in caplog.text


def test_so_is_what_the_author_set(before: PipelineSpec) -> None:
    after = read_pipeline_spec(TEST_PIPELINES / "cluster_settings_after.yaml")
    assert kubernetes(after)["pipelineConfig"]

    assert "pipelineConfig" not in kubernetes(settled(after, "2.16.0"))
    assert settled(after, "2.17.0").platform == after.platform


@pytest.mark.parametrize(("version", "refused"), [("2.15.2", True), ("2.16.0", False), (None, False), ("3.0", False)])
def test_a_server_that_would_mount_the_whole_volume_is_refused(
    before: PipelineSpec, version: str | None, refused: bool
) -> None:
    volumes = [{"claim": "data", "mount_path": "/mnt/data", "sub_path": "reviews"}]
    if not refused:
        assert executor(settled(before, version, volumes=volumes), "train")["pvcMount"][-1]["subPath"] == "reviews"
        return
    with pytest.raises(
        InvalidRequestError, match=r"`sub_path` needs Kubeflow Pipelines 2\.16, this server is 2\.15\.2"
    ):
        settled(before, version, volumes=volumes)


def test_an_unknown_step_is_named_with_those_that_there_are(before: PipelineSpec) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"tain, wait not in pipeline 'cluster-settings'; its steps are .*train"
    ):
        settled(before, steps={"tain": {"retries": 1}, "wait": {}, "train": {}})
