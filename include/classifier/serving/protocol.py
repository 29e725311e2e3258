"""Reads requests and writes answers, in KServe's V1 and V2 forms and in TorchServe's raw one.

Whatever a client sends ends as a list of texts or as a :class:`BadRequest` whose message says what to change. No
message repeats any part of a text: messages stand in answers, and answers may be logged by whoever asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .open_inference import read_tensor, write_tensors
from .predictor import Prediction
from .text import is_blank

MAX_INSTANCES = 1000

#: Of one answer. TorchServe takes as many times this as it joins requests (``max_response_size``), and ends a worker
#: that sends more, with all the requests that were joined.
MAX_ANSWER_BYTES = 6_000_000

#: After these a client for whose request there was no time may come again.
RETRY_AFTER_SECONDS = 5

#: Of one row besides its labels and their probabilities, and of a probability with what stands around it.
_ROW_BYTES, _NUMBER_BYTES = 200, 13

#: Keys under which a text may stand in an object.
TEXT_KEYS = ("data", "text")

_EXPECTED = 'send {"instances": ["a text", ...]} as application/json'


class BadRequest(ValueError):
    """The client has to change its request; becomes a 400."""

    code, reason, kind = 400, "Bad Request", "BadRequestException"


class AnswerTooLarge(BadRequest):
    """The answer would be larger than the server lets through; becomes a 413."""

    code, reason, kind = 413, "Payload Too Large", "AnswerTooLargeException"


class Unanswered(BadRequest):
    """The model failed on these texts and on no others; becomes a 500."""

    code, reason, kind = 500, "Internal Server Error", "PredictionException"


class TooMuch(BadRequest):
    """The model would need longer for this request than the server gives it; becomes a 413."""

    code, reason, kind = 413, "Payload Too Large", "RequestTooLargeException"

    def __init__(self, texts: int, seconds: float) -> None:
        super().__init__(
            f"{texts:,} texts took longer than the {seconds:.0f} s that a request may take: send fewer in one request, "
            "or raise serving.response_timeout_seconds of the model."
        )


class Busy(BadRequest):
    """Other requests left no time for this one; becomes a 503 that says when to come again."""

    code, reason, kind = 503, "Service Unavailable", "ServiceUnavailableException"

    def __init__(self) -> None:
        super().__init__(
            f"Other requests kept the model busy: send this one again in {RETRY_AFTER_SECONDS} s, or fewer texts in it."
        )


@dataclass(frozen=True)
class Request:
    """What one client asked for, and how it wants to be answered."""

    texts: list[str]
    is_v2: bool = False
    request_id: str | None = None
    top_k: int | None = None  #: So many of the likeliest labels; ``None``: as the model's settings say.


def read_request(parameters: Mapping[str, Any], content_type: str = "") -> Request:
    """Return the texts of one request, and the form of its answer.

    :param parameters: as TorchServe hands them to a handler: ``body``, parsed when it was declared as JSON or text and
        could be; or the fields of a form.
    :param content_type: media type of the body, which tells broken JSON from plain text.
    :raises BadRequest: naming the row where the fault lies in one.
    """
    body = _decode(parameters["body"], content_type) if "body" in parameters else parameters
    if isinstance(body, str):
        return Request([_text(body, "the body")])
    if not isinstance(body, Mapping):
        raise BadRequest(f"The body is {_kind(body)}: {_EXPECTED}.")
    if "instances" in body:
        return Request(_rows(body["instances"], "instances"), top_k=_top_k(body, "top_k"))
    if "inputs" in body:
        try:
            rows, name = read_tensor(body)
        except ValueError as error:
            raise BadRequest(f"{error}.") from None
        request_id = str(body["id"]) if "id" in body else None
        given = body.get("parameters")
        top_k = _top_k(given if isinstance(given, Mapping) else {}, "parameters.top_k")
        return Request(_rows(rows, name), is_v2=True, request_id=request_id, top_k=top_k)
    for key in TEXT_KEYS:
        if key in body:
            rows = body[key]
            texts = _rows(rows, key) if isinstance(rows, list) else [_text(rows, key)]
            return Request(texts, top_k=_top_k(body, "top_k"))
    raise BadRequest(f'There are no "instances": {_EXPECTED}.')


def label_sizes(labels: Sequence[str]) -> list[int]:
    """Return how many bytes each label takes in an answer, the largest first."""
    return sorted((len(json.dumps(label, ensure_ascii=False).encode()) for label in labels), reverse=True)


def check_size(request: Request, sizes: Sequence[int]) -> None:
    """Refuse a request whose answer would be too large, before anything is computed for it.

    :param sizes: of the labels that the model knows, from :func:`label_sizes`.
    :raises AnswerTooLarge: naming how many texts may be sent, or that fewer labels may be asked for.
    """
    largest_row = _ROW_BYTES + sizes[0] + sum(size + _NUMBER_BYTES for size in sizes[: request.top_k])
    size, fitting = largest_row * len(request.texts), MAX_ANSWER_BYTES // largest_row
    if size > MAX_ANSWER_BYTES:
        fewer = f"send at most {fitting:,} texts in one request, or " if fitting else ""
        raise AnswerTooLarge(
            f"The answer to {len(request.texts):,} texts with up to {len(sizes[: request.top_k]):,} "
            f"labels each may have {size:,} bytes, more than {MAX_ANSWER_BYTES:,}: {fewer}ask for the "
            'likeliest labels alone with "top_k": 5.'
        )


def write_answer(request: Request, predictions: Sequence[Prediction], *, model: str, version: str) -> str:
    """Return the body of a 200, in the form of the request: one object for each row, or tensors."""
    if request.is_v2:
        return write_tensors(
            predictions, model=model, version=version, request_id=request.request_id, top_k=request.top_k
        )
    rows = [_row(prediction, version, request.top_k) for prediction in predictions]
    return json.dumps({"predictions": rows}, ensure_ascii=False)


def write_refusal(error: BadRequest) -> str:
    """Return the body of a refusal, in the form of TorchServe's own errors."""
    return json.dumps({"code": error.code, "type": error.kind, "message": str(error)})


def _row(prediction: Prediction, version: str, top_k: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": prediction.label,
        "score": round(prediction.score, 6),
        "probabilities": {label: round(value, 6) for label, value in prediction.likeliest(top_k).items()},
        "version": version,
    }
    if prediction.truncated:
        row["truncated"] = True
    if prediction.computed_in:
        row["computed_in"] = prediction.computed_in
    return row


def _decode(body: Any, content_type: str) -> Any:
    """Parse a body that TorchServe left as bytes: because it could not parse it, or because nothing said what it is."""
    if not isinstance(body, (bytes, bytearray)):
        return body
    text = _utf8(body, "the body")
    declared = content_type.split(";")[0].strip().lower() == "application/json"
    if not declared and not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if not declared:
            return text
        where = f" in line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(f"The body is not JSON{where}: {_EXPECTED}.") from None


def _top_k(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get("top_k")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadRequest(f'"{name}" must be a whole number, 1 or more: how many of the likeliest labels to answer.')
    return value


def _rows(rows: Any, name: str) -> list[str]:
    if not isinstance(rows, list):
        raise BadRequest(f'"{name}" is {_kind(rows)}, not a list: {_EXPECTED}.')
    if not rows:
        raise BadRequest(f'"{name}" is empty: {_EXPECTED}.')
    if len(rows) > MAX_INSTANCES:
        raise BadRequest(f'"{name}" has {len(rows)} rows: send at most {MAX_INSTANCES} in one request.')
    return [_instance(row, f"{name}[{index}]") for index, row in enumerate(rows)]


def _instance(row: Any, where: str) -> str:
    if isinstance(row, Mapping):
        for key in TEXT_KEYS:
            if key in row:
                return _text(row[key], f"{where}.{key}")
        raise BadRequest(f'{where} has no "data": give each row as a string or as {{"data": "a text"}}.')
    return _text(row, where)


def _text(value: Any, where: str) -> str:
    if isinstance(value, (bytes, bytearray)):  # A file of a form.
        value = _utf8(value, where)
    if not isinstance(value, str):
        raise BadRequest(f"{where} is {_kind(value)}, not a text.")
    try:
        # JSON can spell half a surrogate pair. The tokenizer would raise on it, and take the neighbours along.
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{where} has half a surrogate pair at character {error.start}: send valid Unicode.") from None
    if is_blank(value):
        raise BadRequest(f"{where} is empty: send at least one word.")
    return value


def _utf8(value: bytes | bytearray, where: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{where} is not valid UTF-8 at byte {error.start}: send the text encoded as UTF-8.") from None


def _kind(value: Any) -> str:
    """Name a value's type as JSON calls it."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
