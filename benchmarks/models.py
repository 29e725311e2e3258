"""Models to be served: the architecture and the size of a real one, with random weights.

Speed does not depend on what a model has learned. Run it with the pipeline half's Python.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

LABELS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
MAX_LENGTH = 128
_POSITIONS = 512
_VOCABULARY = 30_522


def write_distilbert(
    folder: Path, texts: Sequence[str], *, layers: int = 6, width: int = 768, heads: int = 12, seed: int = 42
) -> Path:
    """Write a DistilBERT as training leaves one, with a tokenizer that has learned its words from texts.

    The same texts and seed give the same files. The default is the size of distilbert-base-uncased.

    :param folder: made when absent.
    :param layers: transformer blocks.
    :param width: of the hidden states; the feed-forward layers have four times as much.
    :return: the folder.
    """
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification
    from transformers.utils.logging import disable_progress_bar

    from include.classifier.training.scratch import make_tokenizer

    tokenizer = make_tokenizer(texts, max_length=MAX_LENGTH, vocabulary_size=_VOCABULARY)
    disable_progress_bar()
    torch.manual_seed(seed)
    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=_VOCABULARY,
            max_position_embeddings=_POSITIONS,
            n_layers=layers,
            dim=width,
            hidden_dim=4 * width,
            n_heads=heads,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
            pad_token_id=0,
        )
    ).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    facts = {"labels": list(LABELS), "max_length": MAX_LENGTH}
    (folder / "classifier.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder
