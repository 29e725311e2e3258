"""Transformers' Trainer as its own example for text classification uses it, on a GPU where there is one.

Texts are tokenised in batches and padded to the longest of their batch, batches are drawn at random, the passes are
computed in bf16 where the GPU has it, else in fp16. Epochs, batch size, learning rate and seed are given, so that both
sides train alike.

``python -m benchmarks.rivals.hugging_face_trainer REQUEST`` prints a line of JSON with ``samples_per_second``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAX_LENGTH = 128


def train(request: dict[str, Any]) -> float:
    """Train, save model and tokenizer, and return how many samples a second were learned from.

    :param request: as that of :func:`benchmarks.rivals.seed_training.train`.
    """
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    settings = request["settings"]
    rows = Dataset.from_csv(request["rows"], cache_dir=tempfile.mkdtemp(dir=Path(request["model_dir"]).parent))
    tokenizer = AutoTokenizer.from_pretrained(settings["base_model"])
    encoded = rows.map(
        lambda batch: tokenizer(batch["text"], max_length=MAX_LENGTH, truncation=True),
        batched=True,
        remove_columns=["text"],
    )
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
                disable_tqdm=True,
                save_strategy="no",
                report_to="none",
                **_precision(),
            ),
            train_dataset=encoded,
            processing_class=tokenizer,
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        trainer.save_model(request["model_dir"])
    tokenizer.save_pretrained(request["model_dir"])
    return len(encoded) * settings["epochs"] / seconds


def _precision() -> dict[str, bool]:
    import torch

    if not torch.cuda.is_available():
        return {}
    return {"bf16": True} if torch.cuda.is_bf16_supported(including_emulation=False) else {"fp16": True}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps({"samples_per_second": train(given)}))
