"""A BERT that computes what its head reads answers and learns as the whole one does."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253  this file is about PyTorch
from transformers import (  # noqa: TID253
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
    set_seed,
)

from include.classifier.training.first_token import read_first_token_only

IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 3, 0, 0], [2, 12, 13, 3, 0]])
MASK = (IDS != 0).long()
LABELS = torch.tensor([0, 1, 2])
WIDTH = 16
_BERT = {
    "vocab_size": 20,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "num_labels": 3,
}
CONFIGS = {
    "distilbert": DistilBertConfig(
        vocab_size=20, dim=WIDTH, hidden_dim=2 * WIDTH, n_layers=2, n_heads=2, max_position_embeddings=16, num_labels=3
    ),
    "bert": BertConfig(**_BERT),
    "roberta": RobertaConfig(**_BERT, pad_token_id=0),
    "xlm-roberta": XLMRobertaConfig(**_BERT, pad_token_id=0),
}
every_kind = pytest.mark.parametrize("kind", CONFIGS)


def model(kind: str = "distilbert", **changes: Any) -> PreTrainedModel:
    set_seed(1)
    made = AutoModelForSequenceClassification.from_config(deepcopy(CONFIGS[kind]))
    for name, value in changes.items():
        setattr(made.config, name, value)
    return made.eval()


@every_kind
@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK), None], ids=["padded", "full", "none"])
def test_answers_and_gradients_are_the_same(kind: str, mask: torch.Tensor | None) -> None:
    whole, spared = model(kind), model(kind)
    assert read_first_token_only(spared)
    answers = [each(input_ids=IDS, attention_mask=mask, labels=LABELS) for each in (whole, spared)]
    torch.testing.assert_close(answers[0].logits, answers[1].logits)
    for answer in answers:
        answer.loss.backward()
    gradients = dict(spared.named_parameters())
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, msg=name)


@every_kind
def test_the_last_layer_computes_one_token(kind: str) -> None:
    spared = model(kind)
    read_first_token_only(spared)
    body = spared.base_model
    last = (body.transformer if kind == "distilbert" else body.encoder).layer[-1]
    seen: list[torch.Size] = []
    feed_forward = last.ffn if kind == "distilbert" else last.output
    feed_forward.register_forward_hook(lambda *args: seen.append(args[-1].shape))
    spared(input_ids=IDS, attention_mask=MASK)
    assert seen == [(3, 1, WIDTH)]


@every_kind
def test_dropout_is_the_layers_own(kind: str) -> None:
    spared = model(kind)
    read_first_token_only(spared)
    spared.train()
    first, second = (spared(input_ids=IDS, attention_mask=MASK).logits for _ in range(2))
    assert not torch.equal(first, second)


@every_kind
def test_weights_are_stored_under_their_names(kind: str, tmp_path: Path) -> None:
    whole, spared = model(kind), model(kind)
    read_first_token_only(spared)
    for name, each in (("whole", whole), ("spared", spared)):
        each.save_pretrained(tmp_path / name)
    written = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "spared")]
    assert written[0] == written[1]


def test_any_other_model_stays_as_it_is() -> None:
    electra = AutoModelForSequenceClassification.from_config(ElectraConfig(**_BERT, embedding_size=WIDTH))
    assert not read_first_token_only(electra)
    assert not read_first_token_only(model(_attn_implementation="eager"))
    assert not read_first_token_only(model("bert", is_decoder=True))
