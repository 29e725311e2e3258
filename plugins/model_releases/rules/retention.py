"""Decides which versions' files stay in the model store. Records of the registry are history: they all stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.contracts.settings import RetentionConfig
from include.contracts.version.numbers import release_time
from model_releases.registry.service import Release

#: Fact of a release whose files were deleted: when, in ISO 8601. Nobody can put such a release back; the Releases
#: page and the roll back go by it, so a renamed one would offer releases that are gone.
ARCHIVE_DELETED_AT = "archive_deleted_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one version's files.

    :param state: state in the registry; empty when it knows nothing of the version.
    :param goes: whether they are deleted.
    :param why: why they stay or go, in a few words.
    """

    version: str
    state: str
    goes: bool
    why: str


def decide(
    versions: Iterable[str],
    releases: Mapping[str, Release],
    in_use: Mapping[str, str],
    policy: RetentionConfig,
    *,
    now: datetime,
) -> list[Verdict]:
    """Decide for every version that has files, the newest first.

    :param versions: 14 digits each, the time of the release in UTC.
    :param releases: version -> its record.
    :param in_use: version -> who uses it, in a few words: it stays.
    """
    kept = {True: 0, False: 0}
    verdicts = []
    for version in sorted(versions, reverse=True):
        release = releases.get(version)
        been_live = release is not None and release.state.has_been_live
        goes, why = _judge(version, release, in_use, policy, now=now, newer=kept[been_live])
        if release is not None and not goes:
            kept[been_live] += 1
        verdicts.append(Verdict(version=version, state=release.state.value if release else "", goes=goes, why=why))
    return verdicts


def _judge(
    version: str,
    release: Release | None,
    in_use: Mapping[str, str],
    policy: RetentionConfig,
    *,
    now: datetime,
    newer: int,
) -> tuple[bool, str]:
    """Return whether a version goes, and why; ``newer``: how many of its kind stay that are newer."""
    if version in in_use:
        return False, in_use[version]
    if now - release_time(version) < timedelta(days=policy.grace_days):
        return False, f"younger than {policy.grace_days:g} days"
    if release is None:
        return True, "no record knows it"
    if release.facts.get(ARCHIVE_DELETED_AT):
        return True, "its deletion was interrupted"
    if release.state.has_been_live:
        limit, kind = policy.keep_releases, "releases"
    else:
        limit, kind = policy.keep_unreleased, "candidates that never were live"
    return newer >= limit, f"{'older than' if newer >= limit else 'among'} the {limit} newest {kind}"
