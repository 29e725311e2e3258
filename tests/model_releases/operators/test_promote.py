"""How a version gets the traffic where it can be split."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string

from include.contracts.monitoring.layout import written_at
from include.contracts.monitoring.shadow_settings import ShadowConfig
from include.contracts.registry_tags import ReleaseState
from kubeflow_provider import outages
from kubeflow_provider.exceptions import DeploymentFailedError, OutageError
from kubeflow_provider.services import Answer, Deployment
from kubeflow_provider.states import DeploymentState
from model_releases.exceptions import CheckFailedError, ReleaseRefusedError
from model_releases.operators.promote import PromoteOperator
from model_releases.registry.service import Release
from model_releases.rules.rollout import Watch
from model_releases.triggers import promotion
from tests.connected import connect
from tests.serving_support import FakeContext

MODEL, LIVE, NEW = "reviews", "20260101000000", "20260102000000"
ROLLOUT = {"steps": [10, 50], "watch_seconds": 60, "min_samples": 5}


class SplittingService:
    """A serving system that takes two questions to carry out a change of traffic."""

    works_in_background = False

    def __init__(self) -> None:
        self.percent = 0
        self.asked_for: list[int] = []
        self.becomes = DeploymentState.READY
        self.is_wrong_at = -1
        self.new_ms = 10.0
        self.predictions: list[tuple[str | None, bytes]] = []
        self._pending = 0
        self._turn = cycle(range(10))

    def get_live(self, model: str) -> Deployment:
        return self._deployment(LIVE if self.percent < 100 else NEW)

    def can_split_traffic(self, model: str) -> bool:
        return True

    def shift_traffic(self, model: str, version: str, percent: int) -> Deployment:
        self.asked_for.append(percent)
        self.percent, self._pending = percent, 2
        return self._deployment(version, DeploymentState.PENDING)

    def promote(self, model: str, version: str) -> Deployment:
        return SplittingService.shift_traffic(self, model, version, 100)

    def get_deployment(self, model: str, version: str) -> Deployment:
        self._pending = max(0, self._pending - 1)
        return self._deployment(version, DeploymentState.PENDING if self._pending else self.becomes)

    def predict(self, model: str, body: bytes, *, version: str | None = None) -> Answer:
        self.predictions.append((version, body))
        texts = json.loads(body)["instances"]
        took = self.new_ms if version == NEW else 10.0
        if version is None:
            version = NEW if next(self._turn) * 10 < self.percent else LIVE
            if version == NEW and self.percent == self.is_wrong_at:
                return Answer(status_code=500, body={"error": "no"}, latency_ms=1)
        predictions = [{"label": "good", "version": version} for _ in texts]
        return Answer(status_code=200, body={"predictions": predictions}, latency_ms=took)

    def endpoint_url(self, model: str) -> str:
        return f"http://models.example/v1/models/{model}:predict"

    @staticmethod
    def _deployment(version: str, state: DeploymentState = DeploymentState.READY) -> Deployment:
        return Deployment(model=MODEL, version=version, state=state, reason="the revision crashed")


class Clock:
    """Time that passes only while somebody sleeps: how many answers a watch gets does not hang on the machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SplittingService]:
    instance = SplittingService()
    connect(monkeypatch, serving_default=instance)
    clock = Clock()
    monkeypatch.setattr(promotion, "Watch", partial(Watch, clock=clock))
    monkeypatch.setattr(promotion.asyncio, "sleep", clock.sleep)
    return instance


def make(uri: str, rollout: Any = ROLLOUT, **settings: Any) -> PromoteOperator:
    settings = {"registry_conn_id": None, "deferrable": False} | settings
    return PromoteOperator(task_id="promote", model=MODEL, version=NEW, candidate_uri=uri, rollout=rollout, **settings)


def run(uri: str, rollout: Any = ROLLOUT, **settings: Any) -> str:
    return make(uri, rollout, **settings).execute(FakeContext())  # type: ignore[arg-type]


def test_the_traffic_comes_in_steps_and_each_is_watched(
    service: SplittingService, write_candidate: Callable[..., str]
) -> None:
    assert run(write_candidate()) == "http://models.example/v1/models/reviews:predict"
    assert service.asked_for == [10, 50, 100]


class AwayOnce(SplittingService):
    """Is away when it is asked for the nth time, and for two further questions."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.nth = nth
        self.asked = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name == "endpoint_url" or not callable(found):
            return found

        def ask(*arguments: Any, **options: Any) -> Any:
            self.asked += 1
            if self.nth <= self.asked < self.nth + 3:
                raise OutageError("away", budget_seconds=900)
            return found(*arguments, **options)

        return ask


def test_wherever_an_outage_comes_the_promotion_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, write_candidate: Callable[..., str]
) -> None:
    candidate = write_candidate()

    def promote_away_at(nth: int) -> AwayOnce:
        clock, service = Clock(), AwayOnce(nth)
        connect(monkeypatch, serving_default=service)
        monkeypatch.setattr(promotion, "Watch", partial(Watch, clock=clock))
        monkeypatch.setattr(promotion.asyncio, "sleep", clock.sleep)
        monkeypatch.setattr(outages.time, "sleep", lambda seconds: None)
        run(candidate)
        return service

    calls = promote_away_at(10**6).asked
    assert calls > 30
    for nth in range(1, calls + 1, 3):
        assert promote_away_at(nth).asked_for == [10, 50, 100], f"away at question {nth}"


def test_the_section_may_be_json_as_a_template_renders_it(
    service: SplittingService, write_candidate: Callable[..., str]
) -> None:
    run(write_candidate(), rollout=json.dumps(ROLLOUT | {"steps": [20]}))
    assert service.asked_for == [20, 100]


@pytest.mark.parametrize("rollout", [None, {}, ROLLOUT | {"steps": []}])
def test_without_steps_it_comes_at_once(service: SplittingService, rollout: Any) -> None:
    run("", rollout=rollout)
    assert {*service.asked_for} == {100}


def test_a_step_that_does_not_convince_ends_the_rollout(
    service: SplittingService, write_candidate: Callable[..., str]
) -> None:
    service.is_wrong_at = 50
    with pytest.raises(CheckFailedError, match="at 50 %"):
        run(write_candidate())
    assert service.asked_for == [10, 50]
    assert service.get_live(MODEL).version == LIVE


def test_a_version_that_fails_on_the_way_ends_the_rollout(
    service: SplittingService, write_candidate: Callable[..., str]
) -> None:
    service.becomes = DeploymentState.FAILED
    with pytest.raises(DeploymentFailedError, match="the revision crashed"):
        run(write_candidate())
    assert service.asked_for == [10]


async def event_of(deferred: TaskDeferred) -> dict[str, Any]:
    """Return what a trigger says that a triggerer has made from what the task left."""
    path, arguments = deferred.trigger.serialize()
    (event,) = [event async for event in import_string(path)(**arguments).run()]
    return dict(event.payload)


@pytest.mark.parametrize("is_wrong_at", [-1, 50])
def test_a_deferrable_task_leaves_the_watch_to_its_trigger(
    service: SplittingService, write_candidate: Callable[..., str], is_wrong_at: int
) -> None:
    service.is_wrong_at = is_wrong_at
    operator, context = make(write_candidate(), deferrable=True), FakeContext()
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)  # type: ignore[arg-type]
    assert service.asked_for == []

    event = json.loads(json.dumps(asyncio.run(event_of(caught.value))))
    if is_wrong_at == 50:
        with pytest.raises(CheckFailedError, match="at 50 %") as failure:
            operator.execute_complete(context, event)  # type: ignore[arg-type]
        assert failure.value.check == "rollout at 50 %"
        assert service.asked_for == [10, 50]
    else:
        assert operator.execute_complete(context, event) == context.xcoms["endpoint"]  # type: ignore[arg-type]
        assert service.asked_for == [10, 50, 100]


def test_a_task_with_nothing_to_watch_or_wait_for_is_not_deferred(service: SplittingService) -> None:
    service.promote = lambda model, version: service._deployment(version)  # type: ignore[method-assign]
    assert run("", rollout=None, deferrable=True)


def test_a_step_during_which_the_version_lost_pods_is_watched_again(
    service: SplittingService, write_candidate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = iter([True, True, False])
    watched: list[int] = []

    class Disturbed(Watch):
        def ask_users(self, percent: int) -> Iterator[float]:
            watched.append(percent)
            yield from super().ask_users(percent)
            service._pending = 2 if next(disturbed, False) else 0

    monkeypatch.setattr(promotion, "Watch", partial(Disturbed, clock=promotion.Watch.keywords["clock"]))
    run(write_candidate())
    assert watched == [10, 10, 10, 50]


def test_where_the_service_works_in_the_background_the_trigger_does_all_of_it(service: SplittingService) -> None:
    service.works_in_background = True
    with pytest.raises(TaskDeferred):
        run("", rollout=None, deferrable=True)
    assert service.asked_for == [], "nothing is shifted that nobody looks after"


def test_a_version_that_is_live_already_is_not_watched_again(
    service: SplittingService, write_candidate: Callable[..., str]
) -> None:
    run(write_candidate())
    service.asked_for.clear()
    run(write_candidate())
    assert {*service.asked_for} == {100}


@pytest.mark.parametrize("pinned", [False, True])
def test_what_a_person_has_decided_meanwhile_is_not_undone(
    service: SplittingService, write_candidate: Callable[..., str], registry: Any, pinned: bool
) -> None:
    registry.register(Release(model=MODEL, version=NEW, state=ReleaseState.CANDIDATE), metrics={})
    run(write_candidate(), compared_with=LIVE, registry_conn_id="registry_default")
    assert service.asked_for.pop() == 100
    if pinned:
        registry.add_facts(MODEL, NEW, {"rolled_back_by": "ada"})
        registry.set_state(MODEL, NEW, ReleaseState.ROLLED_BACK)
    service.percent, service.asked_for = 0, []
    other = LIVE if pinned else "20251231000000"
    with pytest.raises(ReleaseRefusedError, match="rolled back by ada" if pinned else f"compared with {other}"):
        run(write_candidate(), compared_with=other, registry_conn_id="registry_default")
    assert service.asked_for == []


def test_a_retry_after_the_traffic_has_come_is_not_refused(
    service: SplittingService, write_candidate: Callable[..., str]
) -> None:
    run(write_candidate())
    run(write_candidate(), compared_with=LIVE)
    assert service.get_live(MODEL).version == NEW


def beside_live(store: Path, **changes: Any) -> dict[str, Any]:
    return ShadowConfig(deployed_requests=20).beside_live(store_uri=store.as_uri()) | changes


def capture(store: Path, *texts: Any) -> None:
    """Write captured requests of now, one for each text, the newest last."""
    now = datetime.now(UTC)
    folder = store / "captured" / now.date().isoformat()
    folder.mkdir(parents=True)
    lines = [
        {
            "schema_version": 1,
            "id": f"request-{number}",
            "at": written_at(now + timedelta(milliseconds=number)),
            "model": MODEL,
            "version": LIVE,
            "protocol": "v1",
            "status": 200,
            "latency_ms": 3.5,
            "rows": [{"input": text, "features": {}, "output": "good", "confidence": 0.9}],
        }
        for number, text in enumerate(texts)
    ]
    (folder / "one-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("rollout", [{}, ROLLOUT])
def test_a_candidate_that_is_shown_to_be_slower_gets_no_traffic(
    service: SplittingService, write_candidate: Callable[..., str], tmp_path: Path, deferrable: bool, rollout: Any
) -> None:
    service.works_in_background = deferrable
    service.new_ms = 30.0
    operator = make(write_candidate(), rollout, deferrable=deferrable, beside_live=beside_live(tmp_path))

    def promote() -> None:
        try:
            operator.execute(FakeContext())  # type: ignore[arg-type]
        except TaskDeferred as deferred:
            event = json.loads(json.dumps(asyncio.run(event_of(deferred))))
            operator.execute_complete(FakeContext(), event)  # type: ignore[arg-type]

    with pytest.raises(CheckFailedError, match=r"latency beside the live version: expected at most 2, got 3 times"):
        promote()
    assert service.asked_for == []
    service.new_ms = 15.0
    promote()
    assert service.asked_for[-1] == 100


def test_it_is_asked_what_users_have_asked(
    service: SplittingService, write_candidate: Callable[..., str], tmp_path: Path
) -> None:
    capture(tmp_path, "an older text", {"sha256": "a" * 64}, "the newest text")
    run(write_candidate(), {}, beside_live=beside_live(tmp_path))

    asked = [body for version, body in service.predictions if version == LIVE]
    assert [json.loads(body)["instances"] for body in asked[:3]] == [
        ["the newest text"],
        ["an older text"],
        ["the newest text"],
    ]
    assert len(asked) == 24, "of which the first count for nothing"
    assert {version for version, _ in service.predictions} == {LIVE, NEW}


def test_where_no_text_was_kept_the_examples_of_the_release_are_asked(
    service: SplittingService, write_candidate: Callable[..., str], tmp_path: Path
) -> None:
    capture(tmp_path, None, {"sha256": "a" * 64})
    run(write_candidate(), {}, beside_live=beside_live(tmp_path))

    assert {json.loads(body)["instances"][0] for _, body in service.predictions} == {"a private text"}


def test_a_first_release_and_one_that_is_live_already_are_compared_with_nothing(
    service: SplittingService, write_candidate: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(write_candidate(), {}, beside_live=beside_live(tmp_path))
    service.predictions.clear()
    run(write_candidate(), {}, beside_live=beside_live(tmp_path))
    monkeypatch.setattr(service, "get_live", lambda model: None)
    run(write_candidate(), {}, beside_live=beside_live(tmp_path))
    assert service.predictions == []
