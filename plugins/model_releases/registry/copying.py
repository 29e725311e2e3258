"""Copies the records of releases from one registry to another."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.registry.service import RegistryService, Release

log = logging.getLogger(__name__)

_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What became of a model's records.

    :param copied: so many were written. :param there: so many were there already, as they are.
    :param live: the version that is live in both now, ``None`` for none.
    """

    copied: int
    there: int
    live: str | None


def copy_releases(source: RegistryService, target: RegistryService, model: str) -> Copied:
    """Copy the records of a model, the oldest first, and then what is live and was before.

    Whoever broke off repeats it: what is there already is left as it is. The source is only read. Nobody may release
    the model meanwhile.

    :raises InvalidRequestError: when the target has releases of its own that are newer than the source's.
    """
    records = _all_releases(source, model)
    if not records:  # nor is a name used up for them
        return Copied(copied=0, there=0, live=None)
    live, previous = source.get_live(model), source.get_previous(model)
    _refuse_newer(target, model, live)
    copied = 0
    for record in reversed(records):
        if _is_same(target.get_release(model, record.version), record):
            continue
        target.restore(record)
        copied += 1
        log.info("%s %s is copied (%s records in all).", model, record.version, len(records))
    names = {"live": live.version if live else None, "previous": previous.version if previous else None}
    target.restore_live(model, **names)
    for record in records:
        if not _is_same(target.get_release(model, record.version), record):
            raise InvalidRequestError(
                f"{model} {record.version} is not the same after it was copied: somebody writes to it at the same "
                "time. End what is running for the model, and repeat the copy."
            )
    return Copied(copied=copied, there=len(records) - copied, live=names["live"])


def _all_releases(source: RegistryService, model: str) -> list[Release]:
    found: list[Release] = []
    while True:
        before = found[-1].version if found else None
        page = source.list_releases(model, limit=_PAGE_SIZE, before=before)
        found += page
        if len(page) < _PAGE_SIZE:
            return found


def _refuse_newer(target: RegistryService, model: str, live: Release | None) -> None:
    there = target.get_live(model)
    if there is None or (live is not None and _went_live(there) <= _went_live(live)):
        return
    raise InvalidRequestError(
        f"{model} {there.version} went live in the target on {_went_live(there)}, after what is live in the source"
        f"{f' ({live.version}, {_went_live(live)})' if live else ''}: the target is in use. Copy the other way."
    )


def _went_live(release: Release) -> str:
    return release.times.get(ReleaseState.LIVE, "")


def _is_same(found: Release | None, record: Release) -> bool:
    """Whether two records say the same; an empty fact is none, and each registry has pages of its own."""
    return found is not None and _plain(found) == _plain(record)


def _plain(release: Release) -> Release:
    facts: Mapping[str, str] = {name: value for name, value in release.facts.items() if value}
    return replace(release, facts=facts, url=None)
