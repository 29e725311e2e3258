"""Releases on the KServe that the environment names, while somebody asks it all the time."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest

from tests.kserve_support import Users, forget_model, go_live, real_kserve

pytestmark = pytest.mark.skipif(not os.environ.get("KSERVE_KUBECONFIG"), reason="KSERVE_KUBECONFIG is not set")

VERSIONS = ("20260101000000", "20260102000000", "20260103000000")


@pytest.mark.timeout(3600)
def test_two_releases_and_the_way_back_lose_no_request() -> None:
    hook, build = real_kserve()
    model = f"try-{uuid4().hex[:8]}"
    first, second, third = (build(model, version, "sound") for version in VERSIONS)
    try:
        go_live(hook, first)
        with Users(hook, model) as users:
            go_live(hook, second)
            go_live(hook, third)
            live = hook.roll_back(model, candidate=third.version, previous=second.version)
    finally:
        forget_model(hook, model)

    failed = {answer: count for answer, count in users.answers.items() if answer != "good"}
    print(f"note: {users.answers.total()} requests, {sum(failed.values())} failed")
    assert live is not None
    assert live.version == second.version
    assert failed == {}
    assert users.answers["good"] > 0
