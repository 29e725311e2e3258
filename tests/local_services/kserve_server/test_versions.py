"""What is served are the very bytes that were announced, in a format that this machine reads, and plain files only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_serving_service
from kubeflow_provider.services import ModelVersion
from local_services.kserve_server.hook import LocalKServeHook
from local_services.kserve_server.settings import KServeServerSettings, Predictor
from local_services.kserve_server.versions import VersionStore
from tests.local_kserve_support import connection, published
from tests.serving_support import connection_json

VERSION = "20260101000000"
NAME = f"toy-{VERSION}"
SKLEARN, ONNX = Predictor(format="sklearn"), Predictor(format="onnx")


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "models", allow_pickle=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "published" / "data").mkdir(parents=True)
    (tmp_path / "published" / "model.onnx").write_bytes(b"graph")
    (tmp_path / "published" / "data" / "weights").write_bytes(b"weights")
    return tmp_path / "published"


def test_a_file_is_copied_and_known_by_its_digest(store: VersionStore, tmp_path: Path) -> None:
    (tmp_path / "m.skops").write_bytes(b"model")
    candidate = published(tmp_path / "m.skops", VERSION, "sklearn")
    store.fetch(candidate, NAME)
    (tmp_path / "m.skops").unlink()  # what is here is not fetched again
    store.fetch(candidate, NAME)
    path = store.file(NAME, candidate.archive_sha256, SKLEARN)
    assert path.read_bytes() == b"model"
    assert (tmp_path / "models").stat().st_mode & 0o777 == 0o700
    assert store.versions()["toy"][VERSION].sha256 == candidate.archive_sha256


def test_a_folder_is_copied_whole(store: VersionStore, folder: Path) -> None:
    candidate = published(folder, VERSION, "onnx")
    store.fetch(candidate, NAME)
    path = store.file(NAME, candidate.archive_sha256, ONNX)
    assert (path.read_bytes(), (path.parent / "data" / "weights").read_bytes()) == (b"graph", b"weights")
    assert store.versions()["toy"][VERSION].sha256 == candidate.archive_sha256


def test_a_folder_with_one_file_goes_by_either_digest(store: VersionStore, folder: Path) -> None:
    (folder / "data" / "weights").unlink()
    for path in (folder, folder / "model.onnx"):
        candidate = published(path, VERSION, "onnx")
        store.fetch(candidate, NAME)
        store.file(NAME, candidate.archive_sha256, ONNX)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"other"), "announced was"),
        (lambda folder: (folder / "more").write_bytes(b""), "announced was"),
        (lambda folder: (folder / "link").symlink_to("/etc/hosts"), "link"),
        (lambda folder: (folder / "data" / ".x").touch(), "begin no name"),
    ],
)
def test_other_files_than_were_announced_are_refused(
    store: VersionStore, folder: Path, tmp_path: Path, spoil: Callable[[Path], None], problem: str
) -> None:
    candidate = published(folder, VERSION, "onnx")
    spoil(folder)
    with pytest.raises(InvalidRequestError, match=problem):
        store.fetch(candidate, NAME)
    assert list((tmp_path / "models").iterdir()) == []


def test_what_is_not_there_is_named(store: VersionStore, folder: Path) -> None:
    candidate = replace(published(folder, VERSION, "onnx"), archive_uri=folder.with_name("gone").as_uri())
    with pytest.raises(InvalidRequestError, match="gone is not there"):
        store.fetch(candidate, NAME)


def test_what_was_changed_since_it_was_copied_is_not_served(store: VersionStore, folder: Path, tmp_path: Path) -> None:
    candidate = published(folder, VERSION, "onnx")
    store.fetch(candidate, NAME)
    (tmp_path / "models" / NAME / "data" / "weights").write_bytes(b"others")
    with pytest.raises(InvalidRequestError, match="was changed"):
        store.file(NAME, candidate.archive_sha256, ONNX)
    store.fetch(candidate, NAME)
    store.file(NAME, candidate.archive_sha256, ONNX)


def files(tmp_path: Path, *names: str) -> ModelVersion:
    folder = tmp_path / "several"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    return published(folder, VERSION, "sklearn")


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "model.pickle"])
def test_a_pickle_is_served_only_where_the_connection_allows_it(tmp_path: Path, name: str) -> None:
    candidate = files(tmp_path, name)
    with pytest.raises(InvalidRequestError, match=r"runs the code .* skops"):
        VersionStore(tmp_path / "models", allow_pickle=False).fetch(candidate, NAME)
    assert list((tmp_path / "models").iterdir()) == []
    allowing = VersionStore(tmp_path / "models", allow_pickle=True)
    allowing.fetch(candidate, NAME)
    assert allowing.file(NAME, candidate.archive_sha256, SKLEARN).name == name


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_a_safe_file_goes_before_a_pickle(tmp_path: Path, allow_pickle: bool) -> None:
    candidate = files(tmp_path, "model.joblib", "model.skops")
    store = VersionStore(tmp_path / "models", allow_pickle=allow_pickle)
    store.fetch(candidate, NAME)
    assert store.file(NAME, candidate.archive_sha256, SKLEARN).name == "model.skops"


@pytest.mark.parametrize(
    ("names", "problem"),
    [(("a.skops", "b.skops"), "a.skops and b.skops"), (("model.bin",), "ends in .skops"), (("model.onnx",), "skops")],
)
def test_there_is_one_model_in_a_folder(store: VersionStore, tmp_path: Path, names: tuple[str], problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        store.fetch(files(tmp_path, *names), NAME)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "predictor.format"),
        ({"predictor": "sklearn"}, "predictor.format"),
        ({"predictor": {"format": "xgboost"}}, "sklearn, onnx"),
        ({"predictor": {"format": "sklearn", "protocol": "grpc-v2"}}, "predictor.protocol"),
    ],
)
def test_another_format_or_protocol_is_refused_before_anything_starts(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    hook = LocalKServeHook("here", connection=connection("/no/python", tmp_path))
    candidate = ModelVersion(model="toy", version=VERSION, archive_uri="x", archive_sha256="a" * 64, settings=settings)
    for refuse in (hook.check_candidate, hook.deploy_candidate):
        with pytest.raises(InvalidRequestError, match=problem):
            refuse(candidate)


@pytest.mark.parametrize(("model", "version"), [("../x", VERSION), ("Toy", VERSION), ("toy", "1.0")])
def test_names_that_do_not_fit_an_address_are_refused(tmp_path: Path, model: str, version: str) -> None:
    hook = LocalKServeHook("here", connection=connection("/no/python", tmp_path))
    with pytest.raises(InvalidRequestError):
        hook.check_candidate(ModelVersion(model=model, version=version, archive_uri="x", archive_sha256="a" * 64))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::1"])
def test_only_loopback_is_accepted(tmp_path: Path, host: str) -> None:
    conn = connection("/python", tmp_path)
    conn.host = host
    with pytest.raises(InvalidRequestError, match="loopback"):
        KServeServerSettings.of(conn)


@pytest.mark.parametrize("extra", [{}, {"python": "/usr/bin/python3"}, {"python": "python3", "state_dir": "/x"}])
def test_a_connection_names_what_it_lacks(extra: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="absolute path"):
        KServeServerSettings.of(Connection(conn_id="here", conn_type="local_kserve", extra=json.dumps(extra)))


def test_a_connection_id_leads_to_the_hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conn = connection("/python", tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_LOCAL_KSERVE_TEST", connection_json(conn))
    assert isinstance(get_serving_service("local_kserve_test"), LocalKServeHook)
    hook = LocalKServeHook(**{LocalKServeHook.conn_name_attr: "local_kserve_test"})
    assert hook.endpoint_url("toy") == f"http://127.0.0.1:{conn.port}/v1/models/toy:predict"


@pytest.mark.processes
def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    is_ok, message = LocalKServeHook("here", connection=connection("/no/python", tmp_path / "state")).test_connection()
    assert not is_ok
    assert "make kserve-server" in message
