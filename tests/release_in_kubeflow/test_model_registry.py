"""A pipeline without Airflow keeps its releases in Kubeflow's registry as the Airflow half does, which reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk import Connection

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.registry_tags import ReleaseState
from include.release_in_kubeflow import model_registry as client
from include.release_in_kubeflow.model_registry import ModelRegistryClient, ModelRegistryError
from include.release_in_kubeflow.registry import MlflowRegistry, registry_of
from model_releases.registry.model_registry import ModelRegistryHook
from tests.doubles.model_registry import ModelRegistry, model_registry
from tests.toy_package import publish

FIRST, SECOND = "20260101000000", "20260102000000"


@pytest.fixture(params=["v1", "v1alpha3"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelRegistry]:
    monkeypatch.setattr(client, "_PAUSE_SECONDS", 0.01)
    with model_registry(versions=(request.param,)) as server:
        yield server


def candidate(folder: Path, version: str) -> TextClassifierCandidate:
    document = publish(folder / version, model="reviews", version=version)
    return TextClassifierCandidate.read(document, where="made in a test")


def airflow(server: ModelRegistry) -> ModelRegistryHook:
    return ModelRegistryHook(
        "r", connection=Connection(conn_id="r", conn_type="kubeflow_model_registry", host=server.url)
    )


def test_the_airflow_half_reads_what_a_pipeline_has_released(server: ModelRegistry, tmp_path: Path) -> None:
    made = candidate(tmp_path, SECOND)
    first = candidate(tmp_path, FIRST)
    registry = registry_of("", server.url)
    assert registry.live_version("reviews") == registry.judged("reviews", FIRST) == ""
    registry.register(first, state=ReleaseState.CANDIDATE, trigger="pipeline", pipeline_run_id="run-1")
    registry.set_state("reviews", FIRST, ReleaseState.LIVE)
    registry.register(made, state=ReleaseState.CANDIDATE, trigger="pipeline", candidate_sha256="ab")
    registry.set_state("reviews", SECOND, ReleaseState.LIVE, reason="released by its pipeline")

    assert registry.live_version("reviews") == SECOND
    assert registry.live_package("reviews") == made.archive.uri
    assert registry.judged("reviews", SECOND) == "ab"
    live, previous = airflow(server).get_live("reviews"), airflow(server).get_previous("reviews")
    assert (live and live.reason, previous and previous.state) == ("released by its pipeline", ReleaseState.RETIRED)
    assert [entry.version for entry in airflow(server).list_made_by_pipelines()] == [SECOND, FIRST]
    assert previous is not None
    assert float(previous.facts["metric.candidate.macro_f1"]) == first.metrics.candidate.macro_f1
    assert previous.facts["archive_sha256"] == first.archive.sha256


def test_without_its_address_releases_are_kept_in_mlflow() -> None:
    assert isinstance(registry_of(""), MlflowRegistry)


def test_a_question_is_asked_again_and_a_write_is_not(server: ModelRegistry) -> None:
    registry = registry_of("", server.url)
    server.fault("status", method="GET", times=2, status=503)
    assert registry.live_version("reviews") == ""
    server.fault("reset", method="POST", times=3)
    with pytest.raises(ModelRegistryError, match=r"did not answer .* to POST /registered_models"):
        ModelRegistryClient(server.url).tell(_making())
    assert server.calls("POST") == 1


def _making():
    from include.contracts.model_registry.things import make_model

    return make_model("reviews")


def test_a_token_is_sent_and_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with model_registry(token="a good token") as server:
        monkeypatch.setenv("MODEL_REGISTRY_TOKEN", "a good token\n")
        assert registry_of("", server.url).live_version("reviews") == ""
        monkeypatch.setenv("MODEL_REGISTRY_TOKEN", "a bad token")
        server.fault("status", times=9, status=401, body="Jwt 'a bad token' is wrong")
        with pytest.raises(ModelRegistryError) as refused:
            registry_of("", server.url).live_version("reviews")
    assert "answered 401" in str(refused.value)
    assert "a bad token" not in str(refused.value)


def test_no_redirect_is_followed(server: ModelRegistry) -> None:
    server.fault("status", times=9, status=302, headers=(("Location", "http://127.0.0.1:9/login"),), body="")

    with pytest.raises(ModelRegistryError, match="answered 302"):
        registry_of("", server.url).live_version("reviews")


@pytest.mark.parametrize("url", ["registry", "file:///etc/passwd", "http://user:pw@registry", "http://r?x=1"])
def test_what_is_no_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ModelRegistryError, match="registry_uri: the address") as refused:
        registry_of("", url)
    assert "pw" not in str(refused.value)
