"""What a release asks of a model is captured by nobody, and neither is what a candidate answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from include.capture.receiver import REQUEST, RESPONSE, Receiver
from include.capture.recorded import RecordedCapture
from include.capture.routed import RoutedCapture
from include.capture.server import ServerCapture
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture import OPT_OUT_HEADER, OPT_OUT_ID, ServedCapture
from include.contracts.monitoring.capture_environment import CODE_VARIABLE, RECORD_VARIABLE
from include.torchserve import environment
from kubeflow_provider.http.uncaptured import UNCAPTURED, UNCAPTURED_ID, uncaptured_headers
from tests.waiting import LIMIT_SECONDS

MODEL, LIVE, CANDIDATE = "reviews", "20261130061755", "20261130070000"
BODY = b'{"instances": ["good food"]}'
ANSWER = b'{"predictions": [{"label": "good", "score": 0.9, "probabilities": {"good": 0.9, "bad": 0.1}}]}'

#: Has a producer answer a request with these headers, in the name of a version.
Producer = Callable[[Path, Mapping[str, str], str], None]


def section(store: Path) -> dict[str, Any]:
    return {"share": 1, "texts": "keep", "store": f"file://{store / MODEL}"}


def record_in(store: Path) -> Path:
    versions = {version: {"settings": {"capture": section(store)}} for version in (LIVE, CANDIDATE)}
    record = store / "live.json"
    record.write_text(json.dumps({"models": {MODEL: {"live": LIVE, "versions": versions}}}))
    return record


def scope_of(headers: Mapping[str, str]) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"path": f"/v1/models/{MODEL}:predict", "headers": pairs}


def on_torchserve(store: Path, headers: Mapping[str, str], version: str) -> None:
    """As the handler in an archive does it."""
    captures = RecordedCapture(record_in(store), "torchserve")
    capture = captures.of(MODEL, version, store)
    if capture.wants():
        capture.take(
            ids=[headers.get("X-Request-Id")],
            opt_out=headers.get("X-Capture"),
            protocol="v1",
            latency_ms=1.0,
            answer=ANSWER.decode(),
            texts=["good food"],
        )
    captures.close(LIMIT_SECONDS)


def on_the_native_server(store: Path, headers: Mapping[str, str], version: str) -> None:
    """As it answers over HTTP; gRPC's metadata come to it in the same form."""
    capture = ServerCapture.made(ServedCapture.model_validate(section(store)), MODEL, producer="native")
    assert capture
    if note := capture.note_of(scope_of(headers), "v1", version, time.monotonic()):
        note(None, ANSWER)
    capture.close(LIMIT_SECONDS)


def behind_the_router(store: Path, headers: Mapping[str, str], version: str) -> None:
    """As the router of this machine does it: which version answers it knows from the server."""
    captures = RoutedCapture(record_in(store))
    captures.take(MODEL, scope_of(headers), BODY, ANSWER, version, time.monotonic())
    captures.close(LIMIT_SECONDS)


def by_kserves_logger(store: Path, headers: Mapping[str, str], version: str) -> None:
    """As KServe's agent sends it: of the request's headers it knows the id alone, and the service's name."""
    receiver = Receiver(store)
    name = MODEL if version == LIVE else f"{MODEL}-candidate"
    for kind, body in ((REQUEST, BODY), (RESPONSE, ANSWER)):
        event = {"ce-type": kind, "ce-id": headers.get("Ce-Id", "drawn"), "ce-inferenceservicename": name}
        receiver.take(MODEL, {"share": "1", "texts": "keep"}, event, body)
    receiver.close(LIMIT_SECONDS)


PRODUCERS = [on_torchserve, on_the_native_server, behind_the_router, by_kserves_logger]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / MODEL).mkdir()
    return tmp_path


def number_in(store: Path) -> int:
    return len(list(captured.read(store / MODEL)))


@pytest.mark.parametrize("producer", PRODUCERS)
def test_what_a_release_asks_is_not_captured_and_what_users_ask_is(producer: Producer, store: Path) -> None:
    producer(store, uncaptured_headers(), LIVE)
    assert number_in(store) == 0

    producer(store, {"X-Request-Id": "a-user", "Ce-Id": "a-user"}, LIVE)
    assert number_in(store) == 1


@pytest.mark.parametrize("producer", [on_torchserve, by_kserves_logger])
def test_a_candidate_is_not_captured_whoever_asks_it(producer: Producer, store: Path) -> None:
    producer(store, {}, CANDIDATE)

    assert number_in(store) == 0


def test_both_halves_mean_the_same_headers() -> None:
    assert {name.lower() for name in UNCAPTURED} == {OPT_OUT_HEADER}
    assert UNCAPTURED_ID == OPT_OUT_ID
    first, second = uncaptured_headers(), uncaptured_headers()
    assert first["Ce-Id"] != second["Ce-Id"], "whoever else receives the events can tell them apart"


def test_a_version_is_captured_as_soon_as_users_are_answered_by_it(store: Path) -> None:
    record = record_in(store)
    captures = RecordedCapture(record, "torchserve")
    capture = captures.of(MODEL, CANDIDATE, store)
    assert not capture.wants()

    document = json.loads(record.read_text())
    document["models"][MODEL]["live"] = CANDIDATE
    part = record.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.replace(record)
    captures._looked = -3600

    assert capture.wants()


def test_a_trial_of_a_package_is_told_to_capture_nothing() -> None:
    inherited = {RECORD_VARIABLE: "/of/another/server", CODE_VARIABLE: "/code", "HOME": "/home/ada"}
    found = environment(Path("/own"), java_home="/java", logs=Path("/logs"), inherited=inherited)

    assert not found.keys() & {RECORD_VARIABLE, CODE_VARIABLE}
    assert found["HOME"] == "/home/ada"
