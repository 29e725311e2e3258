from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.classifier.packaging.archive import ArchiveError, build_archive, open_archive, sha256_of
from include.classifier.serving.predictor import Predictor

VERSION = "20261121030000"


def build(model_dir: Path, target: Path, **changes: Any):
    return build_archive(model_dir, **{"model": "tiny", "version": VERSION, "target": target} | changes)


@pytest.fixture
def model_dir(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_two_builds_are_identical_byte_for_byte(model_dir: Path, tmp_path: Path) -> None:
    first = build(model_dir, tmp_path / "first.mar")
    for path in model_dir.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    previous = os.umask(0o077)
    try:
        second = build(model_dir, tmp_path / "elsewhere" / "second.mar")
    finally:
        os.umask(previous)

    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == second.sha256 == sha256_of(second.path)
    assert first.size_bytes == second.path.stat().st_size


def test_an_archive_holds_what_serving_needs_and_nothing_else(model_dir: Path, tmp_path: Path) -> None:
    (model_dir / "training_args.bin").write_bytes(b"a pickle")
    (model_dir / "trainer_state.json").write_text("{}")
    (model_dir / "checkpoint-5").mkdir()

    archive = build(
        model_dir, tmp_path / "tiny.mar", serving={"workers": 2, "batch_size": 4, "max_batch_delay_ms": 7, "top_k": 2}
    )

    with zipfile.ZipFile(archive.path) as file:
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_STORED}
        assert file.namelist() == [
            "MAR-INF/MANIFEST.json",
            "classifier.json",
            "classifier_serving/__init__.py",
            "classifier_serving/capture.py",
            "classifier_serving/cpus.py",
            "classifier_serving/handler.py",
            "classifier_serving/kernels.py",
            "classifier_serving/onnx_engine.py",
            "classifier_serving/open_inference.py",
            "classifier_serving/predictor.py",
            "classifier_serving/protocol.py",
            "classifier_serving/text.py",
            "classifier_serving/tokenizer_file.py",
            "classifier_serving/torch_engine.py",
            "config.json",
            "model-config.yaml",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
        assert yaml.safe_load(file.read("model-config.yaml")) == {
            "minWorkers": 2,
            "maxWorkers": 2,
            "batchSize": 4,
            "maxBatchDelay": 7,
            "responseTimeout": 60,
            "handler": {"top_k": 2},
        }
        assert json.loads(file.read("MAR-INF/MANIFEST.json"))["model"] == {
            "modelName": "tiny",
            "modelVersion": VERSION,
            "handler": "classifier_serving.handler:handle",
            "configFile": "model-config.yaml",
        }


@pytest.mark.processes
def test_the_serving_code_needs_nothing_from_outside_its_folder(tiny_model: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    archive = build(tiny_model, tmp_path / "tiny.mar")
    folder = open_archive(archive.path, tmp_path / "unpacked")

    # -P and the folder as working directory: only the archive is importable besides what is installed.
    code = "import sys; sys.path.insert(0, '.'); import classifier_serving.handler; assert 'include' not in sys.modules"
    subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, check=True)


def test_a_big_file_is_not_read_into_memory(model_dir: Path, tmp_path: Path) -> None:
    import tracemalloc

    (model_dir / "model.safetensors").write_bytes(bytes(64 << 20))
    tracemalloc.start()
    try:
        archive = build(model_dir, tmp_path / "big.mar")
        open_archive(archive.path, tmp_path / "unpacked", sha256=archive.sha256)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert archive.size_bytes > 64 << 20
    assert peak_bytes < 16 << 20


def test_an_opened_archive_predicts_like_the_model_it_was_built_from(tiny_model: Path, tmp_path: Path) -> None:
    archive = build(tiny_model, tmp_path / "tiny.mar")

    folder = open_archive(archive.path.as_uri(), tmp_path / "unpacked", sha256=archive.sha256)

    assert Predictor.load(folder).predict(["good food"]) == Predictor.load(tiny_model).predict(["good food"])


@pytest.mark.parametrize("name", ["config.json", "classifier.json", "tokenizer.json", "model.safetensors"])
def test_a_model_that_lacks_a_file_is_refused(name: str, model_dir: Path, tmp_path: Path) -> None:
    (model_dir / name).unlink()

    with pytest.raises(ArchiveError, match=f"lacks {name}"):
        build(model_dir, tmp_path / "tiny.mar")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["bad", "fine"], "names 2 labels, config.json 3"),
        (["très bon", "fine", "bad"], "in another order"),
        ("bad", "needs `labels`"),
    ],
)
def test_labels_that_do_not_fit_the_model_are_refused(
    labels: Any, message: str, model_dir: Path, tmp_path: Path
) -> None:
    (model_dir / "classifier.json").write_text(json.dumps({"labels": labels, "max_length": 16}))

    with pytest.raises(ArchiveError, match=message):
        build(model_dir, tmp_path / "tiny.mar")


def test_labels_that_the_model_does_not_name_are_taken_from_us(model_dir: Path, tmp_path: Path) -> None:
    config = json.loads((model_dir / "config.json").read_text())
    config["id2label"] = {str(index): f"LABEL_{index}" for index in range(3)}
    (model_dir / "config.json").write_text(json.dumps(config))

    build(model_dir, tmp_path / "tiny.mar")


@pytest.mark.parametrize("model", ["", "Tiny", "tiny/1", "tiny model", "1st", "tiny:predict", "a" * 49, "..", "tiny-"])
def test_names_that_cannot_stand_in_a_url_are_refused(model: str, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot stand in a URL"):
        build(tiny_model, tmp_path / "tiny.mar", model=model)


@pytest.mark.parametrize("version", ["1.0", "2026112103000", "202611210300000", "2026112103000x", "20261121030000\n"])
def test_versions_that_do_not_sort_are_refused(version: str, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is not 14 digits"):
        build(tiny_model, tmp_path / "tiny.mar", version=version)


def test_a_changed_archive_is_refused_before_it_is_unpacked(tiny_model: Path, tmp_path: Path) -> None:
    archive = build(tiny_model, tmp_path / "tiny.mar")
    with archive.path.open("ab") as file:
        file.write(b"x")

    with pytest.raises(ArchiveError, match="changed after packaging"):
        open_archive(archive.path, tmp_path / "unpacked", sha256=archive.sha256)
    assert list((tmp_path / "unpacked").iterdir()) == []


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "a/../../evil.py", "..\\evil.py"])
def test_an_entry_that_points_out_of_the_archive_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.mar", "w") as file:
        file.writestr(zipfile.ZipInfo(name), "evil")

    with pytest.raises(ArchiveError, match="points out of the archive"):
        open_archive(tmp_path / "evil.mar", tmp_path / "inner" / "unpacked")
    assert list(tmp_path.rglob("*evil.py")) == []


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.mar", "w") as file:
        file.writestr(link, "/etc/passwd")

    with pytest.raises(ArchiveError, match="points out of the archive"):
        open_archive(tmp_path / "evil.mar", tmp_path / "unpacked")


def bomb(file: zipfile.ZipFile) -> None:
    file.writestr("a.json", bytes(30_000_000), zipfile.ZIP_DEFLATED)


def many(file: zipfile.ZipFile) -> None:
    for number in range(1001):
        file.writestr(f"{number}.py", "")


def twice(file: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("MAR-INF/MANIFEST.json", "{}")


def device(file: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("model.safetensors")
    entry.external_attr = (stat.S_IFCHR | 0o666) << 16
    file.writestr(entry, "")


@pytest.mark.parametrize(
    ("manifest", "add", "message"),
    [
        ("{}", bomb, "unpacks to 30 MB, more than 20 times its size"),
        ("{}", many, "has 1002 entries"),
        ("{}", twice, "is there twice"),
        ("{}", device, "points out of the archive"),
        ("[" * 90_000, lambda file: None, r"MANIFEST\.json cannot be read"),
        ("[]", lambda file: None, r"MANIFEST\.json cannot be read"),
        (" " * 200_000, lambda file: None, "has more than 100000 bytes"),
    ],
)
def test_what_nobody_would_pack_is_not_unpacked(manifest: str, add: Any, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.mar", "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", manifest)
        add(file)

    with pytest.raises(ArchiveError, match=message):
        open_archive(tmp_path / "evil.mar", tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mar").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.mar", "w") as file:
        file.writestr("a.txt", "no model")

    for name in ("text.mar", "other.mar"):
        with pytest.raises(ArchiveError, match=r"no \.mar archive"):
            open_archive(tmp_path / name, tmp_path / "unpacked")
