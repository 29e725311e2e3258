"""The version of a release: a sortable number made from the DAG run's time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_FORMAT = "%Y%m%d%H%M%S"


def release_version(dag_run: Any) -> str:
    """Return for example ``20261121030000``: valid for TorchServe, for a Kubernetes label and for a registry.

    It is made from ``run_after``, which every kind of run has (a logical date may be missing) and which retries keep.
    """
    return dag_run.run_after.astimezone(UTC).strftime(_FORMAT)


def release_time(version: str) -> datetime:
    """Return when a version was asked for, in UTC.

    :raises ValueError: when it is no version that :func:`release_version` makes: exactly 14 digits of a time.
    """
    if len(version) != 14 or not version.isascii() or not version.isdigit():
        raise ValueError(f"{version!r} is no version of a release")
    return datetime.strptime(version, _FORMAT).replace(tzinfo=UTC)


def version_time(version: str) -> datetime | None:
    """Return when a version was asked for, in UTC; ``None`` for a version that :func:`release_version` has not made."""
    try:
        return release_time(version)
    except ValueError:
        return None
