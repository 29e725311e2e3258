"""The tokenizer made from nothing is the same in every process, and the model begins with what words say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.classifier.training.scratch import make_model, make_tokenizer

TEXTS = ["The noodles were superb", "The waiters were rude", "Superb noodles, rude waiters", "Ünlikely wörds"] * 2

SCRIPT = """
import hashlib, sys
from include.classifier.training.scratch import make_tokenizer
print(hashlib.sha256(make_tokenizer(sys.argv[1:], max_length=16).backend_tokenizer.to_str().encode()).hexdigest())
"""


@pytest.mark.processes
def test_two_processes_make_the_same_tokenizer():
    root = Path(__file__).parents[3]
    digests = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, *TEXTS],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]
    assert digests[0] == digests[1] != ""


def test_texts_are_framed_lower_cased_and_truncated():
    tokenizer = make_tokenizer(TEXTS, max_length=6)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("SUPERB noodles")["input_ids"])
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    assert "".join(token.removeprefix("##") for token in tokens[1:-1]) == "superbnoodles"
    assert len(tokenizer("superb noodles " * 9, truncation=True)["input_ids"]) == 6


def test_words_that_training_did_not_show_are_spelled_or_unknown():
    tokenizer = make_tokenizer(TEXTS, max_length=16)
    assert tokenizer.tokenize("soup")[0].startswith("s")
    assert tokenizer.tokenize("語") == ["[UNK]"]


@pytest.mark.computes
def test_at_the_beginning_every_word_counts_and_their_order_does_not():
    import torch

    torch.manual_seed(1)
    model = make_model(vocabulary_size=50, n_labels=3, max_length=16).eval()
    texts = torch.tensor([[2, 10, 11, 12, 3], [2, 12, 10, 11, 3], [2, 10, 11, 13, 3]])
    with torch.inference_mode():
        hidden = model.distilbert(input_ids=texts).last_hidden_state[:, 0]
    assert torch.allclose(hidden[0], hidden[1], atol=1e-5)
    assert (hidden[0] - hidden[2]).norm() > 0.1 * hidden[0].norm()
