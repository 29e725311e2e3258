"""A request with its answer, as a producer hands it over, and the rows that both are about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

#: Keys under which a text may stand in an object, as the classifier has them.
_TEXT_KEYS = ("data", "text")

#: Lists and objects of a body that may lie in each other. Readers could not take more apart, and a client's depth must
#: not become this process's.
MOST_DEPTH = 32


class NestedTooDeepError(ValueError):
    """A body is nested deeper than what is captured."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was answered.

    :param id: by which it is known to its client.
    :param at: when it was answered, in seconds since 1970.
    :param version: that has answered; ``None``: as the answer says, if it does.
    :param protocol: ``v1``, ``v2`` or ``raw``.
    :param latency_ms: from the request to its answer.
    :param request: its body.
    :param answer: body of the answer.
    :param inputs: what the request is about, where its producer has taken it apart already.
    :param folder: of the version's unpacked archive, with its tokenizer; ``None`` where its producer has none.
    """

    id: str
    at: float
    version: str | None
    protocol: str
    latency_ms: float | None
    request: bytes
    answer: bytes
    inputs: Sequence[Any] | None = None
    folder: str | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds, about; texts are up to four times that."""
        inputs = sum(len(each) if isinstance(each, str) else 100 for each in self.inputs or ())
        return len(self.request) + len(self.answer) + inputs


class Row(NamedTuple):
    """One row of a request with its answer.

    :param given: a text, or an instance.
    :param output: label or prediction.
    :param confidence: probability of the label.
    :param probabilities: by label.
    """

    given: Any
    output: Any = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None


def rows_of(exchange: Exchange) -> tuple[list[Row], str | None]:
    """Return the rows, and the version that the answer names.

    What is in no form that is known has no rows: that is no error.

    :raises NestedTooDeepError: when one of the bodies is nested deeper than :data:`MOST_DEPTH`.
    """
    inputs = exchange.inputs if exchange.inputs is not None else _inputs(exchange.request)
    answer = _parsed(exchange.answer)
    outputs = _outputs(answer)
    if len(outputs) != len(inputs):
        outputs = [Row(None)] * len(inputs)
    rows = [output._replace(given=given) for given, output in zip(inputs, outputs, strict=True)]
    return rows, _version(answer)


def _parsed(body: bytes) -> Any:
    """Return what a JSON body holds, ``None`` where it is none; numbers that JSON has not are none, too."""
    try:
        found = json.loads(body, parse_constant=lambda name: None)
    except RecursionError:
        raise NestedTooDeepError from None
    except ValueError:
        return None
    if _depth_is_more_than(MOST_DEPTH, found):
        raise NestedTooDeepError
    return found


def _depth_is_more_than(most: int, value: Any) -> bool:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(most):
        level = [
            each
            for one in level
            for each in (one.values() if isinstance(one, dict) else one)
            if isinstance(each, list | dict)
        ]
        if not level:
            return False
    return True


def _inputs(body: bytes) -> Sequence[Any]:
    found = _parsed(body)
    if isinstance(found, Mapping):
        if isinstance(found.get("instances"), list):
            return [_instance(each) for each in found["instances"]]
        if isinstance(found.get("inputs"), list):
            return _rows_of_tensors(found["inputs"])
        for key in _TEXT_KEYS:
            if key in found:
                return found[key] if isinstance(found[key], list) else [found[key]]
        return []
    if found is None:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return []
        return [text] if text and "\0" not in text else []
    return [found] if isinstance(found, str) else []


def _instance(given: Any) -> Any:
    """Return the text of an instance that is one."""
    if isinstance(given, Mapping) and len(given) == 1:
        name, value = next(iter(given.items()))
        if name in _TEXT_KEYS and isinstance(value, str):
            return value
    return given


def _rows_of_tensors(tensors: Sequence[Any]) -> list[Any]:
    """Return one instance for each row of tensors: values of the only one, else by the tensors' names."""
    columns = {}
    for tensor in tensors:
        rows = _rows_of_tensor(tensor)
        if rows is None:
            return []
        columns[str(tensor.get("name"))] = rows
    if len(columns) == 1:
        return next(iter(columns.values()))
    if len({len(rows) for rows in columns.values()}) != 1:
        return []
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _rows_of_tensor(tensor: Any) -> list[Any] | None:
    """Return the rows of a tensor, whose data are flat or nested; ``None`` where its shape does not fit them."""
    if not isinstance(tensor, Mapping):
        return None
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(data, list) or not isinstance(shape, list) or not shape:
        return None
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        return None
    width = prod(shape[1:])
    flat = list(_flat(data))
    if len(flat) != shape[0] * width:
        return None
    if width == 1:
        return flat
    return [flat[start : start + width] for start in range(0, len(flat), width)] if width else []


def _flat(data: Sequence[Any]) -> Any:
    for each in data:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _outputs(answer: Any) -> list[Row]:
    if not isinstance(answer, Mapping):
        return []
    if isinstance(answer.get("predictions"), list):
        return [_prediction(each) for each in answer["predictions"]]
    if isinstance(answer.get("outputs"), list):
        return _of_tensors(answer["outputs"])
    return []


def _prediction(found: Any) -> Row:
    if isinstance(found, Mapping) and isinstance(found.get("label"), str):
        return Row(None, found["label"], _number(found.get("score")), _probabilities(found.get("probabilities")))
    return Row(None, found)


def _of_tensors(tensors: Sequence[Any]) -> list[Row]:
    named = {str(tensor.get("name")): tensor for tensor in tensors if isinstance(tensor, Mapping)}
    if not {"label", "score", "probabilities", "labels"} <= named.keys():
        return [Row(None, each) for each in _rows_of_tensors(tensors)]
    label, score, values, labels = (
        _rows_of_tensor(named[name]) or [] for name in ("label", "score", "probabilities", "labels")
    )
    if len(label) != len(score) or len(label) != len(values):
        return []
    # Labels of their own for each row where a client wants the likeliest alone, else once for all.
    names = labels if labels and isinstance(labels[0], list) else [labels] * len(label)
    if len(names) != len(label):
        return []
    return [
        Row(None, each, _number(number), _probabilities(_paired(row_labels, row_values)))
        for each, number, row_labels, row_values in zip(label, score, names, values, strict=True)
    ]


def _paired(labels: Any, values: Any) -> dict[Any, Any]:
    values = values if isinstance(values, list) else [values]
    return dict(zip(labels, values, strict=True)) if len(labels) == len(values) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _probabilities(found: Any) -> dict[str, float] | None:
    if not isinstance(found, Mapping):
        return None
    numbers = {str(label): number for label, value in found.items() if (number := _number(value)) is not None}
    return numbers or None


def _version(answer: Any) -> str | None:
    """Return the version that an answer names, as V2 and the classifier's V1 do."""
    if not isinstance(answer, Mapping):
        return None
    found = answer.get("model_version")
    predictions = answer.get("predictions")
    if found is None and isinstance(predictions, list) and predictions and isinstance(predictions[0], Mapping):
        found = predictions[0].get("version")
    return found if isinstance(found, str) else None
