"""Between the messages of gRPC and the JSON that the archive's code reads and writes: two forms of the same."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import DecodeError

from include.classifier.native.refusals import Refusal
from include.classifier.native.v2_grpc.messages import message_class

_InferRequest, _InferResponse = message_class("ModelInferRequest"), message_class("ModelInferResponse")

#: Where a tensor's values stand, by its datatype.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_LENGTH_BYTES = 4


def read_message(message: bytes) -> Any:
    """Return a request.

    :raises Refusal: when it is none.
    """
    try:
        return _InferRequest.FromString(message)
    except DecodeError:
        raise _bad("The message is no inference.ModelInferRequest.") from None


def tensors_of(request: Any) -> dict[str, Any]:
    """Return a request as it would be in JSON, with the texts still as bytes.

    :raises Refusal: when its values stand where they should not.
    """
    body: dict[str, Any] = {"inputs": [_tensor(tensor) for tensor in request.inputs]}
    if request.raw_input_contents:
        if len(request.raw_input_contents) != len(request.inputs) or any(
            tensor.HasField("contents") for tensor in request.inputs
        ):
            raise _bad("raw_input_contents must have one entry for each input, whose own contents are left out.")
        for index, (tensor, raw) in enumerate(zip(body["inputs"], request.raw_input_contents, strict=True)):
            tensor["data"] = _split(raw, f"raw_input_contents[{index}]") if tensor["datatype"] == "BYTES" else []
    if request.id:
        body["id"] = request.id
    if request.parameters:
        body["parameters"] = {name: _parameter(value) for name, value in request.parameters.items()}
    return body


def write_message(answer: bytes) -> bytes:
    """Return an answer in JSON as a message.

    :param answer: as the archive's code writes it.
    """
    body = json.loads(answer)
    message = _InferResponse(
        model_name=body["model_name"], model_version=body["model_version"], id=str(body.get("id", ""))
    )
    for name, value in body.get("parameters", {}).items():
        message.parameters[name].string_param = str(value)
    for tensor in body["outputs"]:
        output = message.outputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        data = tensor["data"]
        values = (text.encode() for text in data) if tensor["datatype"] == "BYTES" else data
        getattr(output.contents, _CONTENTS[tensor["datatype"]]).extend(values)
    return bytes(message.SerializeToString())


def _tensor(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": list(tensor.contents.bytes_contents),
    }


def _split(raw: bytes, where: str) -> list[bytes]:
    """Return the texts of a raw tensor: each stands behind its length in four bytes, the lowest first."""
    texts: list[bytes] = []
    place = 0
    while place < len(raw):
        begin = place + _LENGTH_BYTES
        place = begin + int.from_bytes(raw[place:begin], "little")
        if begin > len(raw) or place > len(raw):
            raise _bad(f"{where} ends in the middle of text {len(texts)}: put the length of each before it.")
        texts.append(raw[begin:place])
    return texts


def _parameter(value: Any) -> Any:
    choice = value.WhichOneof("parameter_choice")
    return getattr(value, choice) if choice else None


def _bad(message: str) -> Refusal:
    return Refusal(400, "BadRequestException", message)
