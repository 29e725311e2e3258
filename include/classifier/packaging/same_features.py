"""Checks that what is packed sees what training saw: the same token ids of the same rows.

The archive's own handler is asked, as TorchServe asks it, with nothing but the weights replaced by something that notes
what reaches them. The native server reads requests by the same code of the archive.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from include.classifier.packaging.archive import PACKAGE
from include.classifier.serving.predictor import CLASSIFIER_FILE, read_json
from include.classifier.training.features import RowFeatures, digest, read_features

_numbers = count(1)


class FeatureSkewError(RuntimeError):
    """The packed model sees something else than what was trained; the message says of how many rows."""


def check_same_features(unpacked: Path, model_dir: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Compare what training and the archive's code make of texts.

    :param unpacked: folder of the archive.
    :param model_dir: what training wrote.
    :param texts: evaluation rows, the same as training had.
    :return: ``serving.same_features`` of ``candidate.json``.
    :raises FeatureSkewError: when a row differs; names rows of the sample, no texts.
    """
    expected = read_features(model_dir, texts)
    found = [RowFeatures.of(ids) for ids in served_ids(unpacked, texts)]
    different = [row for row, both in enumerate(zip(expected, found, strict=True)) if both[0] != both[1]]
    if different:
        first = different[0]
        raise FeatureSkewError(
            f"{len(different)} of {len(texts)} evaluation rows reach the packed model as other token ids than in "
            f"training; row {first} of the sample: {found[first].tokens} tokens, in training {expected[first].tokens}. "
            "Training and serving do not see the same features: compare include/classifier/serving/text.py and the "
            "tokenizer's files in the archive with what was trained, and the versions of tokenizers and transformers "
            "in both steps."
        )
    return {"rows": len(found), "tokens": sum(row.tokens for row in found), "sha256": digest(found)}


def served_ids(unpacked: Path, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids that reach the model of each text, when the archive's handler is asked for it.

    :raises FeatureSkewError: when the handler fails, or does not ask the model once for a text.
    """
    with _archive_code(unpacked) as module:
        noted = _Weights(len(read_json(unpacked / CLASSIFIER_FILE)["labels"]))
        predictor, handler = module("predictor"), module("handler")
        for engine in ("TorchEngine", "OnnxEngine"):
            setattr(predictor, engine, SimpleNamespace(load=lambda *_, **__: noted))
        setattr(handler, "capture_of", lambda *_: None)  # noqa: B010  what a trial is asked is no request of a user
        context = _Context(unpacked)
        try:
            server = handler.Handler(context)
        except Exception as error:
            raise FeatureSkewError(f"The archive's handler does not start: {type(error).__name__}.") from error
        found = []
        for row, text in enumerate(texts):
            noted.rows.clear()
            try:
                server.answer([{"body": {"instances": [text]}}], context)
            except Exception as error:  # without its message, which may repeat a text
                raise FeatureSkewError(
                    f"Row {row} of the sample: the archive's handler failed ({type(error).__name__})."
                ) from None
            if len(noted.rows) != 1:
                raise FeatureSkewError(
                    f"Row {row} of the sample: the archive's handler asked the model for {len(noted.rows)} rows, not "
                    f"for one, and answered {context.status}. It refuses, or fails on, what was trained on."
                )
            found.append(list(noted.rows[0]))
    return found


class _Weights:
    """Stands in the place of an engine, see :class:`include.classifier.serving.predictor.Engine`."""

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self.rows: list[list[int]] = []

    def probabilities(self, rows: Sequence[list[int]], before_pass: Callable[[], None]) -> list[list[float]]:
        """Note the rows, and call all classes as likely."""
        self.rows += rows
        return [[1 / self.n_classes] * self.n_classes for _ in rows]


class _Context:
    """As much of TorchServe's context as a handler asks for."""

    def __init__(self, unpacked: Path) -> None:
        self.model_yaml_config: dict[str, Any] = {}
        self.system_properties = {"model_dir": str(unpacked), "gpu_id": None}
        self.manifest = read_json(unpacked / "MAR-INF" / "MANIFEST.json")
        self.status = 200

    def get_request_header(self, index: int, name: str) -> dict[str, str]:
        return {"content-type": "application/json"}

    def get_all_request_header(self, index: int) -> dict[str, str]:
        return {}

    def set_response_content_type(self, index: int, value: str) -> None:
        pass

    def set_response_header(self, index: int, name: str, value: str) -> None:
        pass

    def set_response_status(self, code: int, phrase: str = "", idx: int = 0) -> None:
        self.status = code


@contextmanager
def _archive_code(unpacked: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Yield what imports a module of the archive's code, under a name of its own; it is forgotten in the end."""
    package = f"{PACKAGE}_features_{next(_numbers)}"
    place = unpacked / PACKAGE
    spec = importlib.util.spec_from_file_location(
        package, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec
    assert spec.loader
    sys.modules[package] = code = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(code)
        yield lambda name: importlib.import_module(f"{package}.{name}")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
