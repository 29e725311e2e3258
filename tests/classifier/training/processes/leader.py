"""A step that trains: ``python -m tests.classifier.training.processes.leader SETTINGS MODEL_DIR STORE FACTS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from include.classifier.tracking import Tracker
from include.classifier.training.checkpoints.store import Checkpoints
from include.classifier.training.fine_tuning import Training, train_on
from include.classifier.training.rows import RowsInMemory
from include.contracts.settings import TrainingConfig
from tests.classifier.training.small_trainings import CLASSES, LABELS, TEXTS


def main(settings: str, model_dir: str, store: str, facts: str) -> None:
    """Train once, or go on."""
    how = TrainingConfig.model_validate_json(settings)
    every = how.checkpoint_minutes * 60
    training = Training(
        rows=RowsInMemory(TEXTS, CLASSES),
        labels=LABELS,
        settings=how,
        model_dir=Path(model_dir),
        tracker=Tracker(),
        checkpoints=Checkpoints(store, {"of": "these tests"}, every_seconds=every),
    )
    Path(facts).write_text(json.dumps(train_on(training)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
