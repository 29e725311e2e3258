"""The messages of the Open Inference Protocol over gRPC.

They are made from the table below instead of from generated code, which would belong to one version of protobuf and say
the same in a thousand lines. ``tests/classifier/native/v2_grpc`` holds them to those of KServe's own package.
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "inference"
SERVICE = f"{_PACKAGE}.GRPCInferenceService"

_TENSOR = ("string name", "string datatype", "repeated int64 shape")
_VALUES = (*_TENSOR, "map InferParameter parameters", "InferTensorContents contents")
_MODEL = ("string name", "string version")
_CALL = ("string model_name", "string model_version", "string id", "map InferParameter parameters")

#: Message -> its fields, which are numbered from 1 in this order. Keys of maps are strings.
_FIELDS: dict[str, tuple[str, ...]] = {
    "InferParameter": ("bool bool_param", "int64 int64_param", "string string_param"),
    "InferTensorContents": (
        "repeated bool bool_contents",
        "repeated int32 int_contents",
        "repeated int64 int64_contents",
        "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents",
        "repeated float fp32_contents",
        "repeated double fp64_contents",
        "repeated bytes bytes_contents",
    ),
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name", "string version", "repeated string extensions"),
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse": (
        "string name",
        "repeated string versions",
        "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs",
    ),
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": (
        *_CALL,
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents",
    ),
    "ModelInferRequest.InferInputTensor": _VALUES,
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", "map InferParameter parameters"),
    "ModelInferResponse": (
        *_CALL,
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents",
    ),
    "ModelInferResponse.InferOutputTensor": _VALUES,
}

#: Message -> the name of the one choice that its fields are.
_CHOICES = {"InferParameter": "parameter_choice"}


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="open_inference_grpc.proto", package=_PACKAGE, syntax="proto3")
    messages: dict[str, DescriptorProto] = {}
    for name, fields in _FIELDS.items():
        outer, _, own = name.rpartition(".")
        messages[name] = message = (messages[outer].nested_type if outer else file.message_type).add(name=own)
        if name in _CHOICES:
            message.oneof_decl.add(name=_CHOICES[name])
        for number, field in enumerate(fields, 1):
            _add(message, name, number, field)
            if name in _CHOICES:
                message.field[-1].oneof_index = 0
    return file


def _add(message: DescriptorProto, message_name: str, number: int, field: str) -> None:
    *label, kind, name = field.split()
    if label == ["map"]:  # as protoc writes it: a list of pairs
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add(entry, entry.name, 1, "string key")
        _add(entry, entry.name, 2, f"{kind} value")
        kind = f"{message_name}.{entry.name}"
    added = message.field.add(name=name, number=number)
    added.label = FieldDescriptorProto.LABEL_REPEATED if label else FieldDescriptorProto.LABEL_OPTIONAL
    if kind[0].isupper():
        added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        added.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


# A pool of its own: another package of this process may bring the same messages.
_pool = DescriptorPool()
_pool.Add(_file())


def message_class(name: str) -> Any:
    """Return the class of a message, for example ``ModelInferRequest``."""
    return GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
