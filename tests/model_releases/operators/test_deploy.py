"""The operators on a service that does as it is told; the real one is tested in contract and end_to_end."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from airflow.sdk.module_loading import import_string

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    LiveVersionUnknownError,
    ServiceUnavailableError,
)
from kubeflow_provider.services import Answer, Deployment, ModelVersion
from kubeflow_provider.states import DeploymentState
from model_releases.exceptions import ReleaseRefusedError, RollBackFailedError
from model_releases.memory.failures import Failure
from model_releases.operators import deploy as serving
from model_releases.operators import undo
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.undo import RollBackOperator
from model_releases.registry.service import Release
from tests.connected import connect
from tests.serving_support import MODEL, FakeContext, build_version, candidate_uri

LIVE, CANDIDATE = "20260101000000", "20260102000000"
PINNED = Release(
    model=MODEL, version=CANDIDATE, state=ReleaseState.ROLLED_BACK, facts={"rolled_back_by": "ada"},
    times={ReleaseState.LIVE: "2026-01-02T09:00:00", ReleaseState.ROLLED_BACK: "2026-01-02T10:00:00"},
)  # fmt: skip


class Serving:
    """Remembers what it was asked for."""

    works_in_background = False

    def __init__(self, live: str | None = LIVE, state: DeploymentState = DeploymentState.READY) -> None:
        self.live = live
        self.previous: str | None = None
        self.state = state
        self.deployed: ModelVersion | None = None
        self.roll_backs: list[str | None] = []
        self.answers_as: str | None = None
        self.error: Exception | None = None

    def _deployment(self, version: str) -> Deployment:
        return Deployment(model=MODEL, version=version, state=self.state, reason="so it is", url="http://candidate")

    def get_live(self, model: str) -> Deployment | None:
        return self._deployment(self.live) if self.live else None

    def get_previous(self, model: str) -> str | None:
        return self.previous

    def endpoint_url(self, model: str) -> str:
        return f"http://endpoint/{model}"

    def deploy_candidate(self, candidate: ModelVersion) -> Deployment:
        self.deployed = candidate
        return self._deployment(candidate.version)

    async def aget_deployment(self, model: str, version: str) -> Deployment:
        return self._deployment(version)

    def promote(self, model: str, version: str) -> Deployment:
        self.previous, self.live = self.live, version
        return self._deployment(version)

    def roll_back(self, model: str, *, candidate: str, previous: str | None) -> Deployment | None:
        if self.error:
            raise self.error
        self.roll_backs.append(previous)
        self.live = previous
        return self._deployment(previous) if previous else None

    def predict(self, model: str, body: bytes, **options: Any) -> Answer:
        version = self.answers_as or self.live
        return Answer(status_code=200, body={"predictions": [{"version": version}]}, latency_ms=1)


class Registry:
    """Remembers what was recorded."""

    def __init__(self) -> None:
        self.states: list[tuple[str, ReleaseState, str]] = []
        self.release: Release | None = None

    def get_release(self, model: str, version: str) -> Release | None:
        return self.release

    def get_live(self, model: str) -> Release:
        """Return what these tests have live before and after."""
        return Release(model=model, version=LIVE, state=ReleaseState.LIVE)

    def release_url(self, model: str, version: str) -> str:
        return f"http://registry/{model}/{version}"

    def set_state(self, model: str, version: str, state: ReleaseState, *, reason: str = "") -> None:
        self.states.append((version, state, reason))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()


def use(monkeypatch: pytest.MonkeyPatch, service: Serving, registry: Registry) -> Serving:
    connect(monkeypatch, serving_default=service, registry=registry)
    failure = Failure(task_id="smoke_test", error="CheckFailedError", message="latency: expected 1 ms, got 2 ms")
    monkeypatch.setattr(undo, "first_failure", lambda context, task_ids: failure)
    monkeypatch.setattr(undo, "_PROOF_SECONDS", 0)
    return service


def deploy(folder: Path, **changes: Any) -> DeployCandidateOperator:
    uri = candidate_uri(build_version(folder, CANDIDATE))
    arguments = {"model": MODEL, "version": CANDIDATE, "candidate_uri": uri, "settings": {"workers": 2}}
    return DeployCandidateOperator(
        **({"task_id": "deploy_candidate", "registry_conn_id": "registry", "deferrable": False} | arguments | changes)
    )


def roll_back(**changes: Any) -> RollBackOperator:
    arguments = {"model": MODEL, "version": CANDIDATE, "previous_version": LIVE, "registry_conn_id": "registry"}
    return RollBackOperator(**({"task_id": "roll_back"} | arguments | changes))


def test_deploying_leaves_the_way_back_and_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, context: FakeContext
) -> None:
    service = use(monkeypatch, Serving(), registry)
    assert deploy(tmp_path).execute(context) == "http://candidate"
    assert context.xcoms == {"previous_version": LIVE, "endpoint": f"http://endpoint/{MODEL}"}
    assert service.deployed is not None
    assert service.deployed.settings == {"workers": 2, "runtime": "torchserve"}
    assert service.deployed.origin["registry-url"] == f"http://registry/{MODEL}/{CANDIDATE}"
    assert registry.states == [(CANDIDATE, ReleaseState.CANDIDATE, "")]


def test_deploying_the_live_version_once_more_leaves_its_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, context: FakeContext
) -> None:
    use(monkeypatch, Serving(live=CANDIDATE), registry)
    registry.release = Release(model=MODEL, version=CANDIDATE, state=ReleaseState.LIVE)
    deploy(tmp_path).execute(context)
    assert registry.states == []


@pytest.mark.parametrize(
    ("live", "previous", "expected"), [(None, None, ""), (CANDIDATE, LIVE, LIVE), (CANDIDATE, None, "")]
)
def test_the_way_back_when_nothing_or_the_candidate_itself_is_live(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    registry: Registry,
    context: FakeContext,
    live: str | None,
    previous: str | None,
    expected: str,
) -> None:
    service = use(monkeypatch, Serving(live=live), registry)
    service.previous = previous
    deploy(tmp_path).execute(context)
    assert context.xcoms["previous_version"] == expected


def test_the_way_back_is_left_even_when_deploying_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, context: FakeContext
) -> None:
    use(monkeypatch, Serving(state=DeploymentState.FAILED), registry)
    with pytest.raises(DeploymentFailedError, match="so it is"):
        deploy(tmp_path).execute(context)
    assert context.xcoms["previous_version"] == LIVE


def test_a_candidate_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, context: FakeContext
) -> None:
    service = use(monkeypatch, Serving(), registry)
    with pytest.raises(InvalidRequestError, match=CANDIDATE):
        deploy(tmp_path, version="20260103000000").execute(context)
    assert service.deployed is None


@pytest.mark.parametrize(
    ("live", "compared_with", "release", "runs", "reason"),
    [
        (LIVE, "20251231000000", None, None, f"was compared with 20251231000000, but {LIVE} is live now"),
        (LIVE, "", None, None, f"compared with nothing, as a first release, but {LIVE}"),
        (LIVE, LIVE, PINNED, None, "was rolled back by ada at 2026-01-02T10:00:00"),
        (LIVE, LIVE, None, "roll_back_it, manual__7", r"being rolled back by hand \(roll_back_it, manual__7\)"),
        (LIVE, LIVE, None, "deploys", r"being deployed right now \(release_toy_reviews take_over_toy_reviews\)"),
    ],
    ids=["another one is live", "no first release any more", "taken back", "being rolled back", "two at once"],
)
def test_what_a_person_has_decided_meanwhile_is_not_undone(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    registry: Registry,
    context: FakeContext,
    live: str,
    compared_with: str,
    release: Release | None,
    runs: str | None,
    reason: str,
) -> None:
    service = use(monkeypatch, Serving(live=live), registry)
    rolls_back, deploys = runs if runs != "deploys" else None, runs == "deploys"
    monkeypatch.setattr(serving, "roll_back_under_way", lambda context, model: rolls_back)
    monkeypatch.setattr(serving, "deployment_under_way", lambda context, *dag_ids: deploys and " ".join(dag_ids))
    registry.release = release
    with pytest.raises(ReleaseRefusedError, match=reason):
        deploy(tmp_path, compared_with=compared_with).execute(context)
    assert service.deployed is None
    assert (context.xcoms, registry.states) == ({}, [])


@pytest.mark.parametrize(("live", "compared_with"), [(LIVE, LIVE), (CANDIDATE, LIVE), (None, ""), (LIVE, int(LIVE))])
def test_a_candidate_that_was_compared_with_what_is_live_is_deployed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    registry: Registry,
    context: FakeContext,
    live: str | None,
    compared_with: Any,
) -> None:
    service = use(monkeypatch, Serving(live=live), registry)
    monkeypatch.setattr(serving, "roll_back_under_way", lambda context, model: None)
    monkeypatch.setattr(serving, "deployment_under_way", lambda context, *dag_ids: None)
    deploy(tmp_path, compared_with=compared_with).execute(context)
    assert service.deployed is not None


@pytest.mark.parametrize(("compared_with", "is_refused"), [(LIVE, False), ("20251231000000", True), ("", True)])
def test_what_was_compared_elsewhere_replaces_what_was_live_when_its_run_began(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    registry: Registry,
    context: FakeContext,
    compared_with: str,
    is_refused: bool,
) -> None:
    service = use(monkeypatch, Serving(live=LIVE), registry)
    monkeypatch.setattr(serving, "roll_back_under_way", lambda context, model: None)
    monkeypatch.setattr(serving, "deployment_under_way", lambda context, *dag_ids: None)
    operator = deploy(tmp_path, compared_with=compared_with, taken_over=True)
    if is_refused:
        with pytest.raises(ReleaseRefusedError, match=f"{LIVE} is live now"):
            operator.execute(context)
    else:
        operator.execute(context)
    assert (service.deployed is None) is is_refused


def test_a_candidate_that_is_not_ready_is_waited_for_in_the_triggerer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, context: FakeContext
) -> None:
    use(monkeypatch, Serving(state=DeploymentState.PENDING), registry)
    operator = deploy(tmp_path, deferrable=True, timeout=timedelta(minutes=7))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    _, arguments = deferred.value.trigger.serialize()
    assert (arguments["model"], arguments["version"], arguments.get("candidate")) == (MODEL, CANDIDATE, None)
    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.timeout > timedelta(minutes=7)


def test_where_the_service_works_in_the_background_the_trigger_deploys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, context: FakeContext
) -> None:
    service = use(monkeypatch, Serving(), registry)
    service.works_in_background = True
    operator = deploy(tmp_path, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert service.deployed is None, "nothing is deployed that nobody looks after"
    assert context.xcoms["previous_version"] == LIVE

    path, arguments = deferred.value.trigger.serialize()
    trigger = import_string(path)(**arguments | {"candidate": json.loads(json.dumps(arguments["candidate"]))})
    event = asyncio.run(trigger.wait())
    assert operator.execute_complete(context, event) == "http://candidate"
    assert service.deployed is not None
    assert service.deployed.version == CANDIDATE
    assert service.deployed.settings == {"workers": 2, "runtime": "torchserve"}


def test_what_the_trigger_saw_ends_the_task(tmp_path: Path, context: FakeContext) -> None:
    operator = deploy(tmp_path)
    over = {"outcome": "over", "state": "READY", "reason": None, "url": "http://candidate"}
    assert operator.execute_complete(context, over) == "http://candidate"
    with pytest.raises(DeploymentFailedError, match="out of memory"):
        operator.execute_complete(context, over | {"state": "FAILED", "reason": "out of memory"})
    with pytest.raises(DeploymentFailedError, match="not ready within"):
        operator.execute_complete(context, {"outcome": "timeout"})
    with pytest.raises(ServiceUnavailableError, match="gone"):
        operator.execute_complete(context, {"outcome": "error", "error": "ServiceUnavailableError", "message": "gone"})


@pytest.mark.parametrize(("live", "state"), [(LIVE, ReleaseState.FAILED), (CANDIDATE, ReleaseState.ROLLED_BACK)])
def test_a_roll_back_is_recorded_with_the_first_failure(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext, live: str, state: ReleaseState
) -> None:
    service = use(monkeypatch, Serving(live=live), registry)
    assert roll_back().execute(context) == LIVE
    assert service.roll_backs == [LIVE]
    assert registry.states == [(CANDIDATE, state, "Task smoke_test failed: latency: expected 1 ms, got 2 ms")]


def test_what_the_serving_system_has_forgotten_is_put_back_all_the_same(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext
) -> None:
    class Forgetful(Serving):
        def get_live(self, model: str) -> Deployment | None:
            raise LiveVersionUnknownError("the record was broken")

    service = use(monkeypatch, Forgetful(), registry)
    assert roll_back().execute(context) == LIVE
    assert service.roll_backs == [LIVE]


def test_another_try_still_knows_that_the_candidate_had_been_live(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext
) -> None:
    use(monkeypatch, Serving(live=CANDIDATE), registry)
    roll_back(registry_conn_id=None).execute(context)
    roll_back().execute(context)
    assert registry.states[0][1] is ReleaseState.ROLLED_BACK


def test_a_version_that_has_been_live_once_is_never_recorded_as_one_that_was_not(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext
) -> None:
    use(monkeypatch, Serving(), registry)
    times = {ReleaseState.LIVE: "2026-01-02T09:00:00"}
    registry.release = Release(model=MODEL, version=CANDIDATE, state=ReleaseState.RETIRED, times=times)
    roll_back().execute(context)
    assert registry.states[0][1] is ReleaseState.ROLLED_BACK


def test_who_took_a_version_back_by_hand_stays_in_the_record(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext
) -> None:
    use(monkeypatch, Serving(), registry)
    registry.release = PINNED
    assert roll_back().execute(context) == LIVE
    assert registry.states == []


def roll_back_behind(monkeypatch: pytest.MonkeyPatch, error: str, **states: str) -> RollBackOperator:
    """Return a roll back behind tasks in these states; those that failed did so with this error."""

    def first_failure(context: Any, task_ids: Any) -> Failure | None:
        failed = [task_id for task_id in task_ids or states if states[task_id] == "failed"]
        return Failure(task_id=failed[0], error=error, message="so it is") if failed else None

    monkeypatch.setattr(undo, "task_states", lambda context: states | {"gate": "success"})
    monkeypatch.setattr(undo, "first_failure", first_failure)
    operator = roll_back()
    operator.upstream_task_ids.update(states)
    return operator


@pytest.mark.parametrize(
    ("error", "states", "touched"),
    [
        ("ReleaseRefusedError", {"deploy_candidate": "failed", "promote": "upstream_failed"}, False),
        ("", {"deploy_candidate": "upstream_failed", "promote": "upstream_failed"}, False),
        ("DeploymentFailedError", {"deploy_candidate": "failed", "promote": "upstream_failed"}, True),
        ("", {"deploy_candidate": "failed", "promote": "upstream_failed"}, True),
        ("ReleaseRefusedError", {"deploy_candidate": "success", "promote": "failed"}, True),
        ("VersionSealedError", {"deploy_candidate": "success", "promote": "failed"}, False),
    ],
    ids=["refused", "never begun", "failed", "died without a word", "refused when it was deployed already", "sealed"],
)
def test_only_what_was_touched_is_undone(
    monkeypatch: pytest.MonkeyPatch,
    registry: Registry,
    context: FakeContext,
    error: str,
    states: dict[str, str],
    touched: bool,
) -> None:
    service = use(monkeypatch, Serving(), registry)
    operator = roll_back_behind(monkeypatch, error, **states)
    if touched:
        operator.execute(context)
    else:
        with pytest.raises(AirflowSkipException):
            operator.execute(context)
    assert service.roll_backs == [LIVE] * touched


@pytest.mark.parametrize(
    ("state", "facts", "recorded"),
    [
        (ReleaseState.CANDIDATE, {}, [(CANDIDATE, ReleaseState.FAILED, "Task deploy_candidate failed: so it is")]),
        (ReleaseState.RETIRED, {}, []),
        (ReleaseState.CANDIDATE, {"rolled_back_by": "ada"}, []),
    ],
)
def test_a_refused_candidate_is_recorded_as_failed_and_what_was_live_once_is_not(
    monkeypatch: pytest.MonkeyPatch,
    registry: Registry,
    context: FakeContext,
    state: ReleaseState,
    facts: dict[str, str],
    recorded: list[Any],
) -> None:
    use(monkeypatch, Serving(), registry)
    registry.release = Release(model=MODEL, version=CANDIDATE, state=state, facts=facts, times=PINNED.times)
    with pytest.raises(AirflowSkipException):
        roll_back_behind(monkeypatch, "ReleaseRefusedError", deploy_candidate="failed").execute(context)
    assert registry.states == recorded


@pytest.mark.parametrize("previous", [None, "", "None"])
def test_nothing_to_put_back(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext, previous: str | None
) -> None:
    service = use(monkeypatch, Serving(live=None), registry)
    assert roll_back(previous_version=previous).execute(context) is None
    assert service.roll_backs == [None]


def test_a_roll_back_that_is_not_proven_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext
) -> None:
    service = use(monkeypatch, Serving(live=CANDIDATE), registry)
    service.answers_as = CANDIDATE
    with pytest.raises(RollBackFailedError, match=f"{LIVE} should answer after the roll back, got {CANDIDATE}"):
        roll_back().execute(context)
    assert registry.states == []


def test_a_roll_back_that_the_service_refuses_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, context: FakeContext
) -> None:
    service = use(monkeypatch, Serving(), registry)
    service.error = ServiceUnavailableError("the cluster is away")
    with pytest.raises(RollBackFailedError, match="the cluster is away"):
        roll_back().execute(context)
