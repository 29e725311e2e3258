"""What a release finds out before it spends compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import Deployment, ModelVersion, RunRequest
from kubeflow_provider.states import DeploymentState
from model_releases.operators import check
from model_releases.operators.check import CheckReleaseOperator
from model_releases.registry.service import Release
from model_releases.rules import sealed
from tests.connected import connect
from tests.serving_support import FakeContext

MODEL, LIVE, NEW = "reviews", "20260101000000", "20260102000000"


class Service:
    """A service that answers, or says why not."""

    shows_arguments = True

    def __init__(self, problem: str = "", *, live: str | None = None, refusal: str = "") -> None:
        self.problem = problem
        self.refusal = refusal
        self.asked: list[RunRequest] = []
        self.live = live

    def test_connection(self) -> tuple[bool, str]:
        return not self.problem, self.problem or "fine"

    def check_run(self, request: RunRequest) -> None:
        self.asked.append(request)
        if self.refusal:
            raise InvalidRequestError(self.refusal)

    def check_candidate(self, candidate: ModelVersion) -> None:
        self.candidate = candidate
        if self.refusal:
            raise InvalidRequestError(self.refusal)

    def get_live(self, model: str) -> Deployment | None:
        return self.live and Deployment(model=model, version=self.live, state=DeploymentState.READY, is_live=True)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, registry: Any) -> dict[str, Any]:
    found = {"pipelines_default": Service(), "serving_default": Service(), "registry_default": registry}
    connect(monkeypatch, **found)
    monkeypatch.setattr(sealed, "judged", lambda context: None)
    monkeypatch.setattr(check, "roll_back_under_way", lambda context, model: None)
    return found


def operator(store: Path, record_and_wait: str, **changes: Any) -> CheckReleaseOperator:
    settings: dict[str, Any] = {
        "model": MODEL,
        "version": NEW,
        "store_uri": store.as_uri(),
        "pipeline_file": record_and_wait,
        "parameters": {"file": "somewhere"},
    }
    return CheckReleaseOperator(task_id="check", **(settings | changes))


def test_before_the_first_release_there_is_no_live_model(services, tmp_path, record_and_wait):
    found = operator(tmp_path / "store", record_and_wait).execute(FakeContext())
    assert found == {
        "version": NEW,
        "live_version": "",
        "live_uri": "",
        "tracking_uri": services["registry_default"].tracking_uri,
    }
    assert [path.name for path in (tmp_path / "store" / NEW).iterdir()] == ["claim.json"]


def test_what_could_not_be_served_is_not_trained(services, tmp_path, record_and_wait):
    services["serving_default"].refusal = "no pod can read it"
    with pytest.raises(InvalidRequestError, match=r"Nothing was started\. .*'serving_default': no pod can"):
        operator(tmp_path, record_and_wait, settings={"workers": 2}).execute(FakeContext())
    candidate = services["serving_default"].candidate
    assert (candidate.model, candidate.version, candidate.settings) == (MODEL, NEW, {"workers": 2})
    assert candidate.archive_uri == f"{tmp_path.as_uri()}/{NEW}/package"


def test_labels_of_a_registry_that_has_none_are_refused_before_anything_is_trained(
    services, tmp_path, record_and_wait, monkeypatch
):
    settings = {"kserve": {"registry_labels": True}}
    operator(tmp_path, record_and_wait, settings=settings).execute(FakeContext())  # nothing here is in Kubernetes
    services["serving_default"].namespace = "team"
    connect(monkeypatch, registry_default=Service())
    with pytest.raises(
        InvalidRequestError, match=r"'registry_default': serving\.kserve\.registry_labels is on, and only"
    ):
        operator(tmp_path, record_and_wait, settings=settings).execute(FakeContext())


def test_the_live_model_is_what_serves_with_the_archive_that_the_registry_knows(services, tmp_path, record_and_wait):
    registry = services["registry_default"]
    release = Release(model=MODEL, version=LIVE, state=ReleaseState.CANDIDATE, archive_uri="file:///store/live")
    registry.register(release, metrics={})
    registry.set_state(MODEL, LIVE, ReleaseState.LIVE)
    services["serving_default"].live = LIVE
    found = operator(tmp_path, record_and_wait).execute(FakeContext())
    assert found["live_version"] == LIVE
    assert found["live_uri"] == "file:///store/live"


def test_a_disagreement_between_registry_and_serving_is_said_and_does_not_stop_the_release(
    services, tmp_path, record_and_wait, capsys
):
    services["serving_default"].live = LIVE
    found = operator(tmp_path, record_and_wait).execute(FakeContext())
    assert found == found | {"live_version": LIVE, "live_uri": ""}
    assert f"the registry says that nothing is live, serving answers with {LIVE}" in capsys.readouterr().out


def test_where_the_registry_has_lost_the_live_version_the_store_still_has_it(
    services, tmp_path, record_and_wait, write_candidate
):
    services["serving_default"].live = LIVE
    (tmp_path / LIVE).mkdir()
    Path(write_candidate(version=LIVE).removeprefix("file://")).rename(tmp_path / LIVE / "candidate.json")
    found = operator(tmp_path, record_and_wait).execute(FakeContext())
    assert (found["live_version"], found["live_uri"]) == (LIVE, (tmp_path / f"package-{LIVE}").as_uri())


def test_no_release_begins_while_somebody_rolls_the_model_back(services, tmp_path, record_and_wait, monkeypatch):
    under_way = {MODEL: "roll_back_reviews, manual__7"}
    monkeypatch.setattr(check, "roll_back_under_way", lambda context, model: under_way.get(model))
    with pytest.raises(ServiceUnavailableError, match=r"being rolled back by hand \(roll_back_reviews, manual__7\)"):
        operator(tmp_path, record_and_wait).execute(FakeContext())
    under_way.clear()
    operator(tmp_path, record_and_wait).execute(FakeContext())


def test_every_service_that_does_not_answer_is_named_at_once(services, tmp_path, record_and_wait):
    services["pipelines_default"].problem = "no interpreter"
    services["serving_default"].problem = "port taken"
    with pytest.raises(
        ServiceUnavailableError, match=r"pipelines_default.*no interpreter.*serving_default.*port taken"
    ):
        operator(tmp_path, record_and_wait).execute(FakeContext())


def test_a_store_that_cannot_be_written_to_is_named(services, tmp_path, record_and_wait):
    occupied = tmp_path / "file"
    occupied.write_text("a file where a folder should be")
    with pytest.raises(ServiceUnavailableError, match=r"Model store .*file/reviews is not writable"):
        operator(occupied / "reviews", record_and_wait).execute(FakeContext())


def test_wrong_parameters_are_found_before_any_service_is_asked(services, tmp_path, record_and_wait):
    services["serving_default"].problem = "never asked"
    with pytest.raises(InvalidRequestError, match="no_such_parameter"):
        operator(tmp_path, record_and_wait, parameters={"file": "x", "no_such_parameter": 1}).execute(FakeContext())


def test_a_run_that_the_service_would_refuse_is_never_retried(services, tmp_path, record_and_wait):
    services["pipelines_default"].refusal = "cluster.image: is missing."
    services["serving_default"].problem = "port taken"
    with pytest.raises(InvalidRequestError, match=r"Nothing was started\..*cluster\.image: is missing.*port taken"):
        operator(tmp_path, record_and_wait, cluster={"volumes": []}).execute(FakeContext())
    (request,) = services["pipelines_default"].asked
    assert request.cluster == {"volumes": []}
    assert request.parameters == {"file": "somewhere"}


def test_a_service_that_does_not_answer_is_not_asked_about_the_run(services, tmp_path, record_and_wait):
    services["pipelines_default"].problem = "no network"
    with pytest.raises(ServiceUnavailableError, match="no network"):
        operator(tmp_path, record_and_wait).execute(FakeContext())
    assert services["pipelines_default"].asked == []


def test_what_the_form_may_not_name_is_refused_before_anybody_is_asked(services, tmp_path, record_and_wait):
    services["serving_default"].problem = "never asked"
    with pytest.raises(InvalidRequestError, match=r"Nothing was started\. /etc/a\.csv is not read"):
        operator(tmp_path, record_and_wait, refused_sources="/etc/a.csv is not read").execute(FakeContext())
    assert not list(tmp_path.rglob("claim.json"))


def test_an_address_with_a_secret_is_refused_before_a_pod_is_given_it(services, tmp_path, record_and_wait):
    services["pipelines_default"].problem = "never asked"
    with pytest.raises(InvalidRequestError, match=r"^https://h/a\.csv: a password or signature"):
        operator(tmp_path, record_and_wait, private_sources="https://h/a.csv").execute(FakeContext())
    assert not list(tmp_path.rglob("claim.json"))
