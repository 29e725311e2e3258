"""Trains a text classifier and writes it as a folder that can be packed."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.classifier.progress import duration, first_line, report
from include.classifier.serving.predictor import CLASSIFIER_FILE
from include.classifier.tracking import Tracker
from include.classifier.training.base_model import BaseModel, load_base_model
from include.classifier.training.checkpoints.store import Checkpoints, TakenOverError
from include.classifier.training.defaults import fill_in
from include.classifier.training.epochs import AfterEpoch
from include.classifier.training.features import write_features
from include.classifier.training.hardware import limit_threads
from include.classifier.training.problems import HardwareError
from include.classifier.training.processes.peers import ALONE, Peers
from include.classifier.training.rows import RowsInMemory, TrainingRows
from include.contracts.settings import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, and what becomes of it.

    :param rows: that it learns from, wherever they are.
    :param labels: names of the classes, in their order.
    :param settings: section ``training`` of a model's YAML.
    :param model_dir: gets weights (safetensors), configuration, tokenizer and ``classifier.json``.
    :param tracker: is told settings and curves.
    :param checkpoints: where the state is kept, and gone on from; ``None`` for nowhere.
    :param compared_texts: what is read of them is written beside the model, for packaging to compare with.
    :param after_epoch: is told of each epoch, where rows are held out and one process trains.
    """

    rows: TrainingRows
    labels: Sequence[str]
    settings: TrainingConfig
    model_dir: Path
    tracker: Tracker
    checkpoints: Checkpoints | None = None
    compared_texts: Sequence[str] = ()
    after_epoch: AfterEpoch | None = None


def train(
    texts: Sequence[str],
    classes: Sequence[int],
    *,
    labels: Sequence[str],
    settings: TrainingConfig,
    model_dir: Path,
    tracker: Tracker,
) -> dict[str, Any]:
    """Train on rows in memory, and keep no state meanwhile; see :func:`train_on`.

    :param texts: as users write them; shape ``(n_rows,)``.
    :param classes: indices into ``labels``, shape ``(n_rows,)``.
    """
    rows = RowsInMemory(texts, classes)
    return train_on(Training(rows=rows, labels=labels, settings=settings, model_dir=model_dir, tracker=tracker))


def train_on(training: Training) -> dict[str, Any]:
    """Train and write the model. The same rows, settings and machine give the same weights.

    :return: the section ``training`` of ``candidate.json``, with what was chosen where a setting was left open.
    :raises BaseModelError: when the base model cannot be had.
    :raises TrainingDivergedError: when the loss is no finite number.
    :raises HardwareError: when a setting asks for what this machine does not have.
    :raises TakenOverError: when another start of this training goes on.
    :raises DataError: when the rows of a data set are no longer those that it says.
    :raises ProcessesError: when one of several processes was killed again and again.
    """
    model_dir, settings = training.model_dir, training.settings
    if training.checkpoints and (facts := training.checkpoints.finished(model_dir)):
        report("train: this model is trained already, by a start before this one, and is taken as it is")
        return facts
    if settings.nodes > 1:
        raise HardwareError(
            "training.nodes: only the training step of a pipeline in a cluster trains over several nodes "
            "(docs/training-over-nodes.md); elsewhere take nodes: 1, and as many processes."
        )
    if settings.processes > 1:
        from include.classifier.training.processes.launch import train_in_processes

        return train_in_processes(training)
    model_dir.mkdir(parents=True, exist_ok=True)
    # Beside the model: a container's /tmp is often small, and the volume of the model has room for one.
    with tempfile.TemporaryDirectory(dir=model_dir.parent, prefix=".checkpoints-") as scratch:
        return fine_tune(training, scratch=Path(scratch))


def fine_tune(training: Training, *, scratch: Path, peers: Peers = ALONE) -> dict[str, Any]:
    """Do the part of one process, which is all of it where there is but one; see :func:`train_on`.

    :param scratch: folder of all processes; the caller removes it.
    :param peers: the first one writes the model.
    """
    started = time.monotonic()
    rows, labels, asked, tracker = training.rows, training.labels, training.settings, training.tracker
    settings = fill_in(asked, rows=len(rows))
    parameters = settings.model_dump()
    report(f"train: loading base model {settings.base_model!r}")
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from include.classifier.training.trainer import fit

    disable_progress_bar()
    # It tells that checkpoints are sorted by number and not by time, which is all the same here.
    logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
    set_seed(settings.seed)
    base = load_base_model(
        settings.base_model,
        revision=settings.base_model_revision or "",
        labels=labels,
        texts=rows.texts(),
        max_length=settings.max_length,
    )
    limit_threads(base.model.num_parameters(), settings.processes)
    learned, validation, weights = rows.prepare(base, settings, len(labels), peers)
    _tell(base, asked, settings, rows=(len(learned), len(validation)), is_weighted=weights is not None)
    tracker.log_params(parameters | {"train_rows": len(learned), "validation_rows": len(validation)})

    fitted = fit(
        base,
        learned,
        validation or None,
        settings=settings,
        class_weights=weights,
        tracker=tracker,
        scratch=scratch,
        checkpoints=training.checkpoints,
        after_epoch=training.after_epoch,
        peers=peers,
    )
    facts = {
        "base_model": settings.base_model,
        "base_model_revision": base.revision,
        "parameters": parameters | {"class_weights": weights, "max_length": base.max_length},
        "seconds": round(time.monotonic() - started, 3),
        "samples_per_second": round(len(learned) * fitted.epochs / fitted.seconds, 2),
        "epochs_run": round(fitted.epochs, 3),
    }
    if peers.is_first:
        _save(base, labels, settings, training.model_dir)
        if training.compared_texts:
            write_features(training.model_dir, base.tokenizer, training.compared_texts, max_length=base.max_length)
        report(
            f"train: {fitted.epochs:.1f} epochs in {duration(fitted.seconds)}, kept the weights of step "
            f"{fitted.kept_step}"
        )
        _keep_model(training, facts, fitted.seconds)
    return facts


def _tell(
    base: BaseModel, asked: TrainingConfig, settings: TrainingConfig, *, rows: tuple[int, int], is_weighted: bool
) -> None:
    """Say what is trained, how, and what was chosen here."""
    if base.max_length < settings.max_length:
        report(f"train: the base model reads {base.max_length} tokens at most, not {settings.max_length}")
    if base.padding == "none":
        report("train: padding moves this model's answers, so it answers only texts of equal length together")
    report(
        f"train: {rows[0]} rows to learn from, {rows[1]} to choose the epoch, "
        f"{'weighted by class' if is_weighted else 'all weighted alike'}, {base.model.num_parameters():,} parameters"
    )
    left_open = [name.replace("_", " ") for name in ("epochs", "learning_rate") if getattr(asked, name) is None]
    told = f"; chosen here: {' and '.join(left_open)}" if left_open else ""
    report(f"train: {settings.epochs:g} epochs at most, learning rate {settings.learning_rate:g}{told}")


def _keep_model(training: Training, facts: dict[str, Any], seconds: float) -> None:
    """Keep what took long to train, so that nothing after it makes anybody train it again."""
    checkpoints = training.checkpoints
    must = training.settings.nodes > 1  # whoever asked for it is on another machine, and gets the model from there
    if checkpoints is None or not (must or checkpoints.is_kept() or seconds >= checkpoints.every_seconds):
        return
    facts["began_at_steps"] = checkpoints.began_at
    try:
        checkpoints.finish(training.model_dir, facts)
    except TakenOverError:
        raise
    except Exception as error:  # each kind of store has its own; the model itself is there
        if must:
            raise
        report(f"train: the trained model could not be kept ({first_line(error)}), which only matters to another try")


def _save(base: BaseModel, labels: Sequence[str], settings: TrainingConfig, model_dir: Path) -> None:
    base.model.save_pretrained(model_dir)
    base.tokenizer.save_pretrained(model_dir)
    facts = {
        "labels": list(labels),
        "max_length": base.max_length,
        "padding": base.padding,
        "base_model": settings.base_model,
        "base_model_revision": base.revision,
    }
    (model_dir / CLASSIFIER_FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
