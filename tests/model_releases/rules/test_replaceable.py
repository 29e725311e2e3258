"""A release that a person has taken back stays away until a person wants it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory.candidate import read_candidate
from model_releases.memory.release_record import make_record
from model_releases.registry.service import Release
from model_releases.rules.replaceable import is_pinned, refuse_outdated, refuse_pinned, rolled_back_twin

MODEL, OLD, RUDE, NEW = "reviews", "20260101000000", "20260102000000", "20260103000000"
BY_HAND = {"rolled_back_by": "ada", "rolled_back_reason": "rude", "rolled_back_to": OLD}


def entry(state: ReleaseState, facts: dict[str, str] = BY_HAND, **times: str) -> Release:
    found = {ReleaseState[name.upper()]: time for name, time in times.items()}
    return Release(model=MODEL, version=RUDE, state=state, facts=facts, times=found)


@pytest.mark.parametrize(
    ("release", "pinned"),
    [
        (entry(ReleaseState.ROLLED_BACK, rolled_back="2026-01-03T10:00:00+00:00"), True),
        (entry(ReleaseState.ROLLED_BACK, facts={}, rolled_back="2026-01-03T10:00:00+00:00"), False),
        (entry(ReleaseState.LIVE), False),
        (entry(ReleaseState.RETIRED), False),
        (entry(ReleaseState.CANDIDATE, live="2026-01-03T09:00:00", rolled_back="2026-01-03T10:00:00"), True),
        (entry(ReleaseState.CANDIDATE, live="2026-01-03T11:00:00", rolled_back="2026-01-03T10:00:00"), False),
    ],
    ids=["by hand", "by a failed release", "live again", "retired since", "a cleared task was here", "was live again"],
)
def test_only_what_a_person_took_back_and_nobody_put_back_is_pinned(release: Release, pinned: bool) -> None:
    assert is_pinned(release) is pinned


def test_the_refusal_says_who_when_and_why_and_the_way_to_do_it_on_purpose(registry: Any) -> None:
    registry.register(Release(model=MODEL, version=RUDE, state=ReleaseState.LIVE), metrics={})
    refuse_pinned(MODEL, RUDE, registry)
    registry.add_facts(MODEL, RUDE, BY_HAND)
    registry.set_state(MODEL, RUDE, ReleaseState.ROLLED_BACK)
    when = registry.get_release(MODEL, RUDE).times[ReleaseState.ROLLED_BACK]
    with pytest.raises(ReleaseRefusedError) as refused:
        refuse_pinned(MODEL, RUDE, registry)
    assert f"rolled back by ada at {when} to {OLD}: rude" in str(refused.value)
    assert f"trigger the DAG roll_back with version {RUDE}" in str(refused.value)
    # Clearing an earlier task writes another state over it; that is no way around the pin.
    registry.set_state(MODEL, RUDE, ReleaseState.CANDIDATE)
    with pytest.raises(ReleaseRefusedError):
        refuse_pinned(MODEL, RUDE, registry)


def test_a_version_that_is_not_in_the_registry_is_not_pinned(registry: Any) -> None:
    refuse_pinned(MODEL, NEW, registry)


@pytest.mark.parametrize(
    ("live", "compared_in_document", "live_at_the_start", "refused"),
    [
        (OLD, True, OLD, False),
        (NEW, True, OLD, False),
        (OLD, False, OLD, False),
        (NEW, False, "", False),
        (None, True, OLD, False),
        (RUDE, True, OLD, True),
        (RUDE, True, RUDE, True),
        (RUDE, False, OLD, True),
        (RUDE, False, "", True),
    ],
    ids=[
        "the one it was compared with",
        "the candidate itself: a retry",
        "no comparison, but the one of the start",
        "a first release, again",
        "nothing is live any more",
        "another one by now",
        "the first task alone was cleared",
        "no comparison, and another one than at the start",
        "no first release any more",
    ],
)
def test_a_candidate_only_replaces_what_it_was_compared_with(
    write_candidate: Callable[..., str],
    serving: Any,
    live: str | None,
    compared_in_document: bool,
    live_at_the_start: str,
    refused: bool,
) -> None:
    serving.live = live
    candidate = read_candidate(write_candidate(version=NEW, live=0.8 if compared_in_document else None))
    if not refused:
        refuse_outdated(candidate, serving, compared_with=live_at_the_start)
        return
    with pytest.raises(ReleaseRefusedError, match=f"but {live} is live now"):
        refuse_outdated(candidate, serving, compared_with=live_at_the_start)


def test_a_candidate_made_as_a_pinned_release_was_is_known_as_its_twin(
    write_candidate: Callable[..., str], registry: Any
) -> None:
    registry.register(make_record(read_candidate(write_candidate(version=RUDE)), state=ReleaseState.LIVE), metrics={})
    again = read_candidate(write_candidate(version=NEW))
    assert rolled_back_twin(again, registry) is None
    registry.add_facts(MODEL, RUDE, BY_HAND)
    registry.set_state(MODEL, RUDE, ReleaseState.ROLLED_BACK)
    twin = rolled_back_twin(again, registry)
    assert twin is not None
    assert twin.version == RUDE
    training = again.training.model_copy(update={"parameters": {"seed": 43}})
    assert rolled_back_twin(again.model_copy(update={"training": training}), registry) is None
