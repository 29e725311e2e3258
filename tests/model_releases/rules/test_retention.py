"""Which versions' files stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from include.contracts.settings import RetentionConfig
from include.contracts.version.numbers import release_time
from model_releases.registry.service import Release
from model_releases.rules.retention import decide

NOW = datetime(2026, 3, 1, tzinfo=UTC)
VERSIONS = [f"202601{day:02}000000" for day in range(1, 9)]


def release(version: str, state: ReleaseState = ReleaseState.RETIRED, **facts: str) -> Release:
    return Release(model="reviews", version=version, state=state, facts=facts)


def judged(
    versions: list[str], *releases: Release, in_use: dict[str, str] | None = None, **policy: Any
) -> dict[str, tuple[bool, str]]:
    records = {entry.version: entry for entry in releases}
    found = decide(versions, records, in_use or {}, RetentionConfig(**policy), now=NOW)
    assert [verdict.version for verdict in found] == sorted(versions, reverse=True)
    return {verdict.version: (verdict.goes, verdict.why) for verdict in found}


def going(*arguments: Any, **settings: Any) -> set[str]:
    return {version for version, (goes, _) in judged(*arguments, **settings).items() if goes}


def test_the_newest_releases_stay_and_those_in_use_besides() -> None:
    releases = [release(version) for version in VERSIONS]
    assert going(VERSIONS, *releases, keep_releases=3) == set(VERSIONS[:5])
    in_use = {VERSIONS[0]: "live", VERSIONS[1]: "the version before the live one"}
    found = judged(VERSIONS, *releases, in_use=in_use, keep_releases=3)
    assert {version for version, (goes, _) in found.items() if goes} == set(VERSIONS[2:5])
    assert found[VERSIONS[0]] == (False, "live")
    assert found[VERSIONS[7]] == (False, "among the 3 newest releases")
    assert found[VERSIONS[4]] == (True, "older than the 3 newest releases")


def test_what_was_rolled_back_counts_as_a_release_and_what_never_was_live_by_itself() -> None:
    states = [ReleaseState.RETIRED, ReleaseState.REJECTED, ReleaseState.ROLLED_BACK, ReleaseState.FAILED] * 2
    releases = [release(version, state) for version, state in zip(VERSIONS, states, strict=True)]
    assert going(VERSIONS, *releases, keep_releases=2, keep_unreleased=1) == {*VERSIONS[:4], VERSIONS[5]}
    assert going(VERSIONS, *releases, keep_releases=2, keep_unreleased=0) == {*VERSIONS[:4], VERSIONS[5], VERSIONS[7]}


def test_whatever_is_young_stays_and_what_nobody_knows_goes_when_it_is_old() -> None:
    young = "20260225000000"
    found = judged([VERSIONS[0], young], grace_days=7)
    assert found == {young: (False, "younger than 7 days"), VERSIONS[0]: (True, "no record knows it")}


def test_a_deletion_that_was_interrupted_is_finished_and_takes_nobodys_place() -> None:
    marked = release(VERSIONS[7], archive_deleted_at="2026-02-22T04:00:00+00:00")
    found = judged(VERSIONS[5:], marked, release(VERSIONS[6]), release(VERSIONS[5]), keep_releases=2)
    assert found[VERSIONS[7]] == (True, "its deletion was interrupted")
    assert not found[VERSIONS[6]][0]
    assert not found[VERSIONS[5]][0]
    assert judged([VERSIONS[7]], marked, in_use={VERSIONS[7]: "live"}) == {VERSIONS[7]: (False, "live")}


@pytest.mark.parametrize(
    "name", ["..", "2026010100000", "\N{FULLWIDTH DIGIT TWO}0260101000000", "20261301000000", "package"]
)
def test_only_the_time_of_a_release_is_a_version(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no version|unconverted data"):
        release_time(name)
