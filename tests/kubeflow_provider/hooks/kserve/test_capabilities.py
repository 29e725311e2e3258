"""What is found out about a KServe, and how it is told in which mode to serve."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.capabilities import Capabilities, read_capabilities
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of, read_mode
from tests.doubles.kubernetes.kserve.definitions import definitions

MODE = "serving.kserve.io/deploymentMode"


def config(version: str, mode: str = "Serverless") -> dict[str, Any]:
    sections = {
        "deploy": {"defaultDeploymentMode": mode},
        "ingress": {"enableGatewayApi": True},
        "storageInitializer": {"image": f"kserve/storage-initializer:{version}"},
    }
    return {"data": {name: json.dumps(section) for name, section in sections.items()}}


def read(version: str, mode: str = "Serverless") -> Capabilities:
    return read_capabilities(definitions(version)[0], config(f"v{version}", mode))


@pytest.mark.parametrize(("version", "expected"), [("0.15.2", (0, 15, 2)), ("0.20.0", (0, 20, 0))])
def test_version_mode_and_gateway_come_from_kserves_own_configuration(version: str, expected: tuple[int, ...]) -> None:
    found = read(version)
    assert (found.version, found.default_mode, found.gateway_api) == (expected, Mode.KNATIVE, True)


def test_fields_come_from_the_schema() -> None:
    assert read("0.20.0").knows("spec.canary.trafficPercent")
    assert not read("0.19.0").knows("spec.canary")
    assert read("0.16.0").knows("spec.predictor.storageUris.mountPath")
    assert not read("0.15.0").knows("spec.predictor.storageUris")


@pytest.mark.parametrize(
    ("version", "wanted", "name"),
    [
        ("0.15.0", Mode.STANDARD, "RawDeployment"),
        ("0.16.0", Mode.STANDARD, "Standard"),
        ("0.18.0", Mode.STANDARD, "Standard"),
    ],
)
def test_a_mode_has_the_name_that_the_version_knows(version: str, wanted: Mode, name: str) -> None:
    assert read(version).mode_annotations(wanted) == {MODE: name}


@pytest.mark.parametrize("default", ["Serverless", "Knative"])
def test_what_is_the_default_needs_no_annotation(default: str) -> None:
    assert read("0.19.0", default).mode_annotations(Mode.KNATIVE) == {}
    assert read("0.19.0", default).mode_annotations(None) == {}


def test_the_version_that_refuses_its_own_name_is_not_asked() -> None:
    with pytest.raises(InvalidRequestError, match=r"kserve#5793.*Update KServe"):
        read("0.19.0", "Standard").mode_annotations(Mode.KNATIVE)


def test_without_the_right_to_read_only_the_default_can_be_had() -> None:
    blind = read_capabilities(None, None)
    assert blind == Capabilities()
    assert blind.mode_annotations(None) == {}
    with pytest.raises(InvalidRequestError, match=r"inferenceservice-config must not be read.*services\.md#rights"):
        blind.mode_annotations(Mode.STANDARD)


def test_a_schema_that_only_new_versions_have_tells_the_names_as_well() -> None:
    found = read_capabilities(definitions("0.20.0")[0], None)
    assert found.mode_annotations(Mode.STANDARD) == {MODE: "Standard"}


@pytest.mark.parametrize("data", [{"deploy": "{"}, {"deploy": "[]"}, {"storageInitializer": '{"image": "x:latest"}'}])
def test_a_configuration_that_says_nothing_useful_is_no_error(data: dict[str, str]) -> None:
    assert read_capabilities(None, {"data": data}) == Capabilities()


def test_every_name_of_a_mode_is_understood() -> None:
    assert [read_mode(name) for name in ("Serverless", "RawDeployment", "ModelMesh", None)] == [
        Mode.KNATIVE,
        Mode.STANDARD,
        None,
        None,
    ]
    service = {"metadata": {"annotations": {MODE: "Knative"}}, "status": {"deploymentMode": "RawDeployment"}}
    assert mode_of(service) is Mode.STANDARD, "what KServe wrote down counts"
