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
    "pod_labels": {"team": "reviews"},
    "pod_annotations": {"example.com/bill": "to: reviews"},
    "run_as_user": 1000,
    "run_as_group": 2000,
    "time_to_live_seconds": 3600,
    "active_deadline_seconds": 86400,
    "steps": {
        "train": {
            "display_name": "Train",
            "retries": 2,
            "retry_backoff_seconds": 30,
            "timeout_seconds": 7200,
            "cpu_request": "500m",
            "cpu_limit": 2,
            "memory_request": "1Gi",
            "memory_limit": "4G",
            "accelerator_type": "nvidia.com/gpu",
            "accelerator_limit": 2,
            "env": {"OMP_NUM_THREADS": "2"},
            "node_affinity": [
                {
                    "match_expressions": [{"key": "gpu-memory", "operator": "Gt", "values": ["40"]}],
                    "match_fields": [{"key": "metadata.name", "operator": "NotIn", "values": ["old-1"]}],
                },
                {"match_expressions": [{"key": "new", "operator": "Exists"}], "weight": 3},
            ],
            "pod_labels": {"heavy": "yes"},
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


# Caching


def caching(spec: PipelineSpec) -> dict[str, Any]:
    """Return what every task says of caching, those of nested pipelines included."""
    parts = [spec.document["root"], *spec.document["components"].values()]
    tasks = [item for part in parts for item in part.get("dag", {}).get("tasks", {}).items()]
    return {name: task.get("cachingOptions") for name, task in tasks}


def test_caching_is_switched_off_for_all_that_is_in_a_pipeline(before: PipelineSpec) -> None:
    assert {"createpvc", "evaluate", "importer", "nested", "repeat", "train"} <= caching(before).keys()

    assert all(options == {} for options in caching(settled(before, cache=False)).values())


def test_caching_is_switched_on_for_steps_and_not_for_the_volumes_that_a_server_makes(before: PipelineSpec) -> None:
    off = settled(before, cache=False)

    options = caching(settled(off, cache=True))

    assert {options[name]["enableCache"] for name in ("evaluate", "package", "repeat", "train")} == {True}
    assert options["createpvc"] == {}


def test_a_step_may_have_caching_of_its_own_and_keeps_its_key(before: PipelineSpec) -> None:
    document = deepcopy(dict(before.document))
    document["root"]["dag"]["tasks"]["train"]["cachingOptions"] = {"enableCache": True, "cacheKey": "k"}
    spec = PipelineSpec(document=document)

    options = caching(settled(spec, cache=False, steps={"package": {"cache": True}}))
    assert (options["package"], options["train"]) == ({"enableCache": True}, {})
    assert caching(settled(spec, cache=True))["train"] == {"enableCache": True, "cacheKey": "k"}


# Steps that share an executor, as the compiler has it for what is the same


@pytest.fixture
def twice(before: PipelineSpec) -> PipelineSpec:
    """Return the pipeline with a second task, ``again``, of the component of ``train``."""
    document = deepcopy(dict(before.document))
    tasks = document["root"]["dag"]["tasks"]
    tasks["again"] = deepcopy(tasks["train"])
    return PipelineSpec(document=document, platform=before.platform)


def container(spec: PipelineSpec, name: str) -> Any:
    label = spec.document["components"][task(spec, name)["componentRef"]["name"]]["executorLabel"]
    return spec.document["deploymentSpec"]["executors"][label]["container"]


@pytest.mark.parametrize("name", ["again", "train"])
def test_what_is_one_steps_does_not_reach_another_of_its_component(twice: PipelineSpec, name: str) -> None:
    (other,) = {"again", "train"} - {name}

    result = settled(twice, steps={name: {"memory_limit": "8Gi", "node_selector": {"gpu": "true"}}})

    assert container(result, name)["resources"]["resourceMemoryLimit"] == "8Gi"
    assert "resources" not in container(result, other)
    label = result.document["components"][task(result, name)["componentRef"]["name"]]["executorLabel"]
    executors = kubernetes(result)["deploymentSpec"]["executors"]
    assert [found for found, config in executors.items() if "nodeSelector" in config] == [label]
    assert all(config["pvcMount"][0]["mountPath"] == "/mnt/scratch" for config in executors.values())


def test_each_of_them_may_have_its_own(twice: PipelineSpec) -> None:
    result = settled(twice, steps={"train": {"cpu_limit": "1"}, "again": {"cpu_limit": "2"}})

    assert [container(result, name)["resources"]["cpuLimit"] for name in ("train", "again")] == [1.0, 2.0]


def test_what_stands_with_a_task_parts_nothing(twice: PipelineSpec) -> None:
    result = settled(twice, steps={"again": {"cache": False, "retries": 1, "display_name": "Again"}})

    assert task(result, "again")["componentRef"] == task(result, "train")["componentRef"]
    assert result.document["components"].keys() == twice.document["components"].keys()


# Resources


def with_resources(before: PipelineSpec, **resources: Any) -> PipelineSpec:
    document = deepcopy(dict(before.document))
    document["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"] = resources
    return PipelineSpec(document=document)


def test_resources_of_the_author_that_are_not_changed_stay(before: PipelineSpec) -> None:
    spec = with_resources(before, cpuLimit=2.0, resourceCpuLimit="2", memoryLimit=1.0, resourceMemoryLimit="1G")

    result = settled(spec, steps={"train": {"memory_limit": "512Mi"}})

    assert container(result, "train")["resources"] == {
        "cpuLimit": 2.0,
        "resourceCpuLimit": "2",
        "memoryLimit": 0.536870912,
        "resourceMemoryLimit": "512Mi",
    }


@pytest.mark.parametrize(
    ("authors", "settings", "complaint"),
    [
        ({}, {"cpu_request": "2", "cpu_limit": "1500m"}, "cpu_request is 2, above cpu_limit, which is 1500m"),
        ({"resourceMemoryLimit": "1Gi"}, {"memory_request": "2G"}, "memory_request is 2G, above memory_limit"),
        ({}, {"accelerator_limit": 1}, "its accelerators need `accelerator_type` as well"),
        ({}, {"accelerator_type": "nvidia.com/gpu"}, "its accelerators need `accelerator_limit` as well"),
    ],
)
def test_resources_that_no_pod_can_have_are_refused(
    before: PipelineSpec, authors: dict[str, Any], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRequestError, match=rf"cluster\.steps\.train: {complaint}"):
        settled(with_resources(before, **authors), steps={"train": settings})


@pytest.mark.parametrize("limit", ["{{$.inputs.parameters['memory']}}", "as much as there is"])
def test_a_limit_that_comes_with_the_run_is_not_judged(before: PipelineSpec, limit: str) -> None:
    settled(with_resources(before, resourceMemoryLimit=limit), steps={"train": {"memory_request": "2G"}})


def test_accelerators_of_the_author_can_be_more_others_or_none(before: PipelineSpec) -> None:
    spec = with_resources(
        before, accelerator={"type": "nvidia.com/gpu", "resourceType": "nvidia.com/gpu", "count": "1"}
    )

    more = settled(spec, steps={"train": {"accelerator_limit": 4}})
    assert container(more, "train")["resources"]["accelerator"]["resourceCount"] == "4"
    other = settled(spec, steps={"train": {"accelerator_type": "amd.com/gpu"}})
    assert container(other, "train")["resources"]["accelerator"] == {
        "type": "amd.com/gpu",
        "resourceType": "amd.com/gpu",
        "count": "1",
    }
    none = settled(spec, steps={"train": {"accelerator_limit": 0}})
    assert "resources" not in container(none, "train")


# Nodes and labels

TERM = {"match_expressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}


def test_node_affinity_stands_in_place_of_the_authors_and_a_steps_in_place_of_all_steps(before: PipelineSpec) -> None:
    platform = deepcopy(dict(before.platform or {}))
    authors = {"nodeAffinity": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"] = authors
    spec = PipelineSpec(document=before.document, platform=platform)
    own = {"match_expressions": [{"key": "gpu", "operator": "Exists"}]}

    result = settled(spec, node_affinity=[TERM], steps={"evaluate": {"node_affinity": [own]}})

    assert executor(result, "train") == {
        "nodeAffinity": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    }
    assert executor(result, "evaluate")["nodeAffinity"] == [
        {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
    ]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"node_affinity": [TERM]}, r"`node_affinity` needs Kubeflow Pipelines 2\.14, this server is 2\.5\.0"),
        ({"steps": {"train": {"node_affinity": [TERM]}}}, "`node_affinity` needs"),
        ({"steps": {"train": {"pod_labels": {"a": "b"}}}}, "would give all steps those of the first one"),
        ({"steps": {"train": {"pod_annotations": {"a": "b"}}}}, "would give all steps those of the first one"),
    ],
)
def test_what_an_old_server_would_make_something_else_of_is_refused(
    before: PipelineSpec, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        settled(before, "2.5.0", **settings)
    for version in ("2.14.0", "3.0.0", None):
        settled(before, version, **settings)


def test_labels_of_all_steps_are_known_to_every_server(before: PipelineSpec) -> None:
    result = settled(before, "2.5.0", pod_labels={"team": "a"})

    assert executor(result, "evaluate") == {"podMetadata": {"labels": {"team": "a"}}}


def test_a_variable_of_a_step_counts_for_more_than_one_of_all_steps(before: PipelineSpec) -> None:
    result = settled(before, env={"A": "all", "B": "all"}, steps={"train": {"env": {"A": "own"}}})

    assert container(result, "train")["env"] == [{"name": "A", "value": "own"}, {"name": "B", "value": "all"}]
    assert {"name": "A", "value": "all"} in container(result, "package")["env"]
