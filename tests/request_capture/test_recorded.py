"""A server with several models captures what the record of its versions says, as soon as it says so."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from include.capture.recorded import RecordedCapture
from include.capture.routed import RoutedCapture
from include.contracts.monitoring import captured
from tests.waiting import LIMIT_SECONDS

VERSION = "20261130061755"


def write(record: Path, capture: Any) -> None:
    versions = {VERSION: {"settings": {"capture": capture} if capture else {}}}
    part = record.with_suffix(".part")
    part.write_text(json.dumps({"models": {"iris": {"live": VERSION, "versions": versions}}}))
    part.replace(record)


def section(store: Path, **more: Any) -> dict[str, Any]:
    return {"share": 1, "texts": "keep", "store": f"file://{store / 'iris'}", **more}


def look(captures: RecordedCapture) -> None:
    captures._looked = -3600


def test_the_record_switches_it_on_and_off(tmp_path: Path) -> None:
    record = tmp_path / "live.json"
    captures = RecordedCapture(record, "test")
    assert captures.recorder("iris", VERSION) is None

    write(record, section(tmp_path))
    look(captures)
    first = captures.recorder("iris", VERSION)
    assert first is not None
    assert captures.recorder("iris", VERSION) is first
    assert captures.recorder("iris", "20200101000000") is None

    write(record, None)
    look(captures)
    assert captures.recorder("iris", VERSION) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": []}', '{"models": {"iris": 7}}', "[" * 100_000])
def test_a_broken_record_is_no_error_of_a_request(text: str, tmp_path: Path) -> None:
    (tmp_path / "live.json").write_text(text)

    assert RecordedCapture(tmp_path / "live.json", "test").recorder("iris", VERSION) is None


@pytest.mark.parametrize("capture", [7, {"share": 0}, {"share": 1, "store": "s3://bucket/iris"}, {"unknown": 1}])
def test_settings_that_are_wrong_capture_nothing(capture: Any, tmp_path: Path) -> None:
    write(tmp_path / "live.json", capture)

    assert RecordedCapture(tmp_path / "live.json", "test").recorder("iris", VERSION) is None


def test_a_router_captures_rows_of_columns(tmp_path: Path) -> None:
    write(tmp_path / "live.json", section(tmp_path))
    captures = RoutedCapture(tmp_path / "live.json")
    body, answer = b'{"instances": [[5.1, 3.5], [6.2, 2.9]]}', b'{"predictions": [0, 2]}'

    def take(*headers: tuple[bytes, bytes], version: str | None = VERSION) -> str:
        scope = {"path": "/v1/models/iris:predict", "headers": headers}
        return captures.take("iris", scope, body, answer, version, time.monotonic())

    assert take((b"x-request-id", b"chosen")) == "chosen"
    drawn = take((b"x-request-id", b"two words"))
    take((b"x-capture", b"off"))
    take(version=None)
    captures.close(LIMIT_SECONDS)

    found = {each.id: each for each in captured.read(tmp_path / "iris")}
    assert found.keys() == {"chosen", drawn}
    rows = found["chosen"].rows
    assert [(row.input, row.output) for row in rows] == [([5.1, 3.5], 0), ([6.2, 2.9], 2)]
    assert rows[0].features == {"x0": 5.1, "x1": 3.5}
