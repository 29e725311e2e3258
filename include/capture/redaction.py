"""What of a request may stand in a file: texts are kept, hashed or dropped as the model's YAML says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.capture.exchanges import Exchange, Row, rows_of
from include.contracts.monitoring.features import MOST_CATEGORY_CHARACTERS, features_of, keyed, vocabulary_of
from include.contracts.monitoring.layout import is_id, written_at

if TYPE_CHECKING:
    from include.contracts.monitoring.capture import Texts

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_VERSION = re.compile(r"[0-9]{14}")
_MOST_WORDS = 3
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_SHORT_HASH = 16


class Redaction:
    """Makes lines of requests.

    :param model: its name.
    :param texts: what becomes of texts.
    :param key: of the hashes.
    """

    def __init__(self, model: str, texts: Texts, key: bytes) -> None:
        self._model = model
        self._texts = texts
        self._key = key
        self._folder: str | None = None
        self._vocabulary: Collection[str] | None = None

    def line(self, exchange: Exchange) -> bytes:
        """Return the line of a request, with its end.

        :raises ValueError: when it cannot be written at all; the message has nothing of it.
        """
        if not is_id(exchange.id):
            raise ValueError("no id")
        rows, named = rows_of(exchange)
        version = exchange.version or named or ""
        if exchange.folder != self._folder:  # a vocabulary is kept until another version answers
            self._folder = exchange.folder
            self._vocabulary = tokenizer_vocabulary(Path(exchange.folder)) if exchange.folder else None
        document = {
            "schema_version": 1,
            "id": exchange.id,
            "at": written_at(datetime.fromtimestamp(exchange.at, UTC)),
            "model": self._model,
            "version": version if _VERSION.fullmatch(version) else None,
            "protocol": exchange.protocol,
            "status": 200,
            "latency_ms": None if exchange.latency_ms is None else round(max(0.0, exchange.latency_ms), 3),
            "rows": [self._row(row) for row in rows],
        }
        text = _encode(document)
        # Half a surrogate pair, which JSON can spell, is no UTF-8.
        return text.encode("utf-8", "replace") + b"\n"

    def _row(self, row: Row) -> dict[str, Any]:
        is_kept = self._texts == "keep"
        labels = row.probabilities or {}
        is_label = isinstance(row.output, str) and row.output in labels
        is_shown = is_label or not isinstance(row.output, str | list | Mapping)
        output = _finite(row.output) if is_shown else self._output(row.output, _texts_in(row.given))
        return {
            "input": self._value(row.given),
            "features": features_of(row.given, vocabulary=self._vocabulary, key=None if is_kept else self._key),
            "output": output,
            "confidence": _finite(row.confidence),
            "probabilities": {label: value for label, value in labels.items() if _finite(value) is not None} or None,
        }

    def _value(self, value: Any) -> Any:
        """Return an input as it may be written, wherever in it there are texts."""
        if isinstance(value, str):
            if self._texts == "keep":
                return value
            return {"sha256": keyed(self._key, value)} if self._texts == "hash" else None
        return self._nested(value, self._value)

    def _output(self, value: Any, given: Collection[str]) -> Any:
        """Return an output: a short one that repeats nothing of the input is the name of a class; others are texts."""
        if isinstance(value, str):
            if self._texts == "keep" or _is_class_name(value, given):
                return value
            return {"sha256": keyed(self._key, value)} if self._texts == "hash" else None
        return self._nested(value, lambda each: self._output(each, given))

    def _nested(self, value: Any, change: Any) -> Any:
        if isinstance(value, Mapping):
            return {self._name(str(name)): change(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [change(each) for each in value]
        return _finite(value)

    def _name(self, name: str) -> str:
        is_shown = self._texts == "keep" or _NAME.fullmatch(name)
        return name if is_shown else f"_{keyed(self._key, name)[:_SHORT_HASH]}"


def tokenizer_vocabulary(folder: Path) -> frozenset[str] | None:
    """Return the vocabulary of the tokenizer in a model's folder; ``None`` where it has none that can be read."""
    try:
        return vocabulary_of(folder / "tokenizer.json") or None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _finite(value: Any) -> Any:
    """Return a value, ``None`` for numbers that JSON has not."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_class_name(text: str, given: Collection[str]) -> bool:
    if len(text) > MOST_CATEGORY_CHARACTERS or len(text.split()) > _MOST_WORDS:
        return False
    folded = text.casefold()
    return not any(folded in each for each in given)


def _texts_in(value: Any) -> list[str]:
    return [text.casefold() for text in _every_text(value)]


def _every_text(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield str(name)
            yield from _every_text(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _every_text(each)
