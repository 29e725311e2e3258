"""A base model is used as it can be served, or refused before it is trained."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.classifier.training.base_model import BaseModel, BaseModelError, load_base_model
from tests.classifier import architectures
from tests.classifier.architectures import LABELS, TEXTS

pytestmark = pytest.mark.computes


def load(folder: Path, *, max_length: int = 24) -> BaseModel:
    return load_base_model(str(folder), revision=None, labels=LABELS, texts=TEXTS, max_length=max_length)


def change(path: Path, **changed: Any) -> None:
    """Set keys of a JSON file; ``None`` takes one out."""
    document = json.loads(path.read_text(encoding="utf-8")) | changed
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder, written = tmp_path_factory.mktemp("originals"), {}

    def original(model_type: str) -> Path:
        if model_type not in written:
            written[model_type] = architectures.write(model_type, folder / model_type)
        return written[model_type]

    return original


@pytest.fixture
def model(originals: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return what copies a tiny model into a folder of the test's own."""
    return lambda model_type: shutil.copytree(originals(model_type), tmp_path / "model")


def test_a_longer_text_than_there_are_positions_for_is_cut_to_what_the_model_reads(model):
    # 32 positions, of which RoBERTa uses 30.
    assert load(model("roberta"), max_length=128).max_length == 30


def test_a_configuration_made_for_other_uses_gives_logits_alone(model):
    folder = model("bert")
    change(folder / "config.json", output_hidden_states=True, output_attentions=True, problem_type="regression")
    config = load(folder).model.config
    assert (config.output_hidden_states, config.output_attentions) == (False, False)
    assert (config.return_dict, config.problem_type) == (True, "single_label_classification")


def test_a_tokenizer_that_pads_on_the_left_does_not_move_absolute_positions(model):
    assert load(model("gpt2")).padding == "right"


def test_a_model_that_reads_the_last_token_is_padded_on_the_left(model):
    assert load(model("xlnet")).padding == "left"


def test_a_model_without_a_mask_is_not_padded(model):
    assert load(model("fnet")).padding == "none"


def test_a_tokenizer_with_neither_padding_nor_end_pads_with_what_it_has(model):
    folder = model("llama")
    change(folder / "tokenizer_config.json", eos_token=None)
    base = load(folder)
    assert base.tokenizer.pad_token_id is not None
    assert base.model.config.pad_token_id == base.tokenizer.pad_token_id


def more_tokens(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["quuxquux"])
    tokenizer.save_pretrained(folder)


def no_unknown(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"the": 0, "food": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


def no_numbers(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = {name: tensor * float("nan") for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def own_code(folder: Path) -> None:
    change(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Model"})


def no_vocabulary(folder: Path) -> None:
    (folder / "spm.model").write_bytes(b"no SentencePiece")


@pytest.mark.parametrize(
    ("model_type", "spoil", "reason"),
    [
        ("bert", more_tokens, r"the model has embeddings for .*resize_token_embeddings"),
        ("bert", no_unknown, "its tokenizer cannot read every text"),
        ("bert", no_numbers, "no number"),
        ("bert", own_code, "code of its own"),
        ("deberta-v2", no_vocabulary, "neither a tokenizer.json nor a SentencePiece file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(model_type, spoil, reason, model):
    folder = model(model_type)
    spoil(folder)
    with pytest.raises(BaseModelError) as refusal:
        load(folder)
    assert re.search(reason, str(refusal.value))
    assert str(folder) in str(refusal.value)


def test_trying_a_model_draws_no_random_numbers(model):
    import torch

    folder = model("bert")
    torch.manual_seed(3)
    first = load(folder).model.state_dict()
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert all(torch.equal(first[name], tensor) for name, tensor in load(folder).model.state_dict().items())
    assert torch.rand(1) == expected
