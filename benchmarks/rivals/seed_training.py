"""A training loop of the kind that tutorials show: Transformers' Trainer with every text padded to 128 tokens.

It does what the training step of a published walk-through of Kubeflow and KServe does: texts are tokenised one by one
and padded to the full length, losses are printed every other step, nothing is evaluated or saved on the way. Epochs,
batch size, learning rate and seed are given, so that both sides train alike, and all rows are used instead of the
first 32.

``python -m benchmarks.rivals.seed_training REQUEST`` prints a line of JSON with ``samples_per_second``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAX_LENGTH = 128
_LOGGING_STEPS = 2


def train(request: dict[str, Any]) -> float:
    """Train, save model and tokenizer, and return how many samples a second were learned from.

    :param request: ``rows`` (CSV with ``text`` and ``label``), ``model_dir``, ``labels`` and ``settings``:
        ``base_model`` (folder), ``epochs``, ``batch_size``, ``learning_rate`` and ``seed``.
    """
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    settings = request["settings"]
    rows = Dataset.from_csv(request["rows"], cache_dir=tempfile.mkdtemp(dir=Path(request["model_dir"]).parent))
    tokenizer = AutoTokenizer.from_pretrained(settings["base_model"])
    encoded = rows.map(lambda row: tokenizer(row["text"], padding="max_length", max_length=MAX_LENGTH, truncation=True))
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["base_model"], num_labels=len(request["labels"])
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=settings["batch_size"],
                num_train_epochs=settings["epochs"],
                learning_rate=settings["learning_rate"],
                seed=settings["seed"],
                logging_steps=_LOGGING_STEPS,
                disable_tqdm=True,
                save_strategy="no",
            ),
            train_dataset=encoded,
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        trainer.save_model(request["model_dir"])
    tokenizer.save_pretrained(request["model_dir"])
    return len(encoded) * settings["epochs"] / seconds


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps({"samples_per_second": train(given)}))
