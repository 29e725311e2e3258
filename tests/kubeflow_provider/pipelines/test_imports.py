"""What a pipeline imports is known before it runs, as far as that can be."""

from __future__ import annotations

from typing import Any

import pytest

from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.imports import imported_uris


def importing(*, own: dict[str, Any] | None = None, nested: dict[str, Any] | None = None) -> PipelineSpec:
    """Return a pipeline that imports from an address, itself or in a nested one."""

    def task(uri: dict[str, Any]) -> dict[str, Any]:
        return {"componentRef": {"name": "comp-importer"}, "inputs": {"parameters": {"uri": uri}}}

    components: dict[str, Any] = {"comp-importer": {"executorLabel": "exec-importer"}}
    if nested:
        components["comp-nested"] = {"dag": {"tasks": {"importer": task(nested)}}}
    parameters = {"data": {"parameterType": "STRING", "defaultValue": "s3://default"}}
    document = {
        "pipelineInfo": {"name": "p"},
        "components": components,
        "deploymentSpec": {"executors": {"exec-importer": {"importer": {}}}},
        "root": {
            "dag": {"tasks": {"importer": task(own)} if own else {}},
            "inputDefinitions": {"parameters": parameters},
        },
    }
    return PipelineSpec(document=document)


CONSTANT = {"runtimeValue": {"constant": "s3://constant"}}
HANDED_ON = {"componentInputParameter": "data"}
FOUND_OUT = {"taskOutputParameter": {"producerTask": "find", "outputParameterKey": "Output"}}


@pytest.mark.parametrize(
    ("pipeline", "parameters", "uris"),
    [
        (importing(own=CONSTANT), {}, ["s3://constant"]),
        (importing(nested=CONSTANT), {}, ["s3://constant"]),
        (importing(own=HANDED_ON), {"data": "s3://given"}, ["s3://given"]),
        (importing(own=HANDED_ON), {}, ["s3://default"]),
        (importing(own=HANDED_ON), {"data": 3}, []),
        (importing(nested=HANDED_ON), {"data": "s3://given"}, []),
        (importing(own=FOUND_OUT), {"data": "s3://given"}, []),
        (importing(), {"data": "s3://given"}, []),
    ],
)
def test_addresses_that_are_known(pipeline: PipelineSpec, parameters: dict[str, Any], uris: list[str]) -> None:
    assert imported_uris(pipeline, parameters) == uris
