"""Finds the model that training starts from: on the Hub, in a local directory, or made from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.models import PROJECT_DIR

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCRATCH = "scratch"


class BaseModelError(ValueError):
    """The base model cannot be had or does not fit; the message says why and what to do."""


@dataclass(frozen=True)
class BaseModel:
    """A model with a fresh classification head, and its tokenizer.

    :param revision: commit of a Hub model; ``None`` for every other.
    :param max_length: tokens that the model reads: what was asked for, or its own limit where that is lower.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    revision: str | None
    max_length: int


def load_base_model(
    name: str, *, revision: str | None, labels: Sequence[str], texts: Sequence[str], max_length: int
) -> BaseModel:
    """Load or make the model. PyTorch's seed decides the weights that are new.

    :param name: Hub id, directory (relative ones start at the project's root), or ``scratch``.
    :param revision: commit, branch or tag of a Hub id.
    :param labels: names in the order of the classes.
    :param texts: cleaned training texts, from which ``scratch`` takes its vocabulary.
    :param max_length: in tokens.
    :raises BaseModelError: when it cannot be loaded.
    """
    if name == SCRATCH:
        from include.classifier.training.scratch import make_model, make_tokenizer

        tokenizer: Any = make_tokenizer(texts, max_length=max_length)
        model: Any = make_model(vocabulary_size=len(tokenizer), n_labels=len(labels), max_length=max_length)
    else:
        model, tokenizer = _load(name, revision or None, len(labels))
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: index for index, label in enumerate(labels)}
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or max_length)
    return BaseModel(model, tokenizer, getattr(model.config, "_commit_hash", None), min(max_length, limit))


def _load(name: str, revision: str | None, n_labels: int) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = _source(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        # A head for other labels is replaced; weights are trained in float32 whatever they are stored in.
        model = AutoModelForSequenceClassification.from_pretrained(
            source, revision=revision, num_labels=n_labels, ignore_mismatched_sizes=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        raise BaseModelError(_explain(name, revision, source, error)) from error
    if not tokenizer.is_fast:
        raise BaseModelError(f"Base model {name!r} has no tokenizer.json; choose one that has it.")
    if tokenizer.pad_token_id is None:
        # Models that continue texts have no padding; without it rows of different length make no batch.
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _source(name: str) -> str:
    """Return a directory as an absolute path, and anything else as it is: a Hub id."""
    for path in (Path(name).expanduser(), PROJECT_DIR / name):
        if path.is_dir():
            return str(path.absolute())
    if name.startswith((".", "/", "~")):
        raise BaseModelError(f"Base model {name!r}: there is no such directory.")
    return name


def _explain(name: str, revision: str | None, source: str, error: Exception) -> str:
    reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    if source != name or Path(source).is_dir():
        return (
            f"Base model directory {source} cannot be loaded ({reason}). It needs config.json, weights and tokenizer."
        )
    at = f" at revision {revision!r}" if revision else ""
    return (
        f"Base model {name!r}{at} cannot be loaded from the Hugging Face Hub ({reason}). Check the spelling; a private "
        f"model needs HF_TOKEN; without internet give a local directory, or `{SCRATCH}`."
    )
