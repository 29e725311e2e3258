"""Labels that arrive later are taken by a command, and found with the requests that a server has captured."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.capture.recorder import Recorder
from include.contracts.monitoring.capture import ServedCapture
from include.contracts.monitoring.captured import ReadingCounts
from include.contracts.monitoring.labels import join
from tests.end_to_end.embedded_world import MODEL, EmbeddedWorld
from tests.request_capture.test_recorder import exchange
from tests.waiting import LIMIT_SECONDS

#: What the file may say is told by tests/monitoring/test_labels.py. Each command starts two Pythons: ten seconds.
pytestmark = [pytest.mark.processes, pytest.mark.long]


def test_labels_are_taken_and_found_with_their_requests(tmp_path: Path) -> None:
    world = EmbeddedWorld(tmp_path / "state")
    store = world.state / "store" / MODEL
    recorder = Recorder(ServedCapture(store=store.as_uri(), share=1.0), model=MODEL, producer="test")
    recorder.offer(exchange("of-a-user"))
    recorder.close(LIMIT_SECONDS)
    file = tmp_path / "labels.csv"
    file.write_text("id,label\nof-a-user,4 stars\nof-nobody,5\n", encoding="utf-8")

    answer = world.make("add-labels", MODEL=MODEL, FILE=str(file))

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{MODEL}: 2 labels taken" in answer.stdout
    now = datetime.fromtimestamp(time.time(), UTC)
    found = join(store, first=now - timedelta(days=1), last=now + timedelta(days=1), counts=ReadingCounts())
    assert [(each.request.id, each.label.label) for each in found.rows] == [("of-a-user", "4 stars")]
    assert found.unmatched == 1

    file.write_text("id,label\nof-a-user,six stars\n", encoding="utf-8")
    refused = world.make("add-labels", MODEL=MODEL, FILE=str(file))
    assert refused.returncode != 0
    assert "nothing was taken; line 2: label: the model does not know it" in refused.stderr
    assert "Traceback" not in refused.stderr
