"""The handler hands what it has answered to whatever captures it where the archive is served."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ts.context import Context, RequestProcessor

from include.classifier.serving import capture, handler
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture_environment import CODE_VARIABLE, RECORD_VARIABLE
from tests.waiting import LIMIT_SECONDS
from tests.writer_in_thread import write_in_threads

VERSION = "20261121030000"
TEXT = "good food"


def answer(model: Path, *requests: tuple[str, dict[str, Any], dict[str, str]]) -> list[str]:
    manifest = {"model": {"modelName": "tiny", "modelVersion": VERSION}}
    context = Context("tiny", str(model), manifest, 8, None, "0.12.0", model_yaml_config={})
    context.request_processor = [RequestProcessor(headers) for _, _, headers in requests]
    context.request_ids = dict(enumerate(name for name, _, _ in requests))
    try:
        bodies = handler.handle([request for _, request, _ in requests], context)
    finally:
        handler._handler = None
    assert bodies
    return bodies


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    store = tmp_path / "tiny"
    settings = {"capture": {"share": 1, "texts": "drop", "store": f"file://{store}"}}
    models = {"tiny": {"live": VERSION, "versions": {VERSION: {"settings": settings}}}}
    record = tmp_path / "live.json"
    record.write_text(json.dumps({"models": models}))
    monkeypatch.setenv(RECORD_VARIABLE, str(record))
    monkeypatch.setenv(CODE_VARIABLE, str(Path(__file__).parents[3]))
    monkeypatch.setattr(sys, "path", list(sys.path))
    write_in_threads(monkeypatch)
    yield store


def test_answers_are_captured_under_the_id_that_the_client_knows(
    tiny_model: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    original = capture.capture_of
    monkeypatch.setattr(handler, "capture_of", lambda *of: made.append(original(*of)) or made[-1])
    v2 = {"id": "of-the-body", "inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]}

    bodies = answer(
        tiny_model,
        ("server-1", {"body": {"instances": [TEXT, TEXT]}}, {}),
        ("server-2", {"body": TEXT}, {"X-Request-Id": "chosen"}),
        ("server-3", {"body": v2}, {}),
        ("server-4", {"body": {"instances": []}}, {}),
        ("server-5", {"body": TEXT}, {"x-capture": "off"}),
    )
    made[0]._captures.close(LIMIT_SECONDS)

    found = {each.id: each for each in captured.read(store)}
    assert {name: each.protocol for name, each in found.items()} == {
        "server-1": "v1", "chosen": "raw", "of-the-body": "v2",
    }  # fmt: skip
    first = found["server-1"]
    answered = json.loads(bodies[0])["predictions"]
    assert [(row.input, row.output, row.confidence) for row in first.rows] == [
        (None, each["label"], each["score"]) for each in answered
    ]
    assert first.version == VERSION
    assert TEXT.encode() not in b"".join(path.read_bytes() for path in store.rglob("*.jsonl"))


def test_a_request_is_answered_whatever_captures_it_does(
    tiny_model: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def wants(self) -> bool:
            raise RuntimeError(TEXT)

    monkeypatch.setattr(handler, "capture_of", lambda *of: Broken())
    assert "predictions" in answer(tiny_model, ("a", {"body": TEXT}, {}))[0]
    monkeypatch.undo()
    monkeypatch.setenv(RECORD_VARIABLE, "/nowhere/live.json")
    monkeypatch.setenv(CODE_VARIABLE, "/nowhere")
    assert "predictions" in answer(tiny_model, ("a", {"body": TEXT}, {}))[0]


def test_nothing_is_loaded_where_nothing_is_captured(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)

    assert capture.capture_of("tiny", VERSION, tiny_model) is None
