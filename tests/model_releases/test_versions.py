"""What the version of a release says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from model_releases.versions import asked_version, version_time


def test_a_version_says_when_its_release_was_asked_for() -> None:
    asked = datetime(2026, 11, 21, 5, tzinfo=timezone(timedelta(hours=2)))
    version = asked_version(SimpleNamespace(run_after=asked))
    assert version == "20261121030000"
    assert version_time(version) == datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "version",
    ["", "1.0", "20261399000000", "202611213", "2026112103000", "202611210300000", "\uff12\uff10261121030000"],
)
def test_a_version_that_somebody_made_up_says_nothing(version: str) -> None:
    assert version_time(version) is None
