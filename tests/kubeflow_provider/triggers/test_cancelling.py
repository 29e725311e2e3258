from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.triggers import _cancelling
from kubeflow_provider.triggers._cancelling import cancel_patiently, outlive_the_trigger

log = logging.getLogger(__name__)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses, which take no time and are all that the clock knows."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(_cancelling.asyncio, "sleep", sleep)
    monkeypatch.setattr(_cancelling.time, "monotonic", lambda: sum(pauses))
    return pauses


class Cancel:
    """Fails in these ways, one after the other, and then works."""

    def __init__(self, *errors: KubeflowProviderError) -> None:
        self.errors = list(errors)
        self.worked = False

    async def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.worked = True


async def test_what_outlives_the_trigger_is_done_though_its_waiter_is_cancelled_again_and_again() -> None:
    heard = asyncio.Event()
    done: list[str] = []

    async def work() -> None:
        await heard.wait()
        done.append("done")

    waiter = asyncio.create_task(outlive_the_trigger(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert len(_cancelling._under_way) == 1

    heard.set()
    while _cancelling._under_way:
        await asyncio.sleep(0)
    assert done == ["done"]


@pytest.mark.parametrize("error", [ServiceUnavailableError("503"), PermissionDeniedError("the login is over")])
async def test_goes_on_asking_until_it_is_heard(slept: list[float], error: KubeflowProviderError) -> None:
    cancel = Cancel(*[error] * 8)
    await cancel_patiently("Run 1", cancel, log)

    assert cancel.worked
    assert slept == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_says_at_last_that_nobody_has_heard_it(slept: list[float], caplog: pytest.LogCaptureFixture) -> None:
    cancel = Cancel(*[ServiceUnavailableError("503")] * 1000)
    await cancel_patiently("Run 1", cancel, log)

    assert not cancel.worked
    assert _cancelling.PATIENCE_SECONDS - 30 <= sum(slept) <= _cancelling.PATIENCE_SECONDS
    assert caplog.messages[-1] == "Run 1 goes on: nobody could be asked to stop it, do it by hand. 503"


async def test_does_not_repeat_what_can_never_work(slept: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    cancel = Cancel(InvalidRequestError("400"))
    await cancel_patiently("Run 1", cancel, log)

    assert (cancel.worked, slept) == (False, [])
    assert caplog.messages == ["Run 1 cannot be cancelled: 400"]
