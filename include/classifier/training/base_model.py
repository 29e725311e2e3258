"""Finds the model that training starts from: on the Hub, in a local directory, or made from nothing."""

from __future__ import annotations

import pickle  # only for the name of its error
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.classifier.progress import first_line
from include.classifier.serving.torch_engine import Padding
from include.classifier.training.model_files import ADAPTER, ModelFilesError, check_folder, check_size
from include.classifier.training.rehearsal import UnfitError, rehearse
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
    :param padding: side on which padding moves no answer; ``none``: there is no such side.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    revision: str | None
    max_length: int
    padding: Padding = "right"


def load_base_model(
    name: str, *, revision: str | None, labels: Sequence[str], texts: Sequence[str], max_length: int
) -> BaseModel:
    """Load or make the model. PyTorch's seed decides the weights that are new.

    :param name: Hub id, directory (relative ones start at the project's root), or ``scratch``.
    :param revision: commit, branch or tag of a Hub id.
    :param labels: names in the order of the classes.
    :param texts: cleaned training texts, from which ``scratch`` takes its vocabulary.
    :param max_length: in tokens.
    :raises BaseModelError: when it cannot be loaded, trained or served.
    """
    if name == SCRATCH:
        from include.classifier.training.scratch import make_model, make_tokenizer

        tokenizer: Any = make_tokenizer(texts, max_length=max_length)
        model: Any = make_model(vocabulary_size=len(tokenizer), n_labels=len(labels), max_length=max_length)
        _name_labels(model.config, labels)
        return BaseModel(model, tokenizer, None, max_length)
    model, tokenizer = _load(name, revision or None, len(labels))
    _name_labels(model.config, labels)
    positions = getattr(model.config, "max_position_embeddings", None)
    limits = [limit for limit in (max_length, tokenizer.model_max_length, positions) if limit and limit > 0]
    try:
        found = rehearse(model, tokenizer, texts=texts, n_labels=len(labels), max_length=min(limits))
    except UnfitError as error:
        raise BaseModelError(f"Base model {name!r} cannot be used: {error}.") from error
    return BaseModel(model, tokenizer, getattr(model.config, "_commit_hash", None), found.max_length, found.padding)


def _load(name: str, revision: str | None, n_labels: int) -> tuple[Any, Any]:
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.peft_utils import find_adapter_config_file

    source = _source(name)
    options = {"revision": revision, "trust_remote_code": False}
    try:
        if Path(source).is_dir():
            check_folder(Path(source))
        elif find_adapter_config_file(source, revision=revision):
            raise ModelFilesError(f"{ADAPTER} says that it is an adapter: merge it into its base model, and name that")
        check_size(AutoConfig.from_pretrained(source, num_labels=n_labels, **options))
        # A head for other labels is replaced; weights are trained in float32 whatever they are stored in.
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=n_labels, ignore_mismatched_sizes=True, dtype=torch.float32, weights_only=True, **options
        )
        # The heads of encoders with a decoder look for the one end of a text. An end that somebody wrote into the text
        # has to be a word like others.
        special = {"split_special_tokens": True} if model.config.is_encoder_decoder else {}
        tokenizer = AutoTokenizer.from_pretrained(source, **options, **special)
    except Exception as error:  # Each library behind it fails in its own way.
        raise BaseModelError(_explain(name, revision, source, error)) from error
    if not tokenizer.is_fast:
        raise BaseModelError(
            f"Base model {name!r} has no tokenizer.json, and {type(tokenizer).__name__} cannot be turned into one; "
            "choose a model that has it."
        )
    kind = type(model).__name__
    if not (kind.endswith("ForSequenceClassification") and hasattr(transformers, kind)):
        raise BaseModelError(f"Base model {name!r} is no sequence classifier of Transformers, but {kind}.")
    _agree_on_padding(model.config.get_text_config(), tokenizer)
    if model.config.is_encoder_decoder and getattr(model.config, "decoder_start_token_id", None) is None:
        model.config.decoder_start_token_id = tokenizer.pad_token_id  # As T5's is.
    _want_logits_only(model.config)
    return model, tokenizer


def _name_labels(config: Any, labels: Sequence[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}


def _agree_on_padding(config: Any, tokenizer: Any) -> None:
    """Let model and tokenizer pad with the same token; models that continue texts often have none.

    Where both name one, the model's counts: positions, and where a text ends, may go by it.
    """
    known = getattr(config, "pad_token_id", None)
    if isinstance(known, int) and known >= 0 and (token := tokenizer.convert_ids_to_tokens(known)) is not None:
        tokenizer.pad_token = token
    elif tokenizer.pad_token_id is None:
        named = [tokenizer.eos_token, tokenizer.unk_token, tokenizer.sep_token, tokenizer.cls_token]
        tokenizer.pad_token = next((each for each in named if each is not None), tokenizer.convert_ids_to_tokens(0))
    config.pad_token_id = tokenizer.pad_token_id


def _want_logits_only(config: Any) -> None:
    """Undo what a configuration was told for other uses: more outputs than logits, and another kind of loss."""
    config.return_dict = True
    config.output_hidden_states = config.output_attentions = False
    config.use_cache = False
    config.problem_type = "single_label_classification"


def _source(name: str) -> str:
    """Return a directory as an absolute path, and anything else as it is: a Hub id."""
    for path in (Path(name).expanduser(), PROJECT_DIR / name):
        if path.is_dir():
            return str(path.absolute())
    if name.startswith((".", "/", "~")):
        raise BaseModelError(f"Base model {name!r}: there is no such directory.")
    return name


def _explain(name: str, revision: str | None, source: str, error: Exception) -> str:
    reason = _reason(error)
    if source != name or Path(source).is_dir():
        return (
            f"Base model directory {source} cannot be loaded ({reason}). It needs config.json, weights and tokenizer."
        )
    at = f" at revision {revision!r}" if revision else ""
    return (
        f"Base model {name!r}{at} cannot be loaded from the Hugging Face Hub ({reason}). Check the spelling; a private "
        f"model needs HF_TOKEN; without internet give a local directory, or `{SCRATCH}`."
    )


def _reason(error: Exception) -> str:
    """Return what a person can do something with; the libraries' own remedies are for other programs."""
    said = str(error)
    if isinstance(error, ModelFilesError):
        return said
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in said:
        return "its weights are a pickle that holds more than tensors, which is never opened: give them as safetensors"
    if type(error).__name__ == "SafetensorError":
        return f"its weights are no safetensors that can be read ({first_line(error)}): copy them again"
    if isinstance(error, RecursionError):
        return "one of its files is nested deeper than any is: copy it again"
    if "trust_remote_code" in said:
        return "it brings code of its own, which is never run here: choose an architecture that Transformers has"
    if "tiktoken" in said:
        return "there is neither a tokenizer.json nor a SentencePiece file that can be read"
    return first_line(error)
