"""Which tasks somebody may still clear, by what has become of their version."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from model_releases.exceptions import ReleaseRefusedError, VersionSealedError
from model_releases.operators.pre_execute.sealed import RefuseSealed
from model_releases.registry.service import Release
from model_releases.rules import sealed

pytestmark = pytest.mark.computes

MODEL, VERSION = "reviews", "20260102000000"
TASK = SimpleNamespace(render_template=lambda text, context: text.replace("{{ version }}", VERSION))


@pytest.fixture
def is_judged(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list with one truth: whether the gate of this run has judged something."""
    found = [False]
    monkeypatch.setattr(sealed, "judged", lambda context: object() if found[0] else None)
    return found


def clear(*, writes: bool, then: Any = None) -> None:
    refuse = RefuseSealed(
        model=MODEL, version="{{ version }}", registry_conn_id="registry_default", writes=writes, then=then
    )
    refuse({"task": TASK})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "judged", "writer", "follower"),
    [
        ([], False, True, True),
        ([], True, False, True),
        ([ReleaseState.REJECTED], True, False, True),
        ([ReleaseState.CANDIDATE], True, False, True),
        ([ReleaseState.CANDIDATE], False, False, True),
        ([ReleaseState.FAILED], True, False, True),
        ([ReleaseState.LIVE], True, False, False),
        ([ReleaseState.LIVE, ReleaseState.RETIRED], True, False, False),
        ([ReleaseState.LIVE, ReleaseState.FAILED], True, False, False),
        ([ReleaseState.ROLLED_BACK], True, False, False),
    ],
)
def test_files_are_written_until_they_are_judged_and_the_rest_runs_until_users_have_had_it(
    registry: Any, is_judged: list[bool], states: list[ReleaseState], judged: bool, writer: bool, follower: bool
) -> None:
    is_judged[0] = judged
    if states:
        registry.register(Release(model=MODEL, version=VERSION, state=ReleaseState.CANDIDATE), metrics={})
    for state in states:
        registry.set_state(MODEL, VERSION, state)
    before = registry.get_release(MODEL, VERSION)
    for writes, may_run in ((True, writer), (False, follower)):
        looked: list[Any] = []
        if may_run:
            clear(writes=writes, then=looked.append)
        else:
            with pytest.raises(VersionSealedError, match="Trigger the DAG again instead of clearing"):
                clear(writes=writes, then=looked.append)
        assert bool(looked) is may_run
    assert registry.get_release(MODEL, VERSION) == before


def test_what_a_person_took_back_says_so(registry: Any, is_judged: list[bool]) -> None:
    registry.register(Release(model=MODEL, version=VERSION, state=ReleaseState.CANDIDATE), metrics={})
    registry.set_state(MODEL, VERSION, ReleaseState.LIVE)
    registry.add_facts(MODEL, VERSION, {"rolled_back_by": "ada", "rolled_back_reason": "rude"})
    registry.set_state(MODEL, VERSION, ReleaseState.ROLLED_BACK)
    with pytest.raises(ReleaseRefusedError, match=r"rolled back by ada .*: rude\. It does not come back"):
        clear(writes=False)
