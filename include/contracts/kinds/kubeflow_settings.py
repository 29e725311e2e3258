"""What the YAML of a ``kubeflow-model`` says: its pipeline, what that makes, how good it must be, and who serves it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from include.contracts.rules.non_inferiority import WhenInconclusive
from include.contracts.rules.paired_figures import ERRORS, FigureName
from include.contracts.section import Section

#: As Kubeflow names parameters and outputs; ``step.output`` is one of a step.
OutputName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\[\d+\])?(\.[A-Za-z_][A-Za-z0-9_-]*)*$")]
MetricName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.@-]{0,79}$")]
VolumeUri = Annotated[str, Field(pattern=r"^pvc://[a-z0-9][a-z0-9.-]*(/[A-Za-z0-9._-]+)*/?$")]
FolderUri = Annotated[str, Field(pattern=r"^(file://)?/[^\x00-\x1f]*$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,99}$")]

#: Of a container: text in one line.
Argument = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00-\x1f]*$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")]

#: A recorded request travels in candidate.json, and to every smoke test.
LONGEST_REQUEST = 200_000


class KeptPipeline(Section):
    """A pipeline that the pipeline service keeps."""

    name: str = Field(min_length=1, description="Name or id.")
    version: str | None = Field(None, description="Name or id; none: the newest when a release begins.")


class OutputsConfig(Section):
    """Which outputs of a run are what. They are the pipeline's own, or, as `step.output`, those of a step."""

    model: OutputName = Field("model", description="Artifact, or parameter with a URI: the model's file or folder.")
    metrics: OutputName | None = Field(
        None,
        description="Artifact of type Metrics, or parameter with a dict, that holds all metrics; none: each metric is "
        "an output of its own name.",
    )
    predictions: OutputName | None = Field(
        None,
        description="Artifact, or parameter with a URI: the candidate's predictions of the evaluation rows, JSON Lines "
        "or CSV with `id`, `label` and `prediction`; metrics with `from_predictions` are computed of them.",
    )
    document: OutputName | None = Field(
        None,
        description="Artifact, or parameter with a URI: one JSON document that says all of these, and may bring "
        "recorded requests (`include/contracts/pipeline-model.schema.json`); the others are then left out.",
    )
    model_file: FileName | None = Field(
        None, description="Name that a model is served under which is one file, such as `model.skops`; none: its own."
    )
    read_as: dict[VolumeUri, FolderUri] = Field(
        {},
        description="Volumes that outputs name and Airflow has too: `{pvc://models: /mnt/models}`. What lies there "
        "may be read.",
    )
    allowed_sources: list[str] = Field(
        [],
        description="Folders in which the pipeline may leave the model, besides the model's own folder of the store, "
        "the artifacts of a run on this machine and `cluster.pipeline_root`.",
    )

    def place_of(self, uri: str) -> str:
        """Return where Airflow reads what lies at an address: that of a path, or of a volume that both have."""
        for volume, folder in sorted(self.read_as.items(), key=lambda entry: -len(entry[0])):
            root = volume.rstrip("/")
            if uri == root or uri.startswith(f"{root}/"):
                return _as_file(folder).rstrip("/") + uri.removeprefix(root)
        return _as_file(uri)

    @property
    def folders(self) -> list[str]:
        """Where else than in the release's own places outputs may lie."""
        return [*self.allowed_sources, *map(_as_file, self.read_as.values())]

    @model_validator(mode="after")
    def _a_document_says_all(self) -> OutputsConfig:
        if self.document and (doubled := sorted({"model", "metrics", "predictions"} & self.model_fields_set)):
            raise ValueError(f"{', '.join(doubled)}: the document says it; leave it out")
        return self


class MetricConfig(Section):
    """A figure of the candidate, and what it must be."""

    name: MetricName = Field(description="Its key among the run's metrics.")
    better: Literal["higher", "lower"] = Field("higher", description="Which way is better.")
    from_predictions: FigureName | None = Field(
        None,
        description="Computed of `outputs.predictions` instead of told by the run, and compared with the live version "
        "row by row: `max_regression` then goes by the interval of the difference.",
    )
    at_least: float | None = Field(None, description="A candidate with less is rejected.")
    at_most: float | None = Field(None, description="A candidate with more is rejected.")
    max_regression: Annotated[float, Field(ge=0)] | None = Field(
        None, description="How much worse than the live version's recorded figure it may be; none: not compared."
    )

    @model_validator(mode="after")
    def _goes_the_figures_way(self) -> MetricConfig:
        if self.from_predictions and (self.better == "lower") != (self.from_predictions in ERRORS):
            way = "lower" if self.from_predictions in ERRORS else "higher"
            raise ValueError(f"better: {self.from_predictions} is better the {way} it is")
        return self


class PairedGateConfig(Section):
    """How sure the gate has to be of metrics that are compared row by row; docs/gate.md explains both."""

    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95, description="Of the interval of a difference; its worse end must lie within `max_regression`."
    )
    when_inconclusive: WhenInconclusive = Field(
        "reject",
        title="When the rows are too few to tell",
        description="When the interval holds both sides of the margin: too few rows to tell. `release` goes by the "
        "difference that was measured.",
    )


class MetricsGate(PairedGateConfig):
    """What the gate goes by."""

    metrics: list[MetricConfig] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _names_differ(self) -> MetricsGate:
        if len({metric.name for metric in self.metrics}) < len(self.metrics):
            raise ValueError("metrics: two of them have the same name")
        return self


class ContainerConfig(Section):
    """A container of one's own instead of a format. Its model lies at /mnt/models."""

    image: str = Field(
        max_length=400,
        pattern=r"^[a-z0-9][a-z0-9.-]*(:[0-9]{1,5}/)?[a-z0-9._/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        description="With its digest (`name@sha256:…`), so that a version that is put back is the same program; "
        "`check` warns of one without.",
    )
    command: list[Argument] = Field([], max_length=100, description="None: that of the image.")
    args: list[Argument] = Field([], max_length=100, description="None: those of the image.")
    env: dict[VariableName, Argument] = Field({}, max_length=100, description="Environment variables; nothing secret.")
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(8080, description="At which it answers.")


class PredictorConfig(Section):
    """What serves the model: `format`, or `container`."""

    format: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]{0,40}$",
        description="KServe's model format; on one machine `sklearn` or `onnx`, see docs/local-kserve.md.",
    )
    protocol: Literal["v1", "v2"] = Field("v1", description="What users speak; `v2`: Open Inference Protocol.")
    runtime: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        description="In a cluster: ServingRuntime of the format; none: KServe takes one that fits.",
    )
    model_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="In a cluster: name in the paths of requests, where the server has one of its own; none: the "
        "InferenceService's, as KServe's own runtimes have it.",
    )
    container: ContainerConfig | None = Field(
        None, description="In a cluster: container of your own, with `image`, `command`, `args`, `env` and `port`."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> PredictorConfig:
        if (self.format is None) is (self.container is None):
            raise ValueError("exactly one of `format` and `container` says what serves it")
        if self.container and self.runtime:
            raise ValueError("`runtime` is for a format only")
        return self


class RecordedRequest(Section):
    """A request, as users send it, and what must come back."""

    request: JsonValue = Field(description="The body: JSON, or text that is sent as it is.")
    answer: JsonValue = Field(
        None, description="What the answer must hold; it may hold more. None: any answer with status 200."
    )
    tolerance: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Largest difference of a number; none: `tolerance` of the section."
    )


class RequestsConfig(Section):
    """What the candidate must show before it gets traffic, and again after."""

    requests: list[RecordedRequest] = Field(
        min_length=1, max_length=32, description="Requests with `request`, `answer` and `tolerance`."
    )
    refused: list[JsonValue] = Field(
        [], max_length=32, description="Requests that must be answered with a status of 400 to 499."
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(1e-6, description="Largest difference of a number.")
    max_latency_ms: Annotated[float, Field(gt=0)] = Field(2000, description="Median of the recorded requests.")
    max_answer_bytes: Annotated[int, Field(ge=1)] = Field(1_000_000, description="Largest answer.")

    @model_validator(mode="after")
    def _requests_are_short(self) -> RequestsConfig:
        if any(len(body_of(each)) > LONGEST_REQUEST for each in self.all_requests):
            raise ValueError(f"requests, refused: a request may have {LONGEST_REQUEST:,} bytes")
        return self

    @property
    def all_requests(self) -> list[Any]:
        """Every request, whatever becomes of it."""
        return [*(each.request for each in self.requests), *self.refused]


def _as_file(place: str) -> str:
    return f"file://{place}" if place.startswith("/") else place


def body_of(request: JsonValue) -> bytes:
    """Return what is sent: JSON, or text as it is written."""
    return (request if isinstance(request, str) else json.dumps(request)).encode()
