"""What a trial does: trains with its settings and tells what each epoch reaches on the held-out rows."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from include.classifier.data.dataset import read_dataset, read_split
from include.classifier.progress import first_line
from include.classifier.search.trials import HopelessError, Teller
from include.classifier.training.defaults import fill_in
from include.contracts.search.document import Settings
from include.contracts.settings import TrainingConfig

#: Errors by their names, so that whoever asks need not import PyTorch.
_OUT_OF_MEMORY = frozenset({"OutOfMemoryError", "MemoryError"})
_DIVERGED = "TrainingDivergedError"


@dataclass(frozen=True)
class TrainingObjective:
    """Trains on a part of the training rows; the rest judges. The evaluation rows are never read.

    :param training: the present settings.
    :param validation_share: of the training rows.
    :param seed: of which rows are held out.
    :param tracking_uri: of MLflow; empty for none.
    """

    dataset_uri: str
    model: str
    search: str
    training: TrainingConfig
    validation_share: float
    seed: int
    tracking_uri: str = ""
    experiment: str = ""
    code_revision: str = ""

    def __call__(self, number: int | str, settings: Settings, teller: Teller) -> None:
        """Train.

        :param number: of the trial, or its name.
        :raises HopelessError: when the loss became no number, or memory ran out.
        """
        from include.classifier.tracking import tracked_run

        run = tracked_run(
            self.tracking_uri,
            experiment=self.experiment or f"{self.model} search",
            name=f"{self.model} search {self.search} trial {number}",
            tags={
                "model": self.model,
                "search": self.search,
                "trial": str(number),
                "code_revision": self.code_revision,
            },
        )
        with run as tracker, tempfile.TemporaryDirectory(prefix="trial-") as folder:
            teller.begun(tracker.run_id)
            try:
                self._train(settings, teller, tracker, Path(folder))
            except Exception as error:
                if (kind := type(error).__name__) in _OUT_OF_MEMORY or kind == _DIVERGED:
                    raise HopelessError(first_line(error)) from None
                raise

    def _train(self, settings: Settings, teller: Teller, tracker: Any, folder: Path) -> None:
        from include.classifier.training.fine_tuning import Training, train_on
        from include.classifier.training.rows import RowsInMemory

        dataset = read_dataset(self.dataset_uri)
        rows = read_split(dataset, "train")
        training = Training(
            rows=RowsInMemory(rows.texts, rows.labels, held_out_rows=self.held_out(rows.labels)),
            labels=dataset["labels"],
            # A trial is one process: whoever has several of them may have several trials side by side.
            settings=with_settings(self.training, settings).model_copy(update={"nodes": 1, "processes": 1}),
            model_dir=folder / "model",
            tracker=tracker,
            after_epoch=teller.epoch,
        )
        train_on(training)

    def held_out(self, labels: list[int]) -> np.ndarray:
        """Return which training rows judge, bool, shape ``(n_rows,)``: the same for all trials."""
        from include.classifier.training.rows import held_out

        return held_out(np.asarray(labels, dtype=np.int64), self.seed, share=self.validation_share)

    def truth(self, labels: list[int]) -> np.ndarray:
        """Return the class indices of these rows."""
        return np.asarray(labels, dtype=np.int64)[self.held_out(labels)]


def with_settings(training: TrainingConfig, settings: Settings) -> TrainingConfig:
    """Return the present settings with some of them replaced, checked as a whole."""
    return TrainingConfig.model_validate(training.model_dump() | dict(settings))


def keeps_best(training: TrainingConfig, settings: Settings, *, rows: int) -> bool:
    """Tell whether a training with these settings lets held-out rows choose its epoch.

    :param rows: of the training data.
    """
    return bool(fill_in(with_settings(training, settings), rows=rows).early_stopping_patience)


def present_settings(training: TrainingConfig, names: list[str], *, rows: int) -> Settings:
    """Return the present settings, those that are searched, with numbers where they are left open."""
    filled = fill_in(training, rows=rows)
    return {name: getattr(filled, name) for name in names}  # type: ignore[misc]
