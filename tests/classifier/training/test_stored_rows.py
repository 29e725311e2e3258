"""Rows in files are trained on as those in memory are: the same ones are held out, and every one is met once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.data import dataset
from include.classifier.data.dataset import Split, read_split, write_dataset
from include.classifier.data.problems import DataError
from include.classifier.serving.predictor import Predictor
from include.classifier.shards.manifest import MANIFEST
from include.classifier.shards.reading import StoredRows
from include.classifier.tracking import Tracker
from include.classifier.training.base_model import BaseModel, load_base_model
from include.classifier.training.checkpoints.resuming import KeepState
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.fine_tuning import Training, train_on
from include.classifier.training.rows import HeldOut, Prepared, RowsInMemory
from include.classifier.training.stored_rows import RowsOfDataset, training_rows
from include.contracts.settings import TrainingConfig
from tests.classifier.training.small_trainings import largest_difference, without_dropout

LABELS = ["bad", "middling", "good"]
WORDS = ["awful", "fair", "superb"]
#: Of the classes there are many, some, and one.
CLASSES = [0] * 200 + [2] * 61 + [1]
ROWS = Split(
    [f"The food was {WORDS[label]} {'indeed ' * (row % 9)}{row}" for row, label in enumerate(CLASSES)], CLASSES
)
SETTINGS = TrainingConfig(batch_size=8, max_length=12, early_stopping_patience=2, epochs=1, in_memory_rows=100)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("dataset")
    none = {"train": 0, "evaluation": 0}
    return write_dataset(
        folder.as_uri(),
        model="reviews",
        label_names=LABELS,
        splits={"train": ROWS, "evaluation": Split(["What else"], [0])},
        sources=[],
        rows_in=len(CLASSES) + 1,
        dropped=dict.fromkeys(("empty", "unknown_label", "duplicate", "leaked"), none),
    )


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return load_base_model("scratch", revision=None, labels=LABELS, texts=ROWS.texts, max_length=12)


def as_rows(prepared: Prepared) -> tuple[Counter, list, list[float] | None]:
    training = prepared.training
    rows = [training[number] for number in range(len(training))]
    return Counter(map(str, rows)), prepared.validation, prepared.class_weights


@pytest.mark.parametrize(
    ("patience", "held_out", "judges"), [(0, None, 0), (2, None, 20 + 6), (0, HeldOut(7, 0.5), 100 + 30)]
)
@pytest.mark.parametrize("batch_rows", [7, 8192])
def test_the_same_rows_are_trained_on_and_held_out_as_in_memory(
    document: dict[str, Any],
    base: BaseModel,
    tmp_path: Path,
    patience: int,
    held_out: HeldOut | None,
    judges: int,
    batch_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset, "_DIGEST_ROWS", batch_rows)
    settings = SETTINGS.model_copy(update={"early_stopping_patience": patience})

    stored = RowsOfDataset(document, tmp_path, held_out=held_out).prepare(base, settings, 3)
    in_memory = RowsInMemory(ROWS.texts, ROWS.labels, held_out=held_out).prepare(base, settings, 3)

    assert isinstance(stored.training, StoredRows)
    assert as_rows(stored) == as_rows(in_memory)
    assert len(stored.validation) == judges
    stored.training.verify()


def test_rows_that_are_there_already_are_taken_and_those_of_another_tokenizer_are_not(
    document: dict[str, Any], base: BaseModel, tmp_path: Path
) -> None:
    rows = RowsOfDataset(document, tmp_path)
    first = as_rows(rows.prepare(base, SETTINGS, 3))
    written = (tmp_path / MANIFEST).stat()

    assert as_rows(rows.prepare(base, SETTINGS, 3)) == first
    assert (tmp_path / MANIFEST).stat() == written

    shorter = load_base_model("scratch", revision=None, labels=LABELS, texts=ROWS.texts[:20], max_length=8)
    found = rows.prepare(shorter, SETTINGS, 3)
    assert max(len(found.training[number]["input_ids"]) for number in range(len(found.training))) == 8


def test_rows_beside_the_model_are_gone_behind_the_training(document: dict[str, Any], tmp_path: Path) -> None:
    with training_rows(document, SETTINGS, beside=tmp_path / "model") as rows:
        assert isinstance(rows, RowsOfDataset)
        assert [path.name.startswith(".rows-") for path in tmp_path.iterdir()] == [True]
    assert list(tmp_path.iterdir()) == []

    few = SETTINGS.model_copy(update={"in_memory_rows": len(CLASSES)})
    with training_rows(document, few, beside=tmp_path / "model") as rows:
        assert isinstance(rows, RowsInMemory)
        assert len(rows) == len(CLASSES)


@pytest.fixture
def changed(document: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The document of a data set one of whose texts is another by now."""
    file = tmp_path / "train.parquet"
    parquet.write_table(pa.table({"text": [*ROWS.texts[:-1], "other"], "label": ROWS.labels}), file)
    splits = document["splits"] | {"train": document["splits"]["train"] | {"uri": file.as_uri()}}
    return document | {"splits": splits}


CHANGED = r"was changed after dataset\.json was written"


def test_rows_that_were_changed_are_refused(base: BaseModel, changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=CHANGED):
        RowsOfDataset(changed, tmp_path / "rows").prepare(base, SETTINGS, 3)
    assert not (tmp_path / "rows" / MANIFEST).exists()


@pytest.mark.processes
@pytest.mark.long  # PyTorch is imported by both processes
def test_rows_that_were_changed_end_all_processes_at_once(
    changed: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    how = SETTINGS.model_copy(update={"processes": 2})
    model = tmp_path / "run" / "model"
    with training_rows(changed, how, beside=model) as rows, pytest.raises(DataError, match=CHANGED):
        train_on(Training(rows=rows, labels=LABELS, settings=how, model_dir=model, tracker=Tracker()))
    assert capfd.readouterr().out.count("loading base model") == 1


@pytest.mark.computes
@pytest.mark.parametrize("step", [pytest.param(20, marks=pytest.mark.long), 53])
def test_a_training_on_stored_rows_goes_on_with_the_rows_that_were_next(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """An epoch has thirty steps: it is broken off in the first and in the second."""
    settings = SETTINGS.model_copy(update={"epochs": 2.0, "learning_rate": 3e-3, "checkpoint_minutes": 1e-9})
    ends, last = KeepState.on_step_end, [0]

    class BrokenOff(BaseException):
        """The process ends here."""

    def end(keep: KeepState, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        ends(keep, args, state, control, **kwargs)
        if state.global_step == last[0]:
            raise BrokenOff

    monkeypatch.setattr(KeepState, "on_step_end", end)

    def trained(folder: Path, store: Path | None) -> bytes:
        kept = Checkpoints(str(store), {"data": "these"}, every_seconds=1e-9) if store else None
        model = folder / "model"
        with training_rows(document, settings, beside=model) as rows:
            train_on(
                Training(
                    rows=rows, labels=LABELS, settings=settings, model_dir=model, tracker=Tracker(), checkpoints=kept
                )
            )
        return (model / "model.safetensors").read_bytes()

    whole = trained(tmp_path / "whole", None)
    last[0] = step
    with pytest.raises(BrokenOff):
        trained(tmp_path / "broken-off", tmp_path / "store")
    last[0] = 0

    assert trained(tmp_path / "again", tmp_path / "store") == whole


@pytest.mark.processes
@pytest.mark.computes
@pytest.mark.long
def test_two_processes_make_the_model_of_one_from_stored_rows(document: dict[str, Any], tmp_path: Path) -> None:
    base = without_dropout(tmp_path / "base")
    for processes in (1, 2):
        how = SETTINGS.model_copy(
            update={"base_model": base, "epochs": 2.0, "learning_rate": 1e-3, "processes": processes}
        )
        model = tmp_path / str(processes) / "model"
        with training_rows(document, how, beside=model) as rows:
            train_on(Training(rows=rows, labels=LABELS, settings=how, model_dir=model, tracker=Tracker()))

    assert largest_difference(tmp_path / "1" / "model", tmp_path / "2" / "model") < 1e-4


@pytest.mark.long
@pytest.mark.computes
def test_a_model_is_trained_on_stored_rows_the_same_every_time(document: dict[str, Any], tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 3.0, "learning_rate": 3e-3})

    def trained(folder: Path) -> dict[str, Any]:
        with training_rows(document, settings, beside=folder / "model") as rows:
            return train_on(
                Training(rows=rows, labels=LABELS, settings=settings, model_dir=folder / "model", tracker=Tracker())
            )

    facts = trained(tmp_path / "first")
    trained(tmp_path / "second")

    assert facts["epochs_run"] >= 1
    assert facts["parameters"]["in_memory_rows"] == 100
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]
    found = Predictor.load(tmp_path / "first" / "model").predict(["The food was awful", "The food was superb"])
    assert [each.label for each in found] == ["bad", "good"]
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["model"]


def test_a_sample_is_the_same_every_time_and_in_the_order_of_the_rows(document: dict[str, Any]) -> None:
    sample = dataset.read_sample(document, "train", most=50)

    places = [ROWS.texts.index(text) for text in sample.texts]
    assert len(places) == 50
    assert places == sorted(set(places))
    assert sample.labels == [CLASSES[place] for place in places]
    assert dataset.read_sample(document, "train", most=50) == sample
    assert dataset.read_sample(document, "train", most=1000) == read_split(document, "train")
