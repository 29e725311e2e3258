"""The version of a release: a sortable number made from a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_FORMAT = "%Y%m%d%H%M%S"


def asked_version(dag_run: Any) -> str:
    """Return the version that a run asks for; it gets it, or a later one: :func:`model_releases.memory.claims.claim`.

    It is made from ``run_after``, which every kind of run has (a logical date may be missing) and which retries keep.
    """
    return version_of(dag_run.run_after)


def version_of(time: datetime) -> str:
    """Return for example ``20261121030000``: valid for TorchServe, for a Kubernetes label and for a registry."""
    return time.astimezone(UTC).strftime(_FORMAT)


def release_time(version: str) -> datetime:
    """Return when a version was asked for, in UTC.

    :raises ValueError: when it is no version that :func:`version_of` makes: exactly 14 digits of a time.
    """
    if len(version) != 14 or not version.isascii() or not version.isdigit():
        raise ValueError(f"{version!r} is no version of a release")
    return datetime.strptime(version, _FORMAT).replace(tzinfo=UTC)


def version_time(version: str) -> datetime | None:
    """Return when a version was asked for, in UTC; ``None`` for a version that :func:`version_of` has not made."""
    try:
        return release_time(version)
    except ValueError:
        return None
