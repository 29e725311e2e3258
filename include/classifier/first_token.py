"""Spares the work in a DistilBERT that no answer depends on.

Its classification head reads the first token of the last layer and no other. So the last layer needs the keys and
values of all tokens, but one query, one output and one feed-forward pass for each text: a sixth of its work. Of a
model with six layers that saves 14 %, of one with two layers 42 %. The logits are the same but for rounding.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def read_first_token_only(model: nn.Module) -> bool:
    """Let the last layer compute the first token alone; weights and their names stay as they are.

    :param model: changed in place where it is a DistilBERT with PyTorch's own attention; any other stays as it is.
    :return: whether it was changed.
    """
    from transformers import DistilBertForSequenceClassification

    # A subclass may read more than the first token.
    if type(model) is not DistilBertForSequenceClassification or model.config._attn_implementation != "sdpa":
        return False
    last = model.distilbert.transformer.layer[-1]
    last.forward = partial(_first_token, last)
    return True


def _first_token(block: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Tensor:
    """Do what the block does, for the first token.

    :param hidden_states: shape ``(batch, tokens, dim)``.
    :param attention_mask: broadcasts to ``(batch, heads, tokens, tokens)``.
    :return: shape ``(batch, 1, dim)``.
    """
    from torch.nn.functional import scaled_dot_product_attention

    attention = block.attention
    first = hidden_states[:, :1]

    def heads(states: Tensor) -> Tensor:
        return states.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)

    context = scaled_dot_product_attention(
        heads(attention.q_lin(first)),
        heads(attention.k_lin(hidden_states)),
        heads(attention.v_lin(hidden_states)),
        attn_mask=None if attention_mask is None else attention_mask[..., :1, :],
        dropout_p=attention.dropout.p if block.training else 0.0,
        scale=attention.scaling,
    )
    attended = block.sa_layer_norm(attention.out_lin(context.transpose(1, 2).flatten(2)) + first)
    return block.output_layer_norm(block.ffn(attended) + attended)
