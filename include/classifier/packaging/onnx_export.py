"""Turns a trained model into one for ONNX Runtime, with weights in 32-bit floating point or in 8-bit integers."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.classifier.progress import first_line
from include.classifier.serving.onnx_engine import MODEL_FILE
from include.classifier.serving.predictor import CLASSIFIER_FILE, read_json
from include.classifier.serving.text import tokenise
from include.classifier.serving.tokenizer_file import load_in_transformers, write_tokenizer
from include.classifier.training.first_token import read_first_token_only

if TYPE_CHECKING:
    import onnx
    from torch import Tensor
    from torch.nn import Module

#: Protocol Buffers cannot hold more in one file; a model near it stays what it is.
LARGEST_MODEL_BYTES = 1_900_000_000

#: Between PyTorch and ONNX Runtime in 32-bit floats; rounding is far below it.
LARGEST_DIFFERENCE = 1e-3

#: Tokens of the longest text that both are asked for: attention to many more takes gigabytes.
_LONGEST_TRIED = 1024


class ExportError(RuntimeError):
    """The model cannot be turned into one for ONNX Runtime; the message says why."""


def export(model_dir: Path) -> onnx.ModelProto:
    """Return the model with weights in 32-bit floating point, as :data:`MODEL_FILE` describes it.

    :param model_dir: what training wrote.
    :raises ExportError: when the model does something that ONNX has no words for, is too large, or answers otherwise.
    """
    import torch
    import transformers

    size = sum(path.stat().st_size for path in model_dir.glob("*.safetensors"))
    if size > LARGEST_MODEL_BYTES:
        raise ExportError(f"its weights have {size / 1e9:.1f} GB, an ONNX file holds {LARGEST_MODEL_BYTES / 1e9:g}")

    class Logits(torch.nn.Module):
        """The model from token ids to logits; a single row needs no mask."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids).logits

    architecture = read_json(model_dir / "config.json")["architectures"][0]
    model = getattr(transformers, architecture).from_pretrained(
        model_dir, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    read_first_token_only(model)
    logits = Logits(model.eval())
    max_length = int(read_json(model_dir / CLASSIFIER_FILE)["max_length"])
    shortest, example, longest = _rows(model_dir, max_length)
    tokens = torch.export.Dim("tokens", min=2, max=max_length)
    try:
        with _quietly():
            program = torch.onnx.export(
                logits,
                (example,),
                input_names=["input_ids"],
                output_names=["logits"],
                dynamic_shapes={"input_ids": {1: tokens}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # Each architecture fails in its own way.
        raise ExportError(reason(error)) from error
    if program is None:
        raise ExportError("torch.onnx.export made nothing")
    document: onnx.ModelProto = program.model_proto
    # The exporter's notes on shapes that depend on the length confuse the quantizer, which infers its own.
    del document.graph.value_info[:]
    _check(document, logits, [shortest, example, longest])
    return document


def _rows(model_dir: Path, max_length: int) -> list[Tensor]:
    """Return token ids of a word, of a few, and of as many as fit, each of shape ``(1, tokens)``."""
    import torch

    tokenizer = load_in_transformers(model_dir)
    texts = [" ".join(["a"] * words) for words in (1, 8, min(max_length, _LONGEST_TRIED))]
    return [torch.tensor([row]) for row in tokenise(tokenizer, texts, max_length).input_ids]


def _check(document: onnx.ModelProto, logits: Module, rows: Sequence[Tensor]) -> None:
    """Find out whether ONNX Runtime gives the same figures, whatever the length: exporters take some for fixed.

    :raises ExportError: when it does not.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # What fails is said here.
    try:
        session = onnxruntime.InferenceSession(
            document.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = [torch.from_numpy(session.run(None, {"input_ids": row.numpy()})[0]) for row in rows]
    except Exception as error:  # ONNX Runtime's errors have no class in common.
        raise ExportError(f"ONNX Runtime cannot run it: {reason(error)}") from error
    with torch.inference_mode():
        for row, theirs in zip(rows, found, strict=True):
            difference = (torch.softmax(logits(row), -1) - torch.softmax(theirs, -1)).abs().max().item()
            if not difference <= LARGEST_DIFFERENCE:  # Written so that NaN fails.
                raise ExportError(f"probabilities of a text of {row.shape[1]} tokens differ by {difference:.2g}")


def reason(error: BaseException) -> str:
    """Return the first line of what is behind an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def quantize(model: onnx.ModelProto, target: Path) -> None:
    """Write the model with weights in 8-bit integers, each output channel with a scale of its own.

    Activations are scaled at run time ("dynamic quantization"). Weights keep to seven bits: without VNNI, products of
    eight bits are added up in 16 bits and can overflow, so that other CPUs would give other answers
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quietly():
        quantize_dynamic(
            model,
            target,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # ONNX Runtime has scales for a matrix's channels, not for those of a matrix for each head (in DeBERTa).
            nodes_to_exclude=_products_of_heads(model.graph),
            extra_options={"MatMulConstBOnly": True},  # Of the products of activations nothing is known beforehand.
        )


def _products_of_heads(graph: onnx.GraphProto) -> list[str]:
    ranks = {each.name: len(each.dims) for each in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and ranks.get(node.input[1], 2) > 2]


def copy_surroundings(model_dir: Path, target: Path) -> None:
    """Copy what belongs to a model besides its weights."""
    target.mkdir(parents=True)
    for path in model_dir.iterdir():
        if path.suffix == ".json" and not path.name.endswith(".safetensors.index.json"):
            shutil.copyfile(path, target / path.name)


def write(model: onnx.ModelProto, model_dir: Path, target: Path, *, as_int8: bool) -> Path:
    """Write a folder that :meth:`Predictor.load` reads and :func:`build_archive` packs; return it.

    :param model: from :func:`export`.
    :param model_dir: what training wrote.
    :param target: made here.
    """
    copy_surroundings(model_dir, target)
    facts = read_json(model_dir / CLASSIFIER_FILE) | {"tokenizer": write_tokenizer(model_dir, target)}
    (target / CLASSIFIER_FILE).write_text(json.dumps(facts), encoding="utf-8")
    if as_int8:
        quantize(model, target / MODEL_FILE)
    else:
        (target / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))
    return target


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep hints for developers of exporters out of the log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
