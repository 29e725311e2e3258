"""The version of a release under Airflow; what a version is says :mod:`include.contracts.version.numbers`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from include.contracts.version.numbers import release_time, version_of


def asked_version(dag_run: Any) -> str:
    """Return the version that a run asks for; it gets it, or a later one: :func:`model_releases.memory.claims.claim`.

    It is made from ``run_after``, which every kind of run has (a logical date may be missing) and which retries keep.
    """
    return version_of(dag_run.run_after)


def as_of(dag_run: Any) -> str:
    """Return the time by which a run's data is dated, ISO 8601: its logical date where it has one. Retries keep it."""
    moment: datetime = getattr(dag_run, "logical_date", None) or dag_run.run_after
    return moment.isoformat()


def version_time(version: str) -> datetime | None:
    """Return when a version was asked for, in UTC; ``None`` for what is no version of a release."""
    try:
        return release_time(version)
    except ValueError:
        return None
