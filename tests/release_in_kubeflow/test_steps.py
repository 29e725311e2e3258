"""The pipeline that releases without Airflow decides as the gate under Airflow does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from include.contracts.kinds.text_classifier import GoldenExample, TextClassifierCandidate
from include.contracts.registry_tags import ReleaseState
from include.contracts.version.evidence import EvidenceError
from include.release_in_kubeflow import steps
from include.release_in_kubeflow.inference_service import DeploymentError
from include.release_in_kubeflow.registry import Registry, registry_of
from include.release_in_kubeflow.steps import (
    NotGoodEnoughError,
    _check_row,
    deploy_step,
    load_data_step,
    predict_step,
    register_step,
)
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service import RegistryService
from tests.doubles.model_registry import model_registry
from tests.toy_package import publish

LIVE = "20260101000000"
#: Each candidate has one of its own: what was judged of a version once is what is judged of it again.
VERSIONS = (f"202601020000{second:02}" for second in range(60))


@pytest.fixture
def candidate(tmp_path: Path):
    """Return ``write(low, difference, high)``, which writes a candidate that was compared with a live model."""

    def write(*interval: float, model: str = "reviews") -> str:
        version = next(VERSIONS)
        document = publish(tmp_path / version, model=model, version=version)
        low, difference, high = interval
        own = document["metrics"]["candidate"]
        document["metrics"]["live"] = own | {"version": LIVE, "macro_f1": own["macro_f1"] - difference}
        found = {"difference": difference, "low": low, "high": high}
        document["comparison"] = {
            "version": LIVE,
            "rows": 150,
            "confidence": 0.95,
            "resamples": 2000,
            "macro_f1": found,
            "accuracy": found,
            "mcnemar": {"candidate_only": 1, "live_only": 2, "p_value": 1.0},
            "per_class": {},
            "slices": [],
            "latency_ms": {"candidate": 1.0, "live": 1.0},
            "size_bytes": {"candidate": 1, "live": 1},
            "disagreements": [],
        }
        (tmp_path / version / "candidate.json").write_text(json.dumps(document), encoding="utf-8")
        return (tmp_path / version).as_uri()

    return write


@pytest.fixture(scope="module", params=["tracking_uri", "registry_uri"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Parameter of a registry in which a version of ``reviews`` is live, and a newer one of ``rolled-back``."""
    folder = tmp_path_factory.mktemp("registry")
    with ExitStack() as servers:
        if request.param == "registry_uri":
            uri = servers.enter_context(model_registry()).url
        else:
            uri = f"sqlite:///{folder}/mlflow.db"
        found = {"tracking_uri": "", request.param: uri}
        _fill(registry_of(**found), folder)
        yield found


def _fill(registry: Registry, folder: Path) -> None:
    for model, version in (("reviews", LIVE), ("rolled-back", "20260101120000")):
        document = publish(folder / model, model=model, version=version)
        candidate = TextClassifierCandidate.read(document, where="made in a test")
        registry.register(candidate, state=ReleaseState.CANDIDATE)
        registry.set_state(model, version, ReleaseState.LIVE)


def airflow_hook(registry: dict[str, str]) -> RegistryService:
    """Return the registry as the Airflow half sees it."""
    if uri := registry.get("registry_uri"):
        fields = {"conn_type": "kubeflow_model_registry", "host": uri}
        return ModelRegistryHook("r", connection=Connection(conn_id="r", **fields))
    return MlflowHook("r", connection=Connection(conn_id="r", conn_type="mlflow", extra=json.dumps(registry)))


@pytest.mark.parametrize(
    ("interval", "options", "reason"),
    [
        ((-0.009, 0.0, 0.009), {}, None),
        ((0.0, 0.0, 0.0), {"max_regression": 0.0}, None),
        ((-0.015, -0.005, 0.005), {}, "150 rows are too few to tell"),
        ((-0.015, -0.005, 0.005), {"when_inconclusive": "release"}, None),
        ((-0.035, -0.022, -0.009), {"when_inconclusive": "release"}, "difference -0.022, 95 % interval -0.035 to"),
        ((0.0, 0.0, 0.0), {"min_macro_f1": 0.95}, "macro F1 0.900, at least 0.95 is needed"),
    ],
)
def test_a_candidate_is_registered_exactly_when_it_is_not_worse(registry, candidate, interval, options, reason):
    settings: dict[str, Any] = {"min_macro_f1": 0.8, "max_regression": 0.01} | options

    def register() -> None:
        register_step(output_uri=candidate(*interval), **registry, **settings)

    if reason is None:
        register()
    else:
        with pytest.raises(NotGoodEnoughError, match=reason):
            register()


def test_the_registry_says_that_a_pipeline_made_it_and_which_run(registry, candidate, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "b5c4f3d2-run")
    uri = candidate(0.0, 0.0, 0.0, model="without-airflow")
    register_step(output_uri=uri, **registry, min_macro_f1=0.8, max_regression=0.01)
    (found,) = (entry for entry in airflow_hook(registry).list_made_by_pipelines() if entry.model == "without-airflow")
    assert (found.facts["trigger"], found.facts["pipeline_run_id"]) == ("pipeline", "b5c4f3d2-run")
    assert len(found.facts["archive_sha256"]) == 64
    assert found.state is ReleaseState.CANDIDATE


def test_a_comparison_with_what_is_live_no_longer_counts_for_nothing(registry, candidate):
    with pytest.raises(NotGoodEnoughError, match=f"compared with {LIVE}, but 20260101120000 is live now"):
        register_step(
            output_uri=candidate(0.0, 0.0, 0.0, model="rolled-back"),
            **registry,
            min_macro_f1=0.8,
            max_regression=0.01,
        )


class Service:
    """What is deployed, without a cluster; it answers as the toy model does."""

    def __init__(self) -> None:
        self.deployed: list[dict[str, Any]] = []
        self.put_back_from: list[str] = []

    def deploy(self, version: str, predictor: dict[str, Any]) -> None:
        self.deployed.append(predictor)

    def put_back(self, version: str) -> str:
        self.put_back_from.append(version)
        return "The version before was put back."


@pytest.mark.parametrize("changed", ["candidate.json", "model-store/reviews.mar"])
@pytest.mark.parametrize("when", ["before it is deployed", "before it is asked"])
def test_only_what_was_judged_goes_live(registry, candidate, monkeypatch, changed, when):
    monkeypatch.setattr(steps, "storage_uri", lambda uri, volume: uri)
    uri = candidate(0.0, 0.0, 0.0)
    file = Path(uri.removeprefix("file://")) / changed
    judged = register_step(output_uri=uri, **registry, min_macro_f1=0.8, max_regression=0.01)
    known = {"output_uri": uri, "judged": judged, **registry, "service": Service()}
    if when == "before it is asked":
        deploy_step(**known, volume="models", runtime="a-runtime")
        assert known["service"].deployed[0]["model"]["env"][0]["value"] == judged["archive_sha256"]
    file.write_bytes(file.read_bytes() + b"\n")
    if when == "before it is deployed":
        with pytest.raises(EvidenceError, match=f"{file.name} has SHA-256"):
            deploy_step(**known, volume="models", runtime="a-runtime")
        assert not known["service"].deployed
        with pytest.raises(EvidenceError, match=f"{file.name} has SHA-256"):
            register_step(output_uri=uri, **registry, min_macro_f1=0.8, max_regression=0.01)
    else:
        with pytest.raises(DeploymentError, match=f"{file.name} has SHA-256 .* The version before was put back"):
            predict_step(**known)
        assert known["service"].put_back_from == [file.parents[changed.count("/")].name]


@pytest.mark.parametrize(
    ("bad", "kernel", "problem"),
    [
        (0.2, None, None),
        (0.24, "torch-float32", None),
        (0.24, None, "differ by 0.0400"),
        (0.2, "torch-float32", "differ by 0.0400"),
        (0.2, "onnx-int8", "a kernel for which no answer is recorded"),
        (0.2, ["torch-float32"], "a kernel for which no answer is recorded"),
    ],
)
def test_an_answer_is_compared_with_what_the_kernel_gives_that_computed_it(bad, kernel, problem):
    in_float32 = {"label": "good", "probabilities": {"bad": 0.24, "good": 0.76}}
    example = GoldenExample.model_validate(
        {
            "text": "a text",
            "label": "good",
            "probabilities": {"bad": 0.2, "good": 0.8},
            "computed_in": {"torch-float32": in_float32},
        }
    )
    found = {"label": "good", "probabilities": {"bad": bad, "good": 1 - bad}, "version": LIVE}
    found |= {"computed_in": kernel} if kernel else {}

    if problem is None:
        _check_row(1, example, found, LIVE)
    else:
        with pytest.raises(DeploymentError, match=problem):
            _check_row(1, example, found, LIVE)


def test_a_version_that_another_run_has_is_not_taken_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr("include.classifier.preprocess.preprocess", lambda *_, **__: None)
    loaded = [
        load_data_step(
            data={"train": ["a.csv"], "labels": {"0": "bad", "1": "good"}},
            training={},
            model_name="reviews",
            model_version="20261121030059",
            store_uri=tmp_path.as_uri(),
            tracking_uri="",
        )
        for _ in range(2)
    ]
    assert [release.model_version for release in loaded] == ["20261121030059", "20261121030100"]
    assert loaded[1].output_uri == f"{tmp_path.as_uri()}/reviews/20261121030100"


def test_classes_have_the_same_order_however_an_object_of_a_pipeline_is_shuffled(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("include.classifier.preprocess.preprocess", lambda data, **_: read.append(list(data.labels)))
    for labels in ({"0": "bad", "1": "good"}, {"1": "good", "0": "bad"}, ["good", "bad"]):
        load_data_step(
            data={"train": ["a.csv"], "labels": labels},
            training={},
            model_name="reviews",
            model_version="20261121030059",
            store_uri=tmp_path.as_uri(),
            tracking_uri="",
        )
    assert read == [["0", "1"], ["0", "1"], ["good", "bad"]]
