"""A tiny model, as training writes one: random weights, a vocabulary of a dozen words, three labels, 16 tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

WORDS = ["good", "bad", "food", "place", "was", "the", "and", "very", "slow", "quick", "never", "again"]
LABELS = ["bad", "fine", "très bon"]
MAX_LENGTH = 16


def write_tiny_model(folder: Path, *, seed: int = 1) -> Path:
    """Write the model into a folder and return the folder. The same seed gives the same weights."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate(special + WORDS)}
    words = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = DistilBertConfig(
        vocab_size=len(vocabulary),
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=2,
        max_position_embeddings=MAX_LENGTH,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        initializer_range=0.5,  # Far from zero, so that different texts get different answers.
    )
    torch.manual_seed(seed)
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "classifier.json").write_text(json.dumps({"labels": LABELS, "max_length": MAX_LENGTH}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model; not to be changed."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))
