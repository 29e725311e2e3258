"""A trial trains with its settings, and the same rows judge it wherever the rows are: in memory or in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from include.classifier.data.dataset import Split, read_dataset, write_dataset
from include.classifier.metrics import confusion_matrix, macro_f1
from include.classifier.search.objective import TrainingObjective
from include.classifier.training import stored_rows
from include.classifier.training.epochs import Epoch
from include.contracts.settings import TrainingConfig
from tests.classifier.architectures import CLASSES, LABELS, TEXTS

pytestmark = pytest.mark.computes


@pytest.fixture(scope="module")
def dataset_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("dataset")
    # Classes by turns, so that an answer in another order than its row's is seen.
    middle = len(TEXTS) // 2
    texts, classes = (
        [value for pair in zip(values[:middle], values[middle:], strict=True) for value in pair]
        for values in (TEXTS, CLASSES)
    )
    write_dataset(
        folder.as_uri(),
        model="reviews",
        label_names=LABELS,
        splits={"train": Split(texts, classes), "evaluation": Split(["What else"], [0])},
        sources=[],
        rows_in=len(texts) + 1,
        dropped={reason: {"train": 0, "evaluation": 0} for reason in ("empty", "unknown_label", "duplicate", "leaked")},
    )
    return f"{folder.as_uri()}/dataset.json"


class Told:
    """Keeps what a trial tells."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def begun(self, tracking_run_id: str | None) -> None:
        """Nothing is tracked."""

    def epoch(self, epoch: Epoch) -> None:
        """Keep it."""
        self.epochs.append(epoch)


def objective(dataset_uri: str, **settings: Any) -> TrainingObjective:
    how = {"epochs": 4, "learning_rate": 1e-6, "batch_size": 8, "max_length": 24, "early_stopping_patience": 0}
    training = TrainingConfig.model_validate(how | {"weight_decay": 0.0, "warmup": 0.0} | settings)
    return TrainingObjective(
        dataset_uri=dataset_uri, model="reviews", search="1", training=training, validation_share=0.5, seed=3
    )


@pytest.mark.parametrize("in_memory_rows", [len(TEXTS), len(TEXTS) - 1])
def test_each_epoch_is_told_with_the_answers_in_the_order_of_the_rows(
    dataset_uri: str, in_memory_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_split = stored_rows.read_split

    def note(document: Mapping[str, Any], name: Any) -> Split:
        read.append(name)
        return read_split(document, name)

    monkeypatch.setattr(stored_rows, "read_split", note)
    asked, told = objective(dataset_uri, in_memory_rows=in_memory_rows), Told()
    asked(0, {"learning_rate": 3e-3}, told)
    truth = asked.truth(read_dataset(dataset_uri))

    assert np.bincount(truth).tolist() == [18, 18]
    assert [epoch.number for epoch in told.epochs] == [1, 2, 3, 4]
    for epoch in told.epochs:
        assert macro_f1(confusion_matrix(truth, epoch.predicted, 2)) == pytest.approx(epoch.macro_f1)
    assert told.epochs[-1].macro_f1 > 0.9
    # More rows than may be in memory are never held.
    assert read == (["train"] if in_memory_rows == len(TEXTS) else [])
