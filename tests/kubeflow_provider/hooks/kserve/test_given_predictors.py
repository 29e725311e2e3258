"""Models of any format and containers of one's own: the YAML gives the predictor, and the rest is as for ours."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.releases.answering import told_version
from kubeflow_provider.hooks._kserve.releases.specs import predictor
from kubeflow_provider.kubernetes.given_predictor import GivenPredictor
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from kubeflow_provider.services import Answer, ModelVersion
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import FormatServer
from tests.doubles.kubernetes.kserve import KServeSettings as Installation
from tests.kserve_support import KServeWorld, go_live, kserve, settled

MODEL, FIRST, SECOND = "iris", "20260101000000", "20260202000000"
SETOSA = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
PIXELS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5.9, 2.8, 4.1, 1.3]}]}
PINNED = f"registry.example/server@sha256:{'0' * 64}"


def version_of(version: str, *, kserve: dict[str, Any] | None = None, **given: Any) -> ModelVersion:
    return ModelVersion(
        model=MODEL,
        version=version,
        archive_uri=f"s3://models/{MODEL}/{version}/package",
        archive_sha256=version.ljust(64, "0"),
        settings={"predictor": given or {"format": "sklearn", "protocol": "v1"}, "kserve": kserve or {}},
    )


def spec_of(**given: Any) -> dict[str, Any]:
    version = version_of(FIRST, kserve=given.pop("kserve", None), **given)
    return predictor(version, PredictorSettings.of(version.settings), mode=None)


# What KServe is given


def test_a_format_is_served_by_a_runtime_that_kserve_chooses() -> None:
    spec = spec_of(format="sklearn", protocol="v2", kserve={"cpu": "2", "env": {"LOG": "info"}})
    model = spec["model"]

    assert (model["modelFormat"], model["protocolVersion"]) == ({"name": "sklearn"}, "v2")
    assert "runtime" not in model
    assert model["storageUri"] == f"s3://models/{MODEL}/{FIRST}/package"
    assert model["resources"]["limits"]["cpu"] == "2"
    env = {entry["name"]: entry["value"] for entry in model["env"]}
    assert env == {"LOG": "info", "ARCHIVE_SHA256": FIRST.ljust(64, "0"), "MODEL_VERSION": FIRST}
    assert spec["annotations"]["kubeflow-provider/protocol"] == "v2"
    assert spec["labels"]["kubeflow-provider/version"] == FIRST


@pytest.mark.parametrize("uri", [f"hf://owner/name:{'c' * 40}", f"oci://host/name@sha256:{'d' * 64}"])
def test_what_kserve_alone_reads_is_served_as_it_is(uri: str) -> None:
    version = replace(version_of(FIRST), archive_uri=uri)
    model = predictor(version, PredictorSettings.of(version.settings), mode=None)["model"]

    assert model["storageUri"] == uri
    assert [entry["name"] for entry in model["env"]] == ["MODEL_VERSION"]  # there is no digest of files to insist on


def test_a_runtime_can_be_named() -> None:
    assert spec_of(format="onnx", runtime="our-onnx")["model"]["runtime"] == "our-onnx"


def test_a_container_of_ones_own_gets_the_model_and_is_held_to_what_a_strict_namespace_takes() -> None:
    container = {"image": PINNED, "args": ["--fast"], "env": {"A": "b"}, "port": 9000}
    spec = spec_of(container=container, protocol="v2", model_name="flowers")
    (made,) = spec["containers"]

    assert "model" not in spec
    assert (made["name"], made["image"], made["args"]) == ("kserve-container", PINNED, ["--fast"])
    env = {entry["name"]: entry["value"] for entry in made["env"]}
    assert env["STORAGE_URI"] == f"s3://models/{MODEL}/{FIRST}/package"
    assert (env["A"], env["MODEL_VERSION"]) == ("b", FIRST)
    assert made["ports"] == [{"containerPort": 9000, "protocol": "TCP"}]
    assert made["securityContext"]["runAsNonRoot"] is True
    assert made["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}
    assert spec["annotations"]["kubeflow-provider/name-in-paths"] == "flowers"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"format": "sklearn", "container": {"image": PINNED}}, "exactly one of `format` and `container`"),
        ({"protocol": "v2"}, "exactly one of `format` and `container`"),
        ({"container": {"args": ["a"]}}, r"predictor\.container\.image: Field required"),
        ({"container": {"image": PINNED, "port": 80}}, r"predictor\.container\.port"),
        ({"container": {"image": PINNED}, "runtime": "a"}, "`runtime` is for a format only"),
        ({"format": "sklearn", "model_name": "a/b:predict"}, r"predictor\.model_name"),
        ({"format": "sklearn", "speed": 1}, r"predictor\.speed: unknown; known are format"),
    ],
)
def test_what_cannot_be_is_refused_before_kserve_sees_it(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        GivenPredictor.of({"predictor": given})


@pytest.mark.parametrize(
    ("header", "body", "told"),
    [
        (FIRST, {"predictions": [0]}, FIRST),
        (None, {"model_version": FIRST}, FIRST),
        ("1", {"model_version": SECOND}, SECOND),  # a header of somebody else's
        (None, {"model_version": "1"}, None),
        (None, {"predictions": [{"version": FIRST}]}, None),  # what a model predicts is no word of its server
        (None, "text", None),
    ],
)
def test_a_server_may_say_which_version_it_is(header: str | None, body: Any, told: str | None) -> None:
    service = {"metadata": {"name": MODEL}, "spec": {"predictor": spec_of(format="sklearn")}}
    assert told_version(service, Answer(status_code=200, body=body, latency_ms=1, version=header)) == told


# A cluster


@pytest.fixture(scope="module", params=["Serverless", "Standard"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    """Yield a cluster with a runtime for flowers as KServe has them, and one of which nobody knows the format."""
    with kserve(tmp_path_factory.mktemp("cluster"), settings=Installation(default_mode=request.param)) as running:
        running.k8s.add_image("server:1", FormatServer())
        running.k8s.add_image(PINNED, FormatServer(tells_version=True, name="flowers"))
        running.k8s.kserve.add_runtime(
            "sklearnserver", "server:1", formats=("sklearn",), args=["--model_name={{.Name}}"]
        )
        yield running


@pytest.fixture(autouse=True)
def _a_namespace_without_releases(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "world" in request.fixturenames:
        hook = request.getfixturevalue("world").hook
        for name in (MODEL, f"{MODEL}-candidate"):
            hook._delete(name)


@pytest.mark.waits
def test_a_release_from_the_candidate_to_the_way_back(world: KServeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = world.hook
    hook.check_candidate(version_of(FIRST))
    go_live(hook, version_of(FIRST))
    answer = hook.predict(MODEL, SETOSA)
    # Its own words, though the runtime knows it by the name of its InferenceService; who it is, its pods tell.
    assert (answer.body, answer.version) == ({"predictions": [0]}, FIRST)

    hook.deploy_candidate(version_of(SECOND))
    assert settled(hook, MODEL, SECOND).state is DeploymentState.READY
    assert hook.predict(MODEL, SETOSA, version=SECOND).version == SECOND
    assert hook.predict(MODEL, SETOSA).version == FIRST
    if hook.can_split_traffic(MODEL):
        hook.shift_traffic(MODEL, SECOND, 50)
        assert settled(hook, MODEL, SECOND).state is DeploymentState.READY
        # A server that does not say who it is is asked by the revision's own address, as often as its share is.
        monkeypatch.setattr(random, "random", iter([0.6, 0.4]).__next__)
        assert [hook.predict(MODEL, SETOSA).version for _ in range(2)] == [FIRST, SECOND]
        assert hook.predict(MODEL, SETOSA, version=FIRST).version == FIRST
    hook.promote(MODEL, SECOND)
    settled(hook, MODEL, SECOND)
    assert hook.predict(MODEL, SETOSA).version == SECOND

    live = hook.roll_back(MODEL, candidate=SECOND, previous=FIRST)
    assert live is not None
    assert (live.version, hook.predict(MODEL, SETOSA).version) == (FIRST, FIRST)


@pytest.mark.waits
@pytest.mark.parametrize("world", ["Standard"], indirect=True)
def test_requests_of_the_open_protocol_are_passed_on_as_they_are(world: KServeWorld) -> None:
    hook = world.hook
    go_live(hook, version_of(FIRST, format="sklearn", protocol="v2"))

    answer = hook.predict(MODEL, json.dumps(PIXELS).encode())
    assert (answer.body["outputs"][0]["data"], answer.body["model_version"], answer.version) == ([1], None, FIRST)
    assert hook.endpoint_url(MODEL).endswith(f"/v2/models/{MODEL}/infer")
    # What is no request of that protocol is not made one.
    assert hook.predict(MODEL, SETOSA).status_code == 400


@pytest.mark.waits
@pytest.mark.parametrize("world", ["Standard"], indirect=True)
def test_a_container_of_ones_own_says_by_itself_who_it_is(
    world: KServeWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = world.hook
    given = {"container": {"image": PINNED}, "model_name": "flowers"}
    hook.check_candidate(version_of(FIRST, **given))
    assert "has no digest" not in capsys.readouterr().out
    go_live(hook, version_of(FIRST, **given))

    answer = hook.predict(MODEL, SETOSA)
    assert (answer.body, answer.version) == ({"predictions": [0]}, FIRST)
    assert hook.endpoint_url(MODEL).endswith("/v1/models/flowers:predict")


@pytest.mark.parametrize("world", ["Standard"], indirect=True)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"format": "lightgbm"}, r"No ServingRuntime of the cluster takes format lightgbm with protocol v1"),
        ({"format": "sklearn", "runtime": "none"}, r"There is no ServingRuntime none .*`predictor\.runtime`"),
        (
            {"format": "onnx", "runtime": "sklearnserver"},
            r"sklearnserver does not say that it serves format onnx\. Name another",
        ),
    ],
)
def test_a_format_without_a_runtime_is_refused_before_anything_is_trained(
    world: KServeWorld, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        world.hook.check_candidate(version_of(FIRST, **given))


@pytest.mark.parametrize("world", ["Standard"], indirect=True)
def test_an_image_whose_tag_may_move_is_told(world: KServeWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.hook.check_candidate(version_of(FIRST, container={"image": "server:1"}))
    assert "has no digest" in capsys.readouterr().out


@pytest.mark.waits
@pytest.mark.parametrize("world", ["Standard"], indirect=True)
def test_where_runtimes_cannot_be_read_the_status_says_that_none_fits(world: KServeWorld) -> None:
    hook = world.hook
    hook.deploy_candidate(version_of(FIRST, format="lightgbm"))

    found = settled(hook, MODEL, FIRST)
    assert found.state is DeploymentState.FAILED
    assert found.reason is not None
    assert "KServe cannot serve it (NoSupportingRuntime)" in found.reason
    assert "model type: lightgbm" in found.reason
