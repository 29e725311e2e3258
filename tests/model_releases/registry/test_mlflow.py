"""What is MLflow's own about the registry hook: tags, aliases, credentials, errors, quiet."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    OutageError,
    PermissionDeniedError,
    WrongPasswordError,
)
from model_releases.registry import get_registry_service
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.service import Release

MODEL, VERSION = "reviews", "20260101000000"


def hook(tracking_uri: str, **connection: Any) -> MlflowHook:
    extra = json.dumps({"tracking_uri": tracking_uri, **connection.pop("extra", {})})
    return MlflowHook(
        "registry", connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra, **connection)
    )


@pytest.fixture
def registry(empty_mlflow: Path, tmp_path: Path) -> MlflowHook:
    return hook(f"sqlite:///{shutil.copy(empty_mlflow, tmp_path)}")


def release(version: str = VERSION, **facts: str) -> Release:
    return Release(
        model=MODEL, version=version, state=ReleaseState.CANDIDATE, archive_uri=f"s3://m/{version}", facts=facts
    )


def test_it_is_what_its_connection_type_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REGISTRY", '{"conn_type": "mlflow"}')
    assert isinstance(get_registry_service("registry"), MlflowHook)


def test_people_find_the_release_in_mlflow_by_alias_tag_and_run(registry: MlflowHook) -> None:
    registry.register(release(tracking_run_id="0" * 32, base_model="scratch"), metrics={"candidate.accuracy": 0.9})
    registry.set_state(MODEL, VERSION, ReleaseState.LIVE, reason="passed")
    entry = registry.get_conn().get_model_version_by_alias(MODEL, "champion")
    assert (entry.source, entry.run_id) == (f"s3://m/{VERSION}", "0" * 32)
    times = {name for name in entry.tags if name.startswith("release.time.")}
    assert times == {"release.time.candidate", "release.time.live"}
    assert {name: value for name, value in entry.tags.items() if name not in times} == {
        "release.version": VERSION,
        "release.archive_uri": f"s3://m/{VERSION}",
        "release.state": "live",
        "release.reason": "passed",
        "fact.tracking_run_id": "0" * 32,
        "fact.base_model": "scratch",
        "fact.metric.candidate.accuracy": "0.9",
    }


def test_previous_is_the_alias_of_the_one_before(registry: MlflowHook) -> None:
    for version in ("1", "2"):
        registry.register(release(version), metrics={})
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    client = registry.get_conn()
    assert client.get_registered_model(MODEL).aliases == {"champion": 2, "previous": 1}
    registry.set_state(MODEL, "2", ReleaseState.ROLLED_BACK)
    assert client.get_registered_model(MODEL).aliases == {"champion": 1}


def test_versions_that_others_made_do_not_count(registry: MlflowHook) -> None:
    client = registry.get_conn()
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, "s3://elsewhere", await_creation_for=0)
    assert list(registry.list_releases(MODEL)) == []
    assert registry.register(release(), metrics={}).version == VERSION


def test_more_releases_than_one_page_are_listed(registry: MlflowHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_releases.registry.mlflow_entries._PAGE_SIZE", 2)
    for number in range(5):
        registry.register(release(f"{number}"), metrics={})
    assert [entry.version for entry in registry.list_releases(MODEL)] == ["4", "3", "2", "1", "0"]


def test_first_callers_at_once_make_one_version(registry: MlflowHook) -> None:
    hooks = [hook(registry.tracking_uri) for _ in range(4)]
    for each in hooks:
        each.get_conn()
    with ThreadPoolExecutor(len(hooks)) as pool:
        list(pool.map(lambda each: each.register(release(), metrics={}), hooks))
    assert len(hooks[0].list_releases(MODEL)) == 1
    assert len(hooks[0].get_conn().search_model_versions(f"name = '{MODEL}'")) == 1


def test_making_the_database_says_nothing_and_keeps_the_log_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.INFO):
        hook(f"sqlite:///{tmp_path}/not/yet/there/mlflow.db").get_live(MODEL)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize("uri", ["", "mlruns", "sqlite:///relative.db", "postgresql://me:secret@db/mlflow", "http://"])
def test_a_tracking_uri_that_cannot_work_is_refused_without_being_repeated(uri: str) -> None:
    with pytest.raises(InvalidRequestError, match="tracking_uri must be") as error:
        hook(uri).get_live(MODEL)
    assert "secret" not in str(error.value)
    assert hook(uri).test_connection()[0] is False


def test_the_newest_are_found_however_far_from_the_live_one_they_are(registry: MlflowHook) -> None:
    """MLflow is first asked for the versions about the live one; people may have made many in between."""
    versions = [f"2026010{day}000000" for day in range(1, 6)]
    registry.register(release(version=versions[0]), metrics={})
    client = registry.get_conn()
    for _ in range(9):
        client.create_model_version(MODEL, "s3://elsewhere", await_creation_for=0)
    for version in versions[1:]:
        registry.register(release(version=version), metrics={})
    assert listed(registry, limit=3) == versions[:1:-1], "nothing is live"
    for live, state in ((versions[1], ReleaseState.LIVE), (versions[4], ReleaseState.LIVE)):
        registry.set_state(MODEL, live, state)
        assert listed(registry, limit=3) == versions[:1:-1]
        assert listed(registry, limit=9) == versions[::-1]
        assert listed(registry, limit=2, before=versions[2]) == [versions[1], versions[0]]
    assert listed(registry, limit=1, before=versions[0]) == []


def listed(registry: MlflowHook, **condition: Any) -> list[str]:
    return [found.version for found in registry.list_releases(MODEL, **condition)]


@pytest.mark.parametrize("model, version", [("re'views", VERSION), (MODEL, "1' or name != '")])
def test_names_cannot_widen_a_search(registry: MlflowHook, model: str, version: str) -> None:
    with pytest.raises(InvalidRequestError):
        registry.get_release(model, version)


class FakeServer(BaseHTTPRequestHandler):
    """Answers every request in one way, and keeps the credentials."""

    status, body = 200, b"{}"
    seen: list[str | None] = []

    def do_GET(self) -> None:
        type(self).seen.append(self.headers.get("Authorization"))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[tuple[type[FakeServer], str]]:
    handler = type("Handler", (FakeServer,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield handler, f"127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize(
    "address, connection, header",
    [
        ("http://{}", {}, None),
        ("http://{}", {"login": "me", "password": "secret"}, "Basic bWU6c2VjcmV0"),
        ("http://me:secret@{}/", {}, "Basic bWU6c2VjcmV0"),
        ("http://{}", {"extra": {"token": "t0ken"}}, "Bearer t0ken"),
    ],
)
def test_a_server_gets_the_credentials_and_nobody_else(
    server: tuple[type[FakeServer], str], address: str, connection: dict[str, Any], header: str | None
) -> None:
    handler, host = server
    registry = hook(address.format(host), **connection)
    before = dict(os.environ)
    assert registry.get_live(MODEL) is None
    assert set(handler.seen) == {header}
    assert dict(os.environ) == before
    assert registry.tracking_uri == f"http://{host}"


@pytest.mark.parametrize(
    "status, body, error",
    [
        (401, b"You are not authenticated.", PermissionDeniedError),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', PermissionDeniedError),
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', InvalidRequestError),
        (404, b"This is some other server.", InvalidRequestError),
    ],
)
def test_what_a_server_refuses_says_who_has_to_act(
    server: tuple[type[FakeServer], str], status: int, body: bytes, error: type[Exception]
) -> None:
    server[0].status, server[0].body = status, body
    registry = hook(f"http://me:secret@{server[1]}")
    with pytest.raises(error) as raised:
        registry.get_live(MODEL)
    assert "secret" not in str(raised.value)
    works, message = registry.test_connection()
    assert not works
    assert "secret" not in message


def test_a_server_that_is_away_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with pytest.raises(OutageError):
        hook("http://127.0.0.1:9").get_live(MODEL)


@pytest.mark.parametrize(
    ("connection", "was_accepted", "error"),
    [
        ({"extra": {"token": "t0ken"}}, False, PermissionDeniedError),
        ({"extra": {"token": "t0ken"}}, True, OutageError),
        ({"login": "me", "password": "secret"}, True, WrongPasswordError),
    ],
)
def test_a_refusal_of_what_was_accepted_is_an_outage_but_of_a_password(
    server: tuple[type[FakeServer], str], connection: dict[str, Any], was_accepted: bool, error: type[Exception]
) -> None:
    registry = hook(f"http://{server[1]}", **connection)
    if was_accepted:
        assert registry.get_live(MODEL) is None
    server[0].status, server[0].body = 401, b"Who is there?"
    with pytest.raises(PermissionDeniedError if error is not OutageError else OutageError) as raised:
        registry.get_live(MODEL)
    assert type(raised.value) is error


def test_what_version_0_1_0_called_champion_is_read_as_live(registry: MlflowHook) -> None:
    registry.register(release(), metrics={"champion.macro_f1": 0.88, "candidate.macro_f1": 0.9})

    found = registry.get_release(MODEL, VERSION)

    assert found is not None
    assert {name: value for name, value in found.facts.items() if name.startswith("metric.")} == {
        "metric.live.macro_f1": "0.88",
        "metric.candidate.macro_f1": "0.9",
    }
