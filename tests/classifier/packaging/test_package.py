from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pyarrow
import pyarrow.parquet
import pytest

from include.classifier.packaging import package as packaging
from include.classifier.packaging.archive import Archive, build_archive, sha256_of
from include.classifier.packaging.native_server import NativeServerError
from include.classifier.packaging.package import (
    PackagingError,
    largest_difference,
    package,
    publish,
    sample_texts,
)
from include.classifier.packaging.server import TorchServeError
from include.classifier.packaging.server_settings import server_config
from include.classifier.serving.predictor import Prediction, Predictor
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from tests import candidates

VERSION = "20261121030000"
WORDS = ["good", "bad", "food", "place", "was", "very", "slow", "quick", "never", "again"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The part of dataset.json that packaging reads."""
    draw = random.Random(1)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 20))) for _ in range(90)]
    path = tmp_path_factory.mktemp("data") / "evaluation.parquet"
    labels = pyarrow.array([row % 3 for row in range(90)], pyarrow.int64())
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)
    return {"splits": {"evaluation": {"uri": path.as_uri(), "rows": 90}}}


def run(tiny_model: Path, dataset: dict[str, Any], store: Path, **serving: Any) -> dict[str, Any]:
    return package(
        tiny_model,
        dataset=dataset,
        model="tiny",
        version=VERSION,
        output_uri=store.as_uri(),
        serving={"workers": 1, **serving},
    )


def tamper(monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str) -> None:
    """Let every archive be built with a change in its serving code."""

    def build(*arguments: Any, **settings: Any) -> Archive:
        archive = build_archive(*arguments, **settings)
        with zipfile.ZipFile(archive.path) as file:
            contents = {entry: file.read(entry) for entry in file.namelist()}
        source = contents[f"classifier_serving/{name}"].decode()
        assert old in source
        contents[f"classifier_serving/{name}"] = source.replace(old, new).encode()
        with zipfile.ZipFile(archive.path, "w") as file:
            for entry, content in contents.items():
                file.writestr(entry, content)
        return Archive(archive.path, sha256_of(archive.path), archive.path.stat().st_size)

    monkeypatch.setattr(packaging, "build_archive", build)


def servers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.is_running()]


@pytest.mark.torchserve
def test_a_package_is_tried_published_and_described(
    tiny_model: Path, dataset: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = run(tiny_model, dataset, tmp_path / "store")

    assert parts.keys() == {"archive", "labels", "serving", "golden_examples", "held_out_texts"}
    TextClassifierCandidate.read(candidates.document(**parts), where="made of the parts")
    archive = tmp_path / "store" / parts["archive"]["file"]
    assert archive == tmp_path / "store" / "model-store" / "tiny.mar"
    assert parts["archive"]["sha256"] == sha256_of(archive)
    assert (tmp_path / "store" / "config" / "config.properties").is_file()
    assert parts["serving"]["parity_rows"] == 90
    assert 0 < parts["serving"]["largest_difference"] < 1e-3
    assert 0 < parts["serving"]["p50_ms"] <= parts["serving"]["p95_ms"]
    texts = [example["text"] for example in parts["golden_examples"]]
    assert len(texts) == 16
    assert len(parts["held_out_texts"]) == 90
    assert set(texts) <= set(parts["held_out_texts"])
    for example, prediction in zip(parts["golden_examples"], Predictor.load(tiny_model).predict(texts), strict=True):
        assert example["label"] == prediction.label
        assert example["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-4)
    assert servers() == []
    shown = "".join(capfd.readouterr())
    assert "Published the package" in shown
    assert [text for text in texts if len(text) > 10 and text in shown] == []


@pytest.mark.long  # what is served there is told by tests/classifier/native
@pytest.mark.processes
def test_a_package_for_the_native_server_is_tried_on_that_one(
    tiny_model: Path, dataset: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = run(tiny_model, dataset, tmp_path / "store", runtime="native")

    assert TextClassifierCandidate.read(candidates.document(**parts), where="the parts").runtime == "native"
    assert 0 < parts["serving"]["largest_difference"] < 1e-3
    assert f"The native server serves tiny {VERSION}" in capfd.readouterr().out
    assert servers() == []


@pytest.mark.processes
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "old", "new", "error", "message"),
    [
        ("predictor.py", "def tokenise", "def read_tokens", NativeServerError, "has no Predictor.tokenise"),
        pytest.param(
            "predictor.py",
            'labels=facts["labels"], max',
            'labels=facts["labels"][::-1], max',
            PackagingError,
            "does not serve what was trained",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_the_native_server_serves_wrongly_is_not_published(
    name: str,
    old: str,
    new: str,
    error: type[Exception],
    message: str,
    tiny_model: Path,
    dataset: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tamper(monkeypatch, name, old, new)

    with pytest.raises(error, match=message):
        run(tiny_model, dataset, tmp_path / "store", runtime="native")
    assert not (tmp_path / "store").exists()
    assert servers() == []


@pytest.mark.torchserve
@pytest.mark.parametrize(
    ("name", "old", "new", "error", "message"),
    [
        (
            "handler.py",
            "        workers = int(",
            "        raise RuntimeError('broken on purpose')\n        workers = int(",
            TorchServeError,
            "RuntimeError: broken on purpose",
        ),
        pytest.param(
            "handler.py",
            "        workers = int(",
            "        import os\n        os.kill(os.getpid(), 9)\n        workers = int(",
            TorchServeError,
            "died while it loaded the model",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "predictor.py",
            'labels=facts["labels"], max',
            'labels=facts["labels"][::-1], max',
            PackagingError,
            "does not serve what was trained",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "protocol.py",
            "def write_answer(",
            "def write_answer(*_: object, **__: object) -> str:\n    raise OSError('broken on purpose')\n\ndef unused(",
            PackagingError,
            "answered evaluation rows with 503",
            marks=pytest.mark.long,
        ),
    ],
    ids=["does not load", "is killed", "labels permuted", "raises"],
)
def test_a_package_that_does_not_serve_what_was_trained_is_not_published(
    name: str,
    old: str,
    new: str,
    error: type[Exception],
    message: str,
    tiny_model: Path,
    dataset: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tamper(monkeypatch, name, old, new)

    with pytest.raises(error, match=message):
        run(tiny_model, dataset, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert servers() == []


def prediction(label: str, *values: float) -> Prediction:
    probabilities = dict(zip(["bad", "good"], values, strict=True))
    return Prediction(label, probabilities[label], probabilities, truncated=False)


def served(label: str, *values: float, version: str = VERSION) -> dict[str, Any]:
    return {"label": label, "probabilities": dict(zip(["bad", "good"], values, strict=True)), "version": version}


@pytest.mark.parametrize(("batch_size", "room"), [(1, 12_000_000), (16, 102_000_000), (10_000, 2_000_000_000)])
def test_the_server_has_room_for_the_answers_of_all_requests_that_it_joins(batch_size: int, room: int) -> None:
    config = server_config("tiny", VERSION, {"batch_size": batch_size})
    assert f"max_response_size={room}\n" in config


def test_nobody_outside_of_the_pod_reaches_the_management_api() -> None:
    lines = server_config("tiny", VERSION, {}).splitlines()
    assert "management_address=http://127.0.0.1:8086" in lines
    ports = [line.rpartition(":")[2] for line in lines if "_address=" in line]
    assert not {"8080", "8081"} & set(ports), "KServe's wrapper listens there"
    assert len(set(ports)) == 3


def test_the_largest_difference_is_found() -> None:
    expected = [prediction("bad", 0.9, 0.1), prediction("good", 0.2, 0.8)]
    answers = [served("bad", 0.9, 0.1), served("good", 0.1996, 0.8004)]

    assert largest_difference(["a", "b"], expected, answers, version=VERSION) == pytest.approx(4e-4)


def test_a_tie_may_fall_to_either_label() -> None:
    expected, answers = [prediction("good", 0.4999, 0.5001)], [served("bad", 0.5001, 0.4999)]

    assert largest_difference(["a"], expected, answers, version=VERSION) == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([served("bad", 0.9, 0.1), served("good", 0.19, 0.81)], "Row 1 of the sample"),
        ([served("good", 0.9, 0.1), served("good", 0.2, 0.8)], "Row 0 of the sample: served 'good', in-process 'bad'"),
        ([served("bad", 0.9, 0.1, version="20250101000000")] * 2, "calls itself version 20250101000000"),
        ([served("bad", 0.9, 0.1)], "gave 1 answers to 2 texts"),
    ],
)
def test_answers_that_differ_are_refused(answers: list[dict[str, Any]], message: str) -> None:
    expected = [prediction("bad", 0.9, 0.1), prediction("good", 0.2, 0.8)]

    with pytest.raises(PackagingError, match=message):
        largest_difference(["a", "b"], expected, answers, version=VERSION)


def test_all_labels_occur_in_the_sample(tmp_path: Path) -> None:
    table = pyarrow.table({"text": [f"text {row}" for row in range(1000)], "label": [0] * 900 + [1] * 60 + [2] * 40})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")

    texts = sample_texts((tmp_path / "rows.parquet").as_uri(), 50)

    assert len(texts) == len(set(texts)) == 50
    rows = [int(text.split()[1]) for text in texts]
    assert [sum(low <= row < high for row in rows) for low, high in [(0, 900), (900, 960), (960, 1000)]] == [45, 3, 2]


def test_few_rows_are_all_taken(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, 0]}), tmp_path / "rows.parquet")

    assert sample_texts(str(tmp_path / "rows.parquet"), 50) == ["b", "a"]


def test_a_broken_off_copy_is_not_taken_for_a_package(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    for folder in (source, store):
        folder.mkdir()
        (folder / "config.properties").write_text("of the first attempt")
    (source / "tiny.mar").mkdir()  # Reading it fails in the middle of the copy.

    with pytest.raises(IsADirectoryError):
        publish(source, store.as_uri(), ["tiny.mar", "config.properties"])
    assert not (store / "config.properties").exists()


def test_a_copy_replaces_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "tiny.mar").write_text("new")
    (tmp_path / "config.properties").write_text("new")
    for _ in range(2):
        publish(tmp_path, (tmp_path / "store").as_uri(), ["tiny.mar", "config.properties"])

    assert (tmp_path / "store" / "tiny.mar").read_text() == "new"
    assert (tmp_path / "store" / "config.properties").read_text() == "new"
