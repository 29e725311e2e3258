"""Captured requests whose labels have arrived are trained on, and never stand in or empty the evaluation rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.dataset import read_split
from include.classifier.preprocess import preprocess
from include.classifier.preprocess_steps import Request, merge_step, read_step
from include.contracts.monitoring.labels import LABELLED_REQUESTS
from include.contracts.settings import DataConfig
from include.release_in_kubeflow.steps import load_data_step
from tests.monitoring.support import request, write
from tests.monitoring.test_drift import FIRST

LABELS = {"0": "bad", "1": "good"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def rows(name: str, count: int) -> list[dict[str, Any]]:
    return [{"text": f"{name} number {number}", "label": number % 2} for number in range(count)]


def data(folder: Path, *, evaluation: list[dict[str, Any]] | None, **settings: Any) -> DataConfig:
    """Return settings for a file of training rows and one of evaluation rows."""
    files = {"train": rows("review", 60)} | ({"evaluation": evaluation} if evaluation else {})
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    sources = {name: [str(folder / f"{name}.jsonl")] for name in files}
    return DataConfig(labels=LABELS, labelled_requests=True, min_rows=10, min_evaluation_rows=5, **sources, **settings)


def captured(folder: Path, texts: dict[str, str], *, keep: bool = True) -> str:
    """Write a captured request and its label for each text, and return the folder of the model."""
    store = folder / "store"
    labels = []
    for number, (text, label) in enumerate(texts.items()):
        write(store, [request(number, FIRST, [text], labels=["bad"], confidences=[0.9], keep=keep)])
        labels.append({"id": f"request-{number}", "label": label, "at": "2026-11-03T08:00:00Z", "origin": "desk.csv"})
    (store / "labels" / "2026-11-03").mkdir(parents=True)
    lines = "\n".join(map(json.dumps, labels))
    (store / "labels" / "2026-11-03" / "a.jsonl").write_text(lines, encoding="utf-8")
    return store.as_uri()


def made(folder: Path, settings: DataConfig, requests_uri: str | None, name: str = "1") -> dict[str, Any]:
    output = (folder / "store" / name / "dataset").as_uri()
    return preprocess(settings, model="reviews", seed=42, output_uri=output, requests_uri=requests_uri)


def test_they_are_training_rows_with_their_origin(folder):
    settings = data(folder, evaluation=rows("other", 20))
    document = made(folder, settings, captured(folder, {"It was fine.": "good", "It was not.": "bad"}))

    train = read_split(document, "train")
    assert ("It was fine.", 1) in zip(train.texts, train.labels, strict=True)
    assert ("It was not.", 0) in zip(train.texts, train.labels, strict=True)
    (source,) = [each for each in document["sources"] if each.get("named")]
    assert (source["named"], source["rows"], source["split"]) == ("labelled requests", 2, "train")
    line = json.loads(Path(source["uri"].removeprefix("file://")).read_text(encoding="utf-8").splitlines()[0])
    assert (line["request_id"], line["origin"], line["label"]) == ("request-0", "desk.csv", "1")


def test_a_text_of_the_evaluation_rows_never_enters_training_and_stays_where_it_is(folder):
    settings = data(folder, evaluation=rows("other", 20))
    without = made(folder, settings, None, "1")
    sent = {"other  number\t3": "bad", "other number 4": "bad", "Something new.": "good"}
    document = made(folder, settings, captured(folder, sent), "2")

    train, evaluation = read_split(document, "train"), read_split(document, "evaluation")
    assert evaluation == read_split(without, "evaluation")
    assert not set(train.texts) & set(evaluation.texts)
    assert len(train.texts) == 61
    assert document["dropped"]["leaked"] == {"train": 2, "evaluation": 0}


def test_rows_are_split_off_as_without_them(folder):
    settings = data(folder, evaluation=None)
    without = made(folder, settings, None, "1")
    evaluated = read_split(without, "evaluation").texts
    sent = {evaluated[0]: "bad", evaluated[1]: "good", **{f"Something new {number}": "bad" for number in range(30)}}
    document = made(folder, settings, captured(folder, sent), "2")

    assert read_split(document, "evaluation") == read_split(without, "evaluation")
    train = read_split(document, "train").texts
    assert not set(train) & set(evaluated)
    assert sum(text.startswith("Something new") for text in train) == 30


def test_without_texts_there_is_nothing_to_train_on(folder, capsys):
    settings = data(folder, evaluation=rows("other", 20))
    document = made(folder, settings, captured(folder, {"It was fine.": "good"}, keep=False))

    assert document["splits"]["train"]["rows"] == 60
    assert "0 captured rows with texts, 1 without" in capsys.readouterr().out


@pytest.mark.parametrize(("is_wanted", "files"), [(False, 1), (True, 1), (True, 3)])
def test_a_release_wholly_in_kubeflow_trains_on_them_where_its_data_say_so(folder, is_wanted, files):
    captured(folder, {"It was fine.": "good", "It was not.": "bad"})
    changes = {"labelled_requests": is_wanted, "parallel_files": files}
    settings = data(folder, evaluation=rows("other", 20)).model_dump(mode="json") | changes

    loaded = load_data_step(
        data=settings,
        training={},
        model_name="store",
        model_version="20261121030059",
        store_uri=folder.as_uri(),
        tracking_uri="",
    )
    assert (loaded.how, loaded.parts) == (("whole", []) if files == 1 else ("parts", ["0", "1", "2"]))
    for part in loaded.parts:
        read_step(Request(**loaded.request), part=int(part))
    if loaded.parts:
        merge_step(Request(**loaded.request), model_name="store", seed=loaded.seed)

    document = json.loads(Path(loaded.dataset_uri.removeprefix("file://")).read_text(encoding="utf-8"))
    found = [source["rows"] for source in document["sources"] if source.get("named") == LABELLED_REQUESTS]
    assert found == ([2] if is_wanted else [])
