"""The messages are those of the protocol, as KServe's own package has them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from include.classifier.native.v2_grpc import messages


@pytest.fixture(scope="module")
def kserves(kserve_python: str) -> ModuleType:
    """KServe's generated module, which needs nothing but protobuf."""
    pattern = "lib/python*/site-packages/kserve/protocol/grpc/grpc_predict_v2_pb2.py"
    (path,) = Path(kserve_python).absolute().parents[1].glob(pattern)
    spec = importlib.util.spec_from_file_location("grpc_predict_v2_pb2", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shape(descriptor: Any) -> dict[str, Any]:
    """Return all that decides how a message is written."""
    fields = {
        field.number: (
            field.name,
            field.type,
            field.is_repeated,
            field.is_packed,
            field.message_type and field.message_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
        )
        for field in descriptor.fields
    }
    nested = {each.name: shape(each) for each in descriptor.nested_types}
    return {"name": descriptor.full_name, "fields": fields, "nested": nested, "map": descriptor.GetOptions().map_entry}


@pytest.mark.parametrize("name", [name for name in messages._FIELDS if "." not in name])
def test_a_message_is_kserves(name: str, kserves: ModuleType) -> None:
    assert shape(messages.message_class(name).DESCRIPTOR) == shape(getattr(kserves, name).DESCRIPTOR)


def test_the_service_is_kserves(kserves: ModuleType) -> None:
    service = kserves.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == messages.SERVICE
    for call in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"):
        method = service.methods_by_name[call]
        assert (method.input_type.name, method.output_type.name) == (f"{call}Request", f"{call}Response")
