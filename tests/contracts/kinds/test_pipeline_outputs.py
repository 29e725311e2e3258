"""What another team's pipeline writes: the schema, the class that reads it and the provider that does say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from include.contracts import schemas
from include.contracts.documents import DocumentError, Written
from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.pipeline_outputs import NamedOutputs, PipelineModel
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipelines.outputs import read_written
from tests.own_models import document

MODEL: dict[str, Any] = {
    "schema_version": 1,
    "model": "s3://models/7",
    "metrics": {"accuracy": 1, "loss": 0.25},
    "predictions": "s3://models/7.jsonl",
    "requests": [{"request": {"instances": [1]}, "answer": {"predictions": [1]}}],
    "refused": ["{"],
}
OUTPUTS: dict[str, Any] = {
    "parameters": {"accuracy": 0.97},
    "artifacts": {"model": "s3://models/7", "metrics": {"uri": "s3://x", "metadata": {"loss": 0.25}}},
}


@pytest.mark.parametrize("kind", [PipelineModel, NamedOutputs, KubeflowModelCandidate])
def test_the_schema_is_that_of_the_class(kind: type[Written]) -> None:
    assert schemas.path_of(kind).read_text(encoding="utf-8") == schemas.schema_of(kind), "run `make docs`"


@pytest.mark.parametrize(
    ("kind", "made", "change", "is_one"),
    [
        (PipelineModel, MODEL, {}, True),
        (PipelineModel, MODEL, {"predictions": None, "model_sha256": "0" * 64}, True),
        (PipelineModel, MODEL, {"schema_version": 2}, False),
        (PipelineModel, MODEL, {"model": ""}, False),
        (PipelineModel, MODEL, {"metrics": {"accuracy": "0.9"}}, False),
        (PipelineModel, MODEL, {"metrics": None}, False),
        (PipelineModel, MODEL, {"requests": [{}]}, False),
        (PipelineModel, MODEL, {"requests": [{"request": 1}] * 33}, False),
        (PipelineModel, MODEL, {"model_sha256": "0"}, False),
        (PipelineModel, MODEL, {"owner": "ada"}, False),
        (NamedOutputs, OUTPUTS, {}, True),
        (NamedOutputs, OUTPUTS, {"artifacts": {"model": {"metadata": {}}}}, False),
        (NamedOutputs, OUTPUTS, {"artifacts": {"model": 3}}, False),
        (NamedOutputs, OUTPUTS, {"steps": {}}, False),
        (KubeflowModelCandidate, document(), {}, True),
        (KubeflowModelCandidate, document(), {"metrics": []}, False),
    ],
)
def test_schema_and_class_agree(
    tmp_path: Path, kind: type[Written], made: dict[str, Any], change: dict[str, Any], is_one: bool
) -> None:
    changed = made | change
    schema = jsonschema.Draft202012Validator(json.loads(schemas.schema_of(kind)))
    assert schema.is_valid(changed) is is_one
    if is_one:
        kind.read(changed, where="here")
    else:
        with pytest.raises(DocumentError, match=f"here is not a valid {kind.file}: "):
            kind.read(changed, where="here")
    if kind is NamedOutputs:
        (tmp_path / "outputs.json").write_text(json.dumps(changed))
        if is_one:
            assert read_written(str(tmp_path / "outputs.json"))
        else:
            with pytest.raises(InvalidRequestError):
                read_written(str(tmp_path / "outputs.json"))


def test_a_document_tells_what_outputs_would() -> None:
    told = PipelineModel.read(MODEL | {"predictions": None}, where="here").outputs()
    assert told == {"parameters": {"model": "s3://models/7", "metrics": {"accuracy": 1.0, "loss": 0.25}}}
