"""A task that dies after any of its writes and runs again releases and rolls back as if nothing had been; users never
notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.kserve_support import GOOD, KServeWorld, QuickHook, Users, kserve, release

pytestmark = [pytest.mark.waits, pytest.mark.long]

MODEL = "reviews"
_WRITES = ("create_service", "_patch_service", "delete_service", "put_snapshot", "delete_snapshot")


class Killed(BaseException):
    """The worker is gone in the middle of a task."""


@pytest.fixture(params=["Serverless", "Standard"])
def world(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[KServeWorld]:
    with kserve(tmp_path, settings=KServeSettings(default_mode=request.param)) as running:
        yield running


def dying_hook(world: KServeWorld, after_writes: int) -> KServeHook:
    """Return a hook whose process dies as soon as it has written so many times."""
    hook, left = fresh_hook(world), [after_writes]

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = write(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return result

        return call

    for name in _WRITES:
        setattr(hook._api, name, dying(getattr(hook._api, name)))
    return hook


def fresh_hook(world: KServeWorld) -> QuickHook:
    return QuickHook("serving_test", connection=world.connection)


def survive(world: KServeWorld, task: Callable[[KServeHook], object], after_writes: int) -> bool:
    """Run a task that dies, then again to its end; return whether it died."""
    try:
        task(dying_hook(world, after_writes))
    except Killed:
        task(fresh_hook(world))
        return True
    return False


def check_live(world: KServeWorld, version: str) -> None:
    """Exactly this version is live, and nothing else is left over."""
    live = world.hook.get_live(MODEL)
    assert live is not None
    assert (live.version, live.state) == (version, DeploymentState.READY)
    answers = [world.hook.predict(MODEL, GOOD) for _ in range(5)]
    assert {answer.body["predictions"][0]["version"] for answer in answers} == {version}
    left = {entry["metadata"]["name"] for entry in world.k8s.store.entries(SERVICES)}
    going = {
        entry["metadata"]["name"]
        for entry in world.k8s.store.entries(SERVICES)
        if entry["metadata"].get("deletionTimestamp")
    }
    assert left - going == {MODEL}


def test_a_worker_may_die_anywhere(world: KServeWorld) -> None:
    versions = (str(number) for number in count(20260101000000))
    live = next(versions)
    release(world.hook, MODEL, live)
    died = {"release": 0, "roll back": 0}
    with Users(fresh_hook(world), MODEL) as users:
        for writes in count(1):
            before, live = live, next(versions)
            has_died = survive(world, lambda hook, version=live: release(hook, MODEL, version), writes)
            check_live(world, live)
            if not has_died:
                break
            died["release"] += 1
            assert world.hook.get_previous(MODEL) == before
        for writes in count(1):
            bad = next(versions)
            release(world.hook, MODEL, bad)
            undo = lambda hook, bad=bad: hook.roll_back(MODEL, candidate=bad, previous=live)  # noqa: E731
            has_died = survive(world, undo, writes)
            check_live(world, live)
            assert world.hook.get_deployment(MODEL, bad) is None
            if not has_died:
                break
            died["roll back"] += 1
    assert died["release"] >= 4
    assert died["roll back"] >= 2
    assert users.answers.keys() == {"good"}, users.answers
