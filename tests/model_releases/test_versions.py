"""What the version of a release says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from model_releases.versions import as_of, asked_version, version_time


def test_a_version_says_when_its_release_was_asked_for() -> None:
    asked = datetime(2026, 11, 21, 5, tzinfo=timezone(timedelta(hours=2)))
    version = asked_version(SimpleNamespace(run_after=asked))
    assert version == "20261121030000"
    assert version_time(version) == datetime(2026, 11, 21, 3, tzinfo=UTC)


def test_data_is_dated_by_the_logical_date_or_where_there_is_none_by_when_the_run_was_asked_for() -> None:
    asked, logical = datetime(2026, 11, 21, 5, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    assert as_of(SimpleNamespace(run_after=asked, logical_date=None)) == "2026-11-21T05:00:00+00:00"
    assert as_of(SimpleNamespace(run_after=asked, logical_date=logical)) == "2026-03-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "version",
    ["", "1.0", "20261399000000", "202611213", "2026112103000", "202611210300000", "\uff12\uff10261121030000"],
)
def test_a_version_that_somebody_made_up_says_nothing(version: str) -> None:
    assert version_time(version) is None
