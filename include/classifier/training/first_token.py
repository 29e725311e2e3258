"""Spares the work in a BERT that no answer depends on.

Its classification head reads the first token of the last layer and no other. So the last layer needs the keys and
values of all tokens, but one query, one output and one feed-forward pass for each text: a sixth of its work. Of a
model with six layers that saves 14 %, of one with two layers 42 %. The logits are the same but for rounding.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_known_encoder(model: nn.Module) -> bool:
    """Tell whether a model is a DistilBERT, BERT, RoBERTa or XLM-RoBERTa with PyTorch's own attention (``sdpa``).

    Every token of these may look at every other, and the head reads the first one.
    """
    import transformers

    kind = type(model).__name__
    # Exactly these classes: a subclass may read more than the first token.
    if kind not in _LAST_LAYERS or type(model) is not getattr(transformers, kind):
        return False
    return model.config._attn_implementation == "sdpa" and not getattr(model.config, "is_decoder", False)


def read_first_token_only(model: nn.Module) -> bool:
    """Let the last layer compute the first token alone; weights and their names stay as they are.

    :param model: changed in place where it is a known encoder; any other stays as it is.
    :return: whether it was changed.
    """
    if not is_known_encoder(model):
        return False
    layers, forward = _LAST_LAYERS[type(model).__name__]
    last = attrgetter(layers)(model.base_model)[-1]
    last.forward = partial(forward, last)
    return True


def _distilbert_layer(block: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Tensor:
    """Do what DistilBERT's block does, for the first token.

    :param hidden_states: shape ``(batch, tokens, dim)``.
    :param attention_mask: broadcasts to ``(batch, heads, tokens, tokens)``.
    :return: shape ``(batch, 1, dim)``.
    """
    attention, first = block.attention, hidden_states[:, :1]
    context = _attend(
        attention,
        attention.q_lin(first),
        attention.k_lin(hidden_states),
        attention.v_lin(hidden_states),
        attention_mask,
    )
    attended = block.sa_layer_norm(attention.out_lin(context) + first)
    return block.output_layer_norm(block.ffn(attended) + attended)


def _bert_layer(block: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """Do what the block of BERT and its next of kin does; see :func:`_distilbert_layer`."""
    attention, first = block.attention.self, hidden_states[:, :1]
    context = _attend(
        attention,
        attention.query(first),
        attention.key(hidden_states),
        attention.value(hidden_states),
        attention_mask,
    )
    return block.feed_forward_chunk(block.attention.output(context, first))


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return what the first token makes of all, shape ``(batch, 1, dim)``; ``query`` has that shape as well."""
    from torch.nn.functional import scaled_dot_product_attention

    def heads(states: Tensor) -> Tensor:
        return states.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)

    context = scaled_dot_product_attention(
        heads(query),
        heads(key),
        heads(value),
        attn_mask=None if mask is None else mask[..., :1, :],
        dropout_p=attention.dropout.p if attention.training else 0.0,
        scale=attention.scaling,
    )
    return context.transpose(1, 2).flatten(2)


#: Class -> where its body keeps its layers, and what the last of them does.
_LAST_LAYERS = {
    "DistilBertForSequenceClassification": ("transformer.layer", _distilbert_layer),
    "BertForSequenceClassification": ("encoder.layer", _bert_layer),
    "RobertaForSequenceClassification": ("encoder.layer", _bert_layer),
    "XLMRobertaForSequenceClassification": ("encoder.layer", _bert_layer),
}
