"""Dropout with quick numbers drops as many, makes up for as much, and leaves everything else as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253  this file is about PyTorch
from transformers import PreTrainedModel  # noqa: TID253

from include.classifier.training import dropout
from include.classifier.training.dropout import draw_quickly, kept
from tests.classifier.training.test_first_token import IDS, LABELS, MASK, every_kind, model

SHARE = 0.1


def quick(kind: str = "distilbert") -> PreTrainedModel:
    made = model(kind)
    draw_quickly(made)
    return made


def test_the_share_is_dropped_and_made_up_for() -> None:
    torch.manual_seed(1)
    found = kept(torch.Size((1000, 999)), SHARE, torch.float32)

    assert found.shape == (1000, 999)
    assert found.unique().tolist() == [0, pytest.approx(1 / (1 - SHARE), rel=1e-4)]
    # Five standard deviations of so many draws, in all and in any fourth: each word's sixteen bits are as good.
    for each in (found.flatten(), *(found.flatten()[start::4] for start in range(4))):
        assert (each == 0).float().mean().item() == pytest.approx(SHARE, abs=5 * (0.09 / len(each)) ** 0.5)
    assert found.mean().item() == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999, 1.0])
def test_any_share_can_be_dropped(share: float) -> None:
    found = kept(torch.Size((400, 401)), share, torch.float32)

    assert (found == 0).float().mean().item() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seed_gives_the_same_numbers_and_the_next_draw_others(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    one, two = (kept(torch.Size((3, 5, 7)), SHARE, dtype) for _ in range(2))
    torch.manual_seed(1)

    assert torch.equal(kept(torch.Size((3, 5, 7)), SHARE, dtype), one)
    assert not torch.equal(one, two)
    assert one.dtype == dtype


@every_kind
@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK), None], ids=["padded", "full", "none"])
def test_evaluation_is_the_models_own(kind: str, mask: torch.Tensor | None) -> None:
    answers = [each(input_ids=IDS, attention_mask=mask).logits for each in (model(kind), quick(kind))]

    assert torch.equal(*answers)


@every_kind
@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK), None], ids=["padded", "full", "none"])
def test_training_is_the_models_own_where_chance_drops_nothing(
    kind: str, mask: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[torch.Size] = []

    def drop_nothing(shape: torch.Size, share: float, dtype: torch.dtype) -> torch.Tensor:
        drawn.append(shape)
        return torch.ones(shape, dtype=dtype)

    monkeypatch.setattr(dropout, "kept", drop_nothing)
    whole, changed = model(kind), quick(kind).train()
    answers = [each(input_ids=IDS, attention_mask=mask, labels=LABELS) for each in (whole, changed)]

    torch.testing.assert_close(answers[0].logits, answers[1].logits)
    for answer in answers:
        answer.loss.backward()
    gradients = dict(changed.named_parameters())
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, msg=name)
    assert drawn.count(torch.Size((3, 2, 5, 5))) == 2, "the attention of both layers"
    assert torch.Size((3, 5, 16)) in drawn, "the states between them"


@every_kind
def test_training_drops(kind: str) -> None:
    changed = quick(kind).train()
    first, second = (changed(input_ids=IDS, attention_mask=MASK).logits for _ in range(2))

    assert not torch.equal(first, second)


def test_what_is_stored_does_not_show_it(tmp_path: Path) -> None:
    for name, each in (("own", model()), ("quick", quick())):
        each.save_pretrained(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "own" / file).read_bytes() == (tmp_path / "quick" / file).read_bytes()


@pytest.mark.parametrize(
    ("kind", "changes"), [("bert", {"is_decoder": True}), ("bert", {"_attn_implementation": "eager"})]
)
def test_an_attention_that_is_not_known_stays_as_it_is(kind: str, changes: dict[str, Any]) -> None:
    other = model(kind, **changes)
    before = other.config._attn_implementation
    draw_quickly(other)

    assert other.config._attn_implementation == before
    assert not torch.equal(*(other.train()(input_ids=IDS, attention_mask=MASK).logits for _ in range(2)))
