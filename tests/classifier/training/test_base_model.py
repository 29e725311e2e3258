"""A base model is used as it can be served, or refused before it is trained."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.classifier.training.base_model import BaseModel, BaseModelError, load_base_model
from include.models import PROJECT_DIR
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


class Opened:
    """Says so when a pickle with it is opened as pickles are."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("opened"),)


def a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Opened()}))


def a_pickle_of_torch(folder: Path) -> None:
    import torch

    (folder / "model.safetensors").unlink()
    torch.save({"weight": Opened()}, folder / "pytorch_model.bin")


def weights_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "weights.safetensors")
    index = {"metadata": {}, "weight_map": {"bert.embeddings.word_embeddings.weight": "../weights.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def no_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[]")


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")


def an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def too_large(folder: Path) -> None:
    change(folder / "config.json", hidden_size=1_000_000, intermediate_size=4_000_000)


def too_deep(folder: Path) -> None:
    change(folder / "config.json", num_hidden_layers=1_000_000)


def nested(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("[" * 500_000)


def a_fifo(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")


def no_vocabulary(folder: Path) -> None:
    (folder / "spm.model").write_bytes(b"no SentencePiece")


@pytest.mark.parametrize(
    ("model_type", "spoil", "reason"),
    [
        ("bert", more_tokens, r"the model has embeddings for .*resize_token_embeddings"),
        ("bert", no_unknown, "its tokenizer cannot read every text"),
        ("bert", no_numbers, "no number"),
        ("bert", own_code, "code of its own"),
        ("bert", a_pickle, "a pickle that holds more than tensors, which is never opened: give them as safetensors"),
        ("bert", a_pickle_of_torch, "a pickle that holds more than tensors"),
        ("bert", weights_elsewhere, "names weights that do not lie beside it"),
        ("bert", no_index, r"index\.json is no object"),
        ("bert", no_safetensors, "no safetensors that can be read"),
        ("bert", an_adapter, "merge it into its base model"),
        ("bert", too_large, "GB of weights, and this machine has .* choose a smaller model"),
        ("bert", too_deep, "asks for 1000000 layers"),
        ("bert", nested("config.json"), r"config\.json is nested deeper than any is"),
        ("bert", nested("tokenizer.json"), "nested deeper than any is"),
        ("bert", a_fifo, r"tokenizer\.json is no plain file"),
        ("deberta-v2", no_vocabulary, "neither a tokenizer.json nor a SentencePiece file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(model_type, spoil, reason, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = model(model_type)
    spoil(folder)
    with pytest.raises(BaseModelError) as refusal:
        load(folder)
    assert re.search(reason, str(refusal.value))
    assert str(folder) in str(refusal.value)
    assert not Path("opened").exists()


def test_trying_a_model_draws_no_random_numbers(model):
    import torch

    folder = model("bert")
    torch.manual_seed(3)
    first = load(folder).model.state_dict()
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert all(torch.equal(first[name], tensor) for name, tensor in load(folder).model.state_dict().items())
    assert torch.rand(1) == expected


def test_nothing_that_is_loaded_may_bring_code():
    """Whoever reads a model says so, at every place: a library's default was to ask."""
    places = []
    for path in sorted(path for folder in ("include", "benchmarks") for path in (PROJECT_DIR / folder).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
            if name not in ("from_pretrained", "from_config") or "rivals" in path.parts:
                continue
            said = {keyword.arg for keyword in call.keywords}
            places.append(path.name)
            assert "trust_remote_code" in said or None in said, f"{path}:{call.lineno}"
    assert len(places) > 8
