"""What a trial does: trains with its settings and tells what each epoch reaches on the held-out rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from include.classifier.data.dataset import read_dataset, split_batches
from include.classifier.progress import first_line
from include.classifier.search.trials import HopelessError, Teller
from include.classifier.training.defaults import fill_in
from include.contracts.search.document import Settings
from include.contracts.settings import TrainingConfig

if TYPE_CHECKING:
    from include.classifier.training.rows import HeldOut

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
        from include.classifier.training.stored_rows import training_rows

        dataset, model_dir = read_dataset(self.dataset_uri), folder / "model"
        # A trial is one process: whoever has several of them may have several trials side by side.
        how = with_settings(self.training, settings).model_copy(update={"nodes": 1, "processes": 1})
        with training_rows(dataset, how, beside=model_dir, held_out=self._held_out()) as rows:
            train_on(
                Training(
                    rows=rows,
                    labels=dataset["labels"],
                    settings=how,
                    model_dir=model_dir,
                    tracker=tracker,
                    after_epoch=teller.epoch,
                )
            )

    def truth(self, dataset: Mapping[str, Any]) -> np.ndarray:
        """Return the class indices of the training rows that judge, the same for all trials, in the rows' order.

        :param dataset: ``dataset.json``.
        """
        labels = [batch.column("label").to_numpy() for batch in split_batches(dataset, "train")]
        classes = np.concatenate(labels).astype(np.int64)
        return classes[self._held_out().mask(classes)]

    def _held_out(self) -> HeldOut:
        from include.classifier.training.rows import HeldOut

        return HeldOut(self.seed, self.validation_share)


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
