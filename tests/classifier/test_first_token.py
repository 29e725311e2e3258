"""A DistilBERT that computes what its head reads answers and learns as the whole one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253  this file is about PyTorch
from transformers import (  # noqa: TID253
    BertConfig,
    BertForSequenceClassification,
    DistilBertForSequenceClassification,
    set_seed,
)

from include.classifier.first_token import read_first_token_only
from include.classifier.scratch import make_model

IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 3, 0, 0], [2, 12, 13, 3, 0]])
MASK = (IDS != 0).long()
LABELS = torch.tensor([0, 1, 2])


def model(**changes: Any) -> DistilBertForSequenceClassification:
    set_seed(1)
    made = make_model(vocabulary_size=20, n_labels=3, max_length=8)
    for name, value in changes.items():
        setattr(made.config, name, value)
    return made.eval()


@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK), None], ids=["padded", "full", "none"])
def test_answers_and_gradients_are_the_same(mask: torch.Tensor | None) -> None:
    whole, spared = model(), model()
    assert read_first_token_only(spared)
    answers = [each(input_ids=IDS, attention_mask=mask, labels=LABELS) for each in (whole, spared)]
    torch.testing.assert_close(answers[0].logits, answers[1].logits)
    for answer in answers:
        answer.loss.backward()
    gradients = dict(spared.named_parameters())
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, msg=name)


def test_the_last_layer_computes_one_token() -> None:
    spared = model()
    read_first_token_only(spared)
    seen: list[torch.Size] = []
    spared.distilbert.transformer.layer[-1].ffn.register_forward_hook(lambda *args: seen.append(args[-1].shape))
    spared(input_ids=IDS, attention_mask=MASK)
    assert seen == [(3, 1, 128)]


def test_dropout_is_the_layers_own() -> None:
    spared = model()
    read_first_token_only(spared)
    spared.train()
    first, second = (spared(input_ids=IDS, attention_mask=MASK).logits for _ in range(2))
    assert not torch.equal(first, second)


def test_weights_are_stored_under_their_names(tmp_path: Path) -> None:
    whole, spared = model(), model()
    read_first_token_only(spared)
    for name, each in (("whole", whole), ("spared", spared)):
        each.save_pretrained(tmp_path / name)
    written = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "spared")]
    assert written[0] == written[1]


def test_any_other_model_stays_as_it_is() -> None:
    config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    assert not read_first_token_only(BertForSequenceClassification(config))
    assert not read_first_token_only(model(_attn_implementation="eager"))
