"""Users of the double see no gap while models come, crash and go. What breaks here would look like a hook's fault."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.doubles.kubernetes import Behaviour
from tests.doubles.kubernetes_tests.kserve_support import serving


@pytest.mark.parametrize("mode", ["Knative", "Standard"])
def test_no_release_and_no_crash_leaves_a_user_without_an_answer(mode: str, eventually: Any) -> None:
    answers: Counter[int] = Counter()
    over = threading.Event()
    with serving(mode) as made:
        made.create()
        eventually(made.version)
        url = f"{made.k8s.gateway_url}/v1/models/reviews:predict"
        headers = {"Host": made.status()["url"].removeprefix("http://")}

        def use() -> None:
            with httpx.Client(timeout=60) as client:
                while not over.is_set():
                    answers[client.post(url, json={"instances": ["good"]}, headers=headers).status_code] += 1

        users = [threading.Thread(target=use) for _ in range(2)]
        for user in users:
            user.start()
        try:
            for day in range(10, 14):
                good, bad = f"202603{day}000000", f"202603{day}111111"
                made.patch(version=good)
                eventually(lambda good=good: made.version() == good, seconds=60)
                made.models.behave(bad, Behaviour.CRASH)
                made.patch(version=bad)
                eventually(made.crash, seconds=60)
        finally:
            over.set()
            for user in users:
                user.join()

    assert set(answers) == {200}
