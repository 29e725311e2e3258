from __future__ import annotations

import pytest

from tests.writer_in_thread import write_in_threads


@pytest.fixture(autouse=True)
def writer_in_a_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests that may start processes have the one that writes as servers have it."""
    if not request.node.get_closest_marker("processes"):
        write_in_threads(monkeypatch)
