"""What a pipeline that another team owns may write for a release to take its model: named outputs, or one document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue, StringConstraints

from include.contracts.documents import NotNegative, Part, Sha256, Written

Uri = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class WrittenArtifact(Part):
    """What is known of an artifact; all but its address may be left out."""

    uri: Uri
    type: str | None = Field(None, description="For example system.Metrics")
    name: str | None = None
    metadata: dict[str, JsonValue] = Field({}, description="Of an artifact of metrics: name -> value")


class NamedOutputs(Written):
    """What a run writes at its parameter `outputs_uri`, for servers that tell no outputs."""

    file = "outputs.json"

    parameters: dict[str, JsonValue] = Field({}, description="Name -> value, a URI or a metric for example")
    artifacts: dict[str, Uri | WrittenArtifact] = Field({}, description="Name -> where it lies")


class RequestOfPipeline(Part):
    """A request that the pipeline has recorded, as users send it, and what must come back."""

    request: JsonValue = Field(description="The body: JSON, or text that is sent as it is")
    answer: JsonValue = Field(None, description="What the answer must hold; null: any answer with status 200")
    tolerance: NotNegative | None = Field(None, description="Largest difference of a number; null: the model's own")


class PipelineModel(Written):
    """All that a release takes of a pipeline, in one document: the artifact that `outputs.document` names."""

    file = "pipeline-model.json"

    schema_version: Annotated[int, Field(ge=1, le=1)]
    model: Uri = Field(description="Where the model lies: a file or a folder")
    model_sha256: Sha256 | None = Field(
        None,
        description="Of the file; of a folder that of its lines `<SHA-256>  <name>`, sorted by name. What was copied "
        "must have it; null: any",
    )
    metrics: dict[str, float] = Field(description="Name -> value")
    predictions: Uri | None = Field(None, description="Where the predictions of the evaluation rows lie, a file")
    requests: list[RequestOfPipeline] = Field(
        [], max_length=32, description="Asked in the smoke test, behind those of the model's YAML"
    )
    refused: list[JsonValue] = Field([], max_length=32, description="Requests that must be refused")

    def outputs(self) -> dict[str, Any]:
        """Return it as a run that tells its outputs would."""
        told = {"model": self.model, "metrics": self.metrics, "predictions": self.predictions}
        return {"parameters": {name: value for name, value in told.items() if value is not None}}
