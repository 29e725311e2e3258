"""Trains a text classifier and writes it as a folder that can be packed."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from include.classifier.progress import duration, report
from include.classifier.serving.predictor import CLASSIFIER_FILE
from include.classifier.serving.text import clean, tokenise
from include.classifier.tracking import Tracker
from include.classifier.training.base_model import BaseModel, load_base_model
from include.classifier.training.defaults import fill_in
from include.classifier.training.hardware import limit_threads
from include.contracts.settings import TrainingConfig

#: Share of the training rows that choose the epoch, and the most rows that are spent on it.
VALIDATION_SHARE = 0.1
MAX_VALIDATION_ROWS = 10_000

#: Rows are weighted by class when the largest class has more than this many times the rows of the smallest.
IMBALANCE = 1.5


def train(
    texts: Sequence[str],
    classes: Sequence[int],
    *,
    labels: Sequence[str],
    settings: TrainingConfig,
    model_dir: Path,
    tracker: Tracker,
) -> dict[str, Any]:
    """Train on the rows and write the model. The same rows, settings and machine give the same weights.

    :param texts: as users write them; shape ``(n_rows,)``.
    :param classes: indices into ``labels``, shape ``(n_rows,)``.
    :param model_dir: gets weights (safetensors), configuration, tokenizer and ``classifier.json``.
    :return: the section ``training`` of ``candidate.json``, with what was chosen where a setting was left open.
    :raises BaseModelError: when the base model cannot be had.
    :raises TrainingDivergedError: when the loss is no finite number.
    """
    started = time.monotonic()
    asked, settings = settings, fill_in(settings, rows=len(texts))
    parameters = settings.model_dump()
    report(f"train: loading base model {settings.base_model!r}")
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from include.classifier.training.trainer import fit

    disable_progress_bar()
    # It tells that checkpoints are sorted by number and not by time, which is all the same here.
    logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
    set_seed(settings.seed)
    classes = np.asarray(classes, dtype=np.int64)
    cleaned = [clean(text) for text in texts]
    base = load_base_model(
        settings.base_model,
        revision=settings.base_model_revision or "",
        labels=labels,
        texts=cleaned,
        max_length=settings.max_length,
    )
    if base.max_length < settings.max_length:
        report(f"train: the base model reads {base.max_length} tokens at most, not {settings.max_length}")
    if base.padding == "none":
        report("train: padding moves this model's answers, so it answers only texts of equal length together")
    limit_threads(base.model.num_parameters())
    rows = _encode(base, cleaned, classes)
    chosen = held_out(classes, settings.seed) if settings.early_stopping_patience else np.zeros(len(rows), dtype=bool)
    training = [row for row, out in zip(rows, chosen, strict=True) if not out]
    validation = [row for row, out in zip(rows, chosen, strict=True) if out]
    weights = class_weights(classes[~chosen], len(labels))
    report(
        f"train: {len(training)} rows to learn from, {len(validation)} to choose the epoch, "
        f"{'weighted by class' if weights else 'all weighted alike'}, {base.model.num_parameters():,} parameters"
    )
    report(
        f"train: {settings.epochs:g} epochs at most, learning rate {settings.learning_rate:g}"
        f"{'' if settings == asked else ', chosen for this base model and number of rows'}"
    )
    tracker.log_params(parameters | {"train_rows": len(training), "validation_rows": len(validation)})

    began = time.monotonic()
    model_dir.mkdir(parents=True, exist_ok=True)
    # Beside the model: a container's /tmp is often small, and the volume of the model has room for one.
    with tempfile.TemporaryDirectory(dir=model_dir.parent, prefix=".checkpoints-") as checkpoints:
        epochs_run, kept_step = fit(
            base,
            training,
            validation or None,
            settings=settings,
            class_weights=weights,
            tracker=tracker,
            checkpoints=Path(checkpoints),
        )
    fit_seconds = time.monotonic() - began
    _save(base, labels, settings, model_dir)
    report(f"train: {epochs_run:.1f} epochs in {duration(fit_seconds)}, kept the weights of step {kept_step}")
    return {
        "base_model": settings.base_model,
        "base_model_revision": base.revision,
        "parameters": parameters | {"class_weights": weights, "max_length": base.max_length},
        "seconds": round(time.monotonic() - started, 3),
        "samples_per_second": round(len(training) * epochs_run / fit_seconds, 2),
        "epochs_run": round(epochs_run, 3),
    }


def held_out(classes: np.ndarray, seed: int) -> np.ndarray:
    """Choose the rows that choose the epoch: a tenth of each class, at least one and never a class's only row.

    They come out of the training data. The evaluation rows take no part in any choice, so their scores stay honest.

    :param classes: shape ``(n_rows,)``.
    :return: mask of shape ``(n_rows,)``.
    """
    share = min(VALIDATION_SHARE, MAX_VALIDATION_ROWS / len(classes))
    random = np.random.default_rng(seed)
    mask = np.zeros(len(classes), dtype=bool)
    for value in np.unique(classes):
        rows = np.flatnonzero(classes == value)
        if len(rows) > 1:
            mask[random.choice(rows, size=max(1, int(len(rows) * share)), replace=False)] = True
    return mask


def class_weights(classes: np.ndarray, n_classes: int) -> list[float] | None:
    """Return how much a row of each class counts, or ``None`` when the classes are about even.

    The rule: when the largest class has more than 1.5 times the rows of the smallest, a row of class *c* counts
    ``n_rows / (n_classes * rows_of_c)``, so that all classes count alike in sum.

    :param classes: shape ``(n_rows,)``.
    """
    counts = np.bincount(classes, minlength=n_classes)
    if counts.max() <= IMBALANCE * counts.min():
        return None
    return [round(float(weight), 6) for weight in len(classes) / (n_classes * np.maximum(counts, 1))]


def _encode(base: BaseModel, texts: Sequence[str], classes: np.ndarray) -> list[dict[str, Any]]:
    tokens = tokenise(base.tokenizer, texts, base.max_length)
    if truncated := sum(tokens.truncated):
        report(f"train: {truncated} of {len(texts)} texts have more than {base.max_length} tokens and are truncated")
    return [{"input_ids": ids, "labels": int(label)} for ids, label in zip(tokens.input_ids, classes, strict=True)]


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
