"""The record of what is live is read as nothing but what was written, and made anew when it is anything else."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, LiveVersionUnknownError, ServiceUnavailableError
from local_services.record import BrokenRecordError, Record, ServedModel, StoredVersion
from local_services.torchserve.hook import TorchServeHook
from tests.quick_torchserve import Server, quick_hook
from tests.serving_support import GOOD, MODEL, build_version

FIRST, SECOND = "20260101000000", "20260102000000"
SHA256 = "a" * 64


def document(**changes: Any) -> dict[str, Any]:
    """Return the record of one live version, with other values where they are given."""
    stored = {"archive": f"reviews-{FIRST}.mar", "sha256": SHA256, "settings": {"workers": 1}}
    model = {"live": FIRST, "previous": None, "versions": {FIRST: stored | changes.pop("stored", {})}}
    return {"models": {changes.pop("name", "reviews"): model | changes}}


def as_text(content: Any) -> Callable[[Path], None]:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda path: path.write_text(text, encoding="utf-8")


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def linked(path: Path) -> None:
    path.with_name("elsewhere.json").write_text(json.dumps(document()))
    path.symlink_to("elsewhere.json")


BROKEN: dict[str, Callable[[Path], None]] = {
    "empty": as_text(""),
    "half of it": as_text(json.dumps(document())[:50]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "zeros": lambda path: path.write_bytes(b"\0" * 500),
    "a list": as_text([]),
    "no models": as_text({}),
    "deep": as_text("[" * 500_000),
    "huge": lambda path: path.write_bytes(b" " * 5_000_000),
    "a link": linked,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a model that is a number": as_text({"models": {"reviews": 1}}),
    "a name that is a path": as_text(document(name="../reviews")),
    "a version that is none": as_text(document(versions={"../1": {}})),
    "an archive elsewhere": as_text(document(stored={"archive": "/etc/passwd"})),
    "an archive above": as_text(document(stored={"archive": f"../reviews-{FIRST}.mar"})),
    "another model's archive": as_text(document(stored={"archive": f"others-{FIRST}.mar"})),
    "no digest": as_text(document(stored={"sha256": ""})),
    "a live version that is not there": as_text(document(live=SECOND)),
    "a live version that is a number": as_text(document(live=1)),
    "workers without end": as_text(document(stored={"settings": {"workers": 10**9}})),
    "workers that are text": as_text(document(stored={"settings": {"workers": "1&url=http://x"}})),
}


@pytest.mark.parametrize("what", BROKEN)
def test_anything_else_is_named_kept_and_made_anew(tmp_path: Path, what: str) -> None:
    path, record = tmp_path / "live.json", Record(tmp_path)
    BROKEN[what](path)
    found = path.lstat()
    with pytest.raises(BrokenRecordError, match=r"live\.json, which says what is live, cannot be read: \S"):
        record.read()
    kept = record.replace_broken({})
    assert (kept.lstat().st_ino, kept.lstat().st_mode) == (found.st_ino, found.st_mode), "the thing itself"
    assert kept.name.startswith("live.json.broken-")
    assert record.read() == {}


def test_what_was_written_is_read_and_a_message_quotes_nothing_of_a_broken_one(tmp_path: Path) -> None:
    record, path = Record(tmp_path), tmp_path / "live.json"
    settings = {"workers": 2, "batch_size": 4, "precision": "auto", "top_k": 0}
    served = ServedModel(live=FIRST, previous=None)
    for version in (FIRST, SECOND):
        served.versions[version] = StoredVersion(archive=f"reviews-{version}.mar", sha256=SHA256, settings=settings)
    record.write("reviews", served)
    assert record.read() == {"reviews": served}
    path.write_text(json.dumps(document(live="A user's secret")))
    with pytest.raises(BrokenRecordError) as broken:
        record.read()
    assert "secret" not in str(broken.value)
    as_text(document(previous=SECOND))(path)  # as version 0.1.0 may have left it
    assert record.model("reviews").previous is None


def test_whoever_makes_it_anew_may_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, record = tmp_path / "live.json", Record(tmp_path)
    path.write_text("")
    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record.replace_broken({})
    assert not path.exists()
    with pytest.raises(BrokenRecordError, match="it is gone"):
        record.read()
    assert record.replace_broken({}).read_text() == ""
    assert record.read() == {}


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    stored = StoredVersion(archive=f"reviews-{FIRST}.mar", sha256=SHA256, settings={"workers": 10**6})
    with pytest.raises(InvalidRequestError, match="workers: Input should be less than or equal to 1000"):
        Record(tmp_path).write("reviews", ServedModel(versions={FIRST: stored}))
    assert Record(tmp_path).read() == {}


def test_a_server_that_runs_says_what_it_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server()
    hook = quick_hook(monkeypatch, tmp_path, server)
    for version in (FIRST, SECOND):
        hook.deploy_candidate(build_version(tmp_path / "store", version))
        hook.promote(MODEL, version)
    (tmp_path / "live.json").write_text("{")
    assert hook.get_previous(MODEL) is None
    assert [path.name for path in tmp_path.glob("live.json.broken-*")]
    server.is_running = False
    assert hook.get_live(MODEL).version == SECOND
    assert hook.roll_back(MODEL, candidate=SECOND, previous=FIRST).version == FIRST


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TorchServeHook:
    """Return a hook whose server is down and whose record is broken."""
    server = Server()
    hook = quick_hook(monkeypatch, tmp_path, server)
    hook.deploy_candidate(build_version(tmp_path / "store", FIRST))
    hook.promote(MODEL, FIRST)
    server.is_running = False
    (tmp_path / "live.json").write_text("")
    for ask in (hook.get_live, hook.get_traffic):
        with pytest.raises(LiveVersionUnknownError, match=f"Which version of {MODEL} was live is not known"):
            ask(MODEL)
        server.is_running = False
    return hook


@pytest.mark.parametrize("is_archive_there", [True, False])
def test_what_nobody_here_knows_is_told_from_outside(lost: TorchServeHook, tmp_path: Path, is_archive_there) -> None:
    version = build_version(tmp_path / "again", FIRST)
    if not is_archive_there:
        (tmp_path / "model-store" / f"{MODEL}-{FIRST}.mar").unlink()
    for _ in range(2):
        lost.restore_live(MODEL, version)
    assert lost.get_live(MODEL).version == FIRST
    assert lost.predict(MODEL, GOOD).body == {"predictions": [{"version": FIRST}]}


def test_a_release_that_knows_what_was_live_puts_it_back(lost: TorchServeHook) -> None:
    assert lost.roll_back(MODEL, candidate=SECOND, previous=FIRST).version == FIRST
    assert lost.get_live(MODEL).version == FIRST


def test_nothing_was_live(lost: TorchServeHook) -> None:
    lost.restore_live(MODEL, None)
    assert lost.get_live(MODEL) is None


def test_an_archive_that_leads_out_of_itself_never_comes_to_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hook, version = quick_hook(monkeypatch, tmp_path, Server()), build_version(tmp_path / "store", FIRST)
    archive = Path(version.archive_uri.removeprefix("file://"), "model-store", f"{MODEL}.mar")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../evil.py", "")
    digest = sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(InvalidRequestError, match="points out of the archive"):
        hook.deploy_candidate(replace(version, archive_sha256=digest))
    assert hook.get_deployment(MODEL, FIRST) is None
    assert not list((tmp_path / "model-store").glob(f"{MODEL}*"))


def test_a_full_disk_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: TorchServeHook
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "live.part"))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ServiceUnavailableError, match=r"live\.part: No space left on device\. Make room there"):
        lost.restore_live(MODEL, build_version(tmp_path / "again", FIRST))
