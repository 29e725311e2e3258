"""What KServe is given for a version, and what is refused before it sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.modes import Mode
from kubeflow_provider.hooks._kserve.releases.specs import as_candidate, check_name, for_users, predictor, storage_uri
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from tests.kserve_support import version_of

VERSION = "20260101000000"


def spec_of(mode: Mode | None = None, **settings: Any) -> dict[str, Any]:
    version = version_of("reviews", VERSION, **settings)
    return predictor(version, PredictorSettings.of(version.settings), mode=mode)


def test_a_predictor_says_what_it_serves_and_how() -> None:
    spec = spec_of(cpu="2", memory="4Gi", gpu=1, service_account="models", env={"LOG": "info"})

    assert spec["labels"]["kubeflow-provider/version"] == VERSION
    assert spec["serviceAccountName"] == "models"
    assert spec["automountServiceAccountToken"] is False
    model = spec["model"]
    assert model["storageUri"] == f"s3://models/reviews/{VERSION}/package"
    assert model["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert model["resources"]["requests"] == model["resources"]["limits"]
    assert model["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert {"name": "LOG", "value": "info"} in model["env"]


def test_the_pod_is_told_which_archive_it_must_find() -> None:
    version = version_of("reviews", VERSION)

    assert {"name": "ARCHIVE_SHA256", "value": version.archive_sha256} in spec_of()["model"]["env"]
    assert spec_of()["annotations"]["kubeflow-provider/archive-sha256"] == version.archive_sha256


def test_people_find_where_it_came_from() -> None:
    version = replace(version_of("reviews", VERSION), origin={"dag-run-id": "manual__1", "registry-url": ""})
    spec = predictor(version, PredictorSettings.of(version.settings), mode=None)

    assert spec["annotations"]["kubeflow-provider/dag-run-id"] == "manual__1"
    assert spec["annotations"]["kubeflow-provider/archive-uri"] == version.archive_uri
    assert "kubeflow-provider/registry-url" not in spec["annotations"]


def test_what_is_not_asked_for_is_not_there() -> None:
    absent = {"serviceAccountName", "scaleMetric", "scaleTarget", "timeout", "batcher", "logger", "tolerations"}

    assert not absent & spec_of().keys()


def test_scaling_batching_and_logging_reach_kserve() -> None:
    spec = spec_of(
        min_replicas=2,
        max_replicas=5,
        scale_metric="cpu",
        scale_target=80,
        batcher={"max_batch_size": 4, "max_latency_ms": 20},
        logger={"url": "http://sink", "mode": "request"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "seconds": 60}],
    )

    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert (spec["scaleMetric"], spec["scaleTarget"]) == ("cpu", 80)
    assert spec["batcher"] == {"maxBatchSize": 4, "maxLatency": 20}
    assert spec["logger"] == {"url": "http://sink", "mode": "request"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]


def test_a_rolling_update_takes_no_old_pod_away_before_a_new_one_is_ready() -> None:
    spec = for_users(spec_of(Mode.STANDARD), Mode.STANDARD)
    assert spec["deploymentStrategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("mode", [Mode.KNATIVE, None])
def test_a_strategy_is_said_only_where_the_mode_is_known_to_take_it(mode: Mode | None) -> None:
    once_standard = for_users(spec_of(), Mode.STANDARD)
    for spec in (spec_of(mode), for_users(once_standard, mode), as_candidate(once_standard)):
        assert "deploymentStrategy" not in spec


def test_a_candidate_is_one_pod_that_stays_awake_and_copies_no_texts() -> None:
    spec = as_candidate(
        spec_of(min_replicas=0, max_replicas=9, scale_metric="rps", scale_target=5, logger={"url": "http://sink"})
    )

    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 1)
    assert not {"scaleMetric", "scaleTarget", "logger"} & spec.keys()


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("metric", ["concurrency", "rps", "cpu", "memory"])
def test_what_the_mode_does_not_take_is_refused(mode: Mode, metric: str) -> None:
    taken_by = Mode.KNATIVE if metric in ("concurrency", "rps") else Mode.STANDARD
    assert spec_of(None, scale_metric=metric)["scaleMetric"] == metric
    if mode is taken_by:
        assert spec_of(mode, scale_metric=metric)["scaleMetric"] == metric
        return
    with pytest.raises(InvalidRequestError, match=rf"{metric}. works in {taken_by} mode only.*served in {mode} mode"):
        spec_of(mode, scale_metric=metric)


@pytest.mark.parametrize(
    ("uri", "storage", "expected"),
    [
        ("s3://bucket/a/package", {}, "s3://bucket/a/package"),
        ("gs://bucket/a/package", {}, "gs://bucket/a/package"),
        ("hf://owner/name:main", {}, "hf://owner/name:main"),
        ("file:///mnt/models/a/package", {"file:///mnt/models": "pvc://store"}, "pvc://store/a/package"),
        ("file:///mnt/models/a/package", {"file:///mnt/models/": "pvc://store/sub/"}, "pvc://store/sub/a/package"),
        ("file:///mnt/models/a", {"file:///mnt": "pvc://all", "file:///mnt/models": "pvc://store"}, "pvc://store/a"),
        ("s3://inside/a", {"s3://inside": "s3://outside"}, "s3://outside/a"),
    ],
)
def test_a_pod_is_sent_to_where_it_finds_the_package(uri: str, storage: dict[str, str], expected: str) -> None:
    assert storage_uri(uri, storage) == expected


@pytest.mark.parametrize("storage", [{}, {"file:///mnt/model": "pvc://store"}])
def test_a_place_that_no_pod_can_read_is_refused_with_the_setting_to_change(storage: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match=r"serving\.kserve\.storage"):
        storage_uri("file:///mnt/models/a/package", storage)


def test_a_name_must_leave_room_for_what_is_made_of_it() -> None:
    check_name("m" * 37)
    with pytest.raises(InvalidRequestError, match="38 characters; in a cluster 37 are the most"):
        check_name("m" * 38)
