"""Draws dropout's random numbers four at a time.

On a CPU PyTorch draws one number for each element, on one thread: a fifth of the time of a fine-tuning step, most of it
for the probabilities of the attention. Sixty-four random bits are as quickly drawn as one such number, and are enough
for four elements. The numbers come from PyTorch's generator, so that a seed still gives the same model.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from include.classifier.training.first_token import is_known_encoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

#: Under which Transformers knows the attention here.
ATTENTION = "sdpa_with_quick_dropout"

#: What 16 bits can be.
_RANGE = 1 << 16


def draw_quickly(model: PreTrainedModel) -> None:
    """Let a model's dropout draw its numbers four at a time; weights, their names and evaluation stay as they are.

    :param model: changed in place; its attention is changed as well where it is a known encoder.
    """
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    for module in model.modules():
        if type(module) is torch.nn.Dropout:
            module.forward = partial(_dropout, module)
    if is_known_encoder(model):
        AttentionInterface.register(ATTENTION, _attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.set_attn_implementation(ATTENTION)


def kept(shape: torch.Size, share: float, dtype: torch.dtype) -> Tensor:
    """Return what to multiply with: nought where an element is dropped, else what makes up for those.

    :param share: of the elements that are dropped, from 0 to 1; it is rounded to a 65,536th, and down from 1.
    """
    import torch

    elements = shape.numel()
    words = torch.empty(-(-elements // 4), dtype=torch.int64).random_(-(1 << 63), None)
    dropped = min(round(share * _RANGE), _RANGE - 1)
    is_kept = words.view(torch.int16)[:elements].view(shape) >= dropped - _RANGE // 2
    return is_kept.to(dtype).mul_(_RANGE / (_RANGE - dropped))


def _dropout(module: torch.nn.Dropout, states: Tensor) -> Tensor:
    if not module.training or not module.p:
        return states
    return states * kept(states.shape, module.p, states.dtype)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Do what Transformers' ``sdpa`` does for an encoder, in the steps that PyTorch takes where there is dropout.

    :param query: shape ``(batch, heads, tokens, dim)``, as ``key`` and ``value``.
    :param attention_mask: true where a token may look; broadcasts to ``(batch, heads, tokens, tokens)``.
    :return: shape ``(batch, tokens, heads, dim)``.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not dropout:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    scores = torch.matmul(query * (scaling or query.shape[-1] ** -0.5), key.transpose(2, 3))
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    probabilities = torch.softmax(scores, dim=-1)
    probabilities = probabilities * kept(probabilities.shape, dropout, probabilities.dtype)
    return torch.matmul(probabilities, value).transpose(1, 2).contiguous(), None
