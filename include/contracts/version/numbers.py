"""What a version is: the time of a release as 14 digits, valid for TorchServe, a Kubernetes label and a registry."""

from __future__ import annotations

from datetime import UTC, datetime

_FORMAT = "%Y%m%d%H%M%S"


def version_of(time: datetime) -> str:
    """Return for example ``20261121030000``."""
    return time.astimezone(UTC).strftime(_FORMAT)


def release_time(version: str) -> datetime:
    """Return when a version was asked for, in UTC.

    :raises ValueError: when it is no version that :func:`version_of` makes: exactly 14 digits of a time.
    """
    if len(version) != 14 or not version.isascii() or not version.isdigit():
        raise ValueError(f"{version!r} is no version of a release")
    return datetime.strptime(version, _FORMAT).replace(tzinfo=UTC)
