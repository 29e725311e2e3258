"""What is kept of a training, wherever the store lies."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from include.classifier.training.checkpoints.store import Checkpoints, TakenOverError, remove
from tests.classifier.batch.test_object_store import ObjectStore

IDENTITY = {"settings": "those", "data": "these"}


@pytest.fixture(params=["folder", "gs"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of a store."""
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "gs", ObjectStore)
    ObjectStore.store.clear()
    ObjectStore.pseudo_dirs[:] = [""]
    yield f"{tmp_path}/store/checkpoints" if request.param == "folder" else "gs://models/reviews/1/checkpoints"
    ObjectStore.clear_instance_cache()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A file to keep."""
    path = tmp_path / "state"
    path.write_bytes(b"weights")
    return path


def start(uri: str, identity: dict[str, str] = IDENTITY) -> Checkpoints:
    return Checkpoints(uri, identity, every_seconds=600)


def test_the_newest_state_is_gone_on_from(uri: str, state: Path, tmp_path: Path) -> None:
    first = start(uri)
    first.tracking_run_id = "abc"
    for step in (1, 2, 3):
        state.write_bytes(f"weights of {step}".encode())
        first.save(state, step=step, epoch=0.5, seconds=60.0 * step)

    second = start(uri)
    assert second.look()
    found = second.take_over(tmp_path)

    assert found is not None
    assert (found[0].step, found[0].seconds, found[1].read_bytes()) == (3, 180.0, b"weights of 3")
    assert (second.tracking_run_id, second.began_at) == ("abc", [0, 3])


def test_whoever_was_taken_over_writes_nothing_more(uri: str, state: Path, tmp_path: Path) -> None:
    lost = start(uri)
    lost.save(state, step=1, epoch=0.1, seconds=1)
    goes_on = start(uri)
    goes_on.take_over(tmp_path)

    with pytest.raises(TakenOverError, match=r"goes on in .* no step is trained twice"):
        lost.save(state, step=2, epoch=0.2, seconds=2)
    goes_on.save(state, step=2, epoch=0.2, seconds=2)


def test_of_two_that_begin_at_once_one_goes_on(uri: str, state: Path) -> None:
    one, other = start(uri), start(uri)
    assert not one.look() and not other.look()
    other.save(state, step=1, epoch=0.1, seconds=1)

    with pytest.raises(TakenOverError):
        one.save(state, step=1, epoch=0.1, seconds=1)


def test_a_model_is_taken_as_it_was_trained(uri: str, state: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "config.json").write_bytes(b"{}")
    first = start(uri)
    first.save(state, step=1, epoch=0.1, seconds=1)
    first.tracking_run_id = "abc"
    first.finish(model, {"seconds": 1.5})

    second = start(uri)
    assert second.finished(tmp_path / "again") == {"seconds": 1.5}
    assert second.tracking_run_id == "abc"
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == b"weights"
    assert not second.look()
    assert start(uri, {**IDENTITY, "data": "others"}).finished(tmp_path / "third") is None


def test_a_document_that_names_files_elsewhere_is_none(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_bytes(b"{}")
    first = start(uri)
    first.finish(model, {})
    path = f"{first._path}/finished.json"
    document = first._store.cat_file(path).replace(b'"config.json"', b'"../config.json"')
    first._store.pipe_file(path, document)

    assert start(uri).finished(tmp_path / "again") is None
    assert "finished.json in" in capsys.readouterr().out


def test_nothing_is_left_once_the_candidate_is_made(uri: str, state: Path) -> None:
    first = start(uri)
    first.save(state, step=1, epoch=0.1, seconds=1)
    remove(uri.removesuffix("/checkpoints"))

    assert not first._store.exists(first._path)
    remove(uri.removesuffix("/checkpoints"))
