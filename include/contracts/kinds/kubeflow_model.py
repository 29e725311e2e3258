"""``candidate.json`` of what a pipeline of anybody's has made; its release writes it from the outputs of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from include.contracts.candidate import Candidate, Package
from include.contracts.documents import NotNegative, Part, Positive, Sha256
from include.contracts.metrics import Metric, fact_of
from include.contracts.registry_tags import MAIN_METRICS_FACT, PAIRED_FACT, PREDICTOR_FACT
from include.contracts.rules.non_inferiority import Bounds
from include.contracts.version.model_files import check_names, folder_digest
from include.contracts.version.pinned_models import check_pinned, is_served_as_it_is, reference_digest


class ModelFile(Part):
    """One file of a model."""

    sha256: Sha256
    size_bytes: int = Field(ge=0)


class ModelFiles(Package):
    """The model as the release has copied it into its own folder; its digest is made of names and digests of files."""

    size_bytes: Positive
    files: dict[str, ModelFile] = Field(min_length=1, description="Name below the folder, with / -> the file")

    @model_validator(mode="after")
    def _digests_agree(self) -> ModelFiles:
        check_names({name: file.size_bytes for name, file in self.files.items()}, where="archive.files")
        if folder_digest({name: file.sha256 for name, file in self.files.items()}) != self.sha256:
            raise ValueError("sha256 is not that of the files")
        return self

    def sizes(self) -> Mapping[str, int]:
        """Return the size of every file."""
        return {self._uri_of(name): file.size_bytes for name, file in sorted(self.files.items())}

    def digest(self, sha256_of: Callable[[str], str]) -> str:
        """Return the digest that the files have together."""
        return folder_digest({name: sha256_of(self._uri_of(name)) for name in self.files})

    def _uri_of(self, name: str) -> str:
        return f"{self.uri.rstrip('/')}/{name}"


class PinnedModel(Package):
    """A model that a cluster reads by its address, which stands for one content for good."""

    uri: str = Field(description="A commit of the Hugging Face Hub (hf://), or an image by its digest (oci://)")

    @model_validator(mode="after")
    def _is_pinned(self) -> PinnedModel:
        if reference_digest(check_pinned(self.uri)) != self.sha256:
            raise ValueError("sha256 is not that of the address")
        return self

    @property
    def lies_in_store(self) -> bool:
        """It lies where it was published."""
        return False

    def sizes(self) -> Mapping[str, int]:
        """There is no file of it to look at."""
        return {}

    def digest(self, sha256_of: Callable[[str], str]) -> str:
        """Return what stands for it."""
        return reference_digest(self.uri)


def _where(archive: Any) -> str:
    uri = archive.get("uri") if isinstance(archive, Mapping) else getattr(archive, "uri", None)
    return "pinned" if isinstance(uri, str) and is_served_as_it_is(uri) else "files"


class MadeBy(Part):
    """The run that made it."""

    run_id: str
    pipeline: str = Field(description="File, URI or name of the pipeline")
    parameters: dict[str, JsonValue]
    model_uri: str = Field(description="Where the pipeline had left the model")


class MeasuredMetric(Part):
    """One figure."""

    name: str
    higher_is_better: bool
    value: float
    live: float | None = Field(None, description="What the registry has of the live version; null where it has nothing")


class ServedContainer(Part):
    """A container of its own."""

    image: str
    command: list[str] = []
    args: list[str] = []
    env: dict[str, str] = {}
    port: int = Field(8080, description="At which it answers")


class ServedBy(Part):
    """What serves it, whatever the YAML says by now: what has judged a version serves it."""

    format: str | None = Field(None, description="Null or absent for a container")
    protocol: Literal["v1", "v2"]
    runtime: str | None = Field(None, description="ServingRuntime of a cluster; null or absent: one that fits")
    model_name: str | None = Field(None, description="In the paths of requests; null or absent: the service's")
    container: ServedContainer | None = Field(None, description="Null or absent for a format")

    @model_validator(mode="after")
    def _one_of_both(self) -> ServedBy:
        if (self.format is None) is (self.container is None):
            raise ValueError("exactly one of format and container is there")
        return self

    def settings(self) -> dict[str, Any]:
        """Return what there is to say."""
        return self.model_dump(exclude_none=True)


class Recorded(Part):
    """A request, and what must come back."""

    request: JsonValue
    answer: JsonValue = None
    tolerance: NotNegative


class KeptPredictions(Part):
    """Its predictions of the evaluation rows, as the release has kept them: `id`, `label` and `prediction` of each."""

    uri: str = Field(description="JSON Lines")
    sha256: Sha256
    size_bytes: Positive
    rows: Positive
    rows_sha256: Sha256 = Field(description="Of ids and labels alone: the same rows have the same")


class PairedDifference(Part):
    """Candidate minus live version on the same rows, and the bounds of its interval."""

    name: str = Field(description="Of the metric")
    difference: float
    low: float
    high: float


class PairedComparison(Part):
    """Candidate against the live version, row by row."""

    version: str = Field(description="Of the live model")
    rows: Positive
    confidence: float = Field(gt=0, lt=1, description="Of every interval here")
    differences: list[PairedDifference] = Field(min_length=1)

    def bounds(self, metric: str) -> Bounds | None:
        """Return the interval of a metric, ``None`` where it was not compared."""
        found = [each for each in self.differences if each.name == metric]
        return Bounds(found[0].low, found[0].high, self.confidence, self.rows) if found else None


class KubeflowModelCandidate(Candidate):
    """A model of anybody's pipeline, and what is known of it."""

    kind: Literal["kubeflow-model"]
    archive: Annotated[
        Annotated[ModelFiles, Tag("files")] | Annotated[PinnedModel, Tag("pinned")], Discriminator(_where)
    ]
    code_revision: str = ""
    tracking_run_id: str | None = None
    made_by: MadeBy
    metrics: list[MeasuredMetric] = Field(min_length=1, description="The main one first")
    live_version: str | None = Field(description="What its metrics are compared with; null before the first release")
    predictions: KeptPredictions | None = Field(None, description="Null or absent where the pipeline wrote none")
    comparison: PairedComparison | None = Field(None, description="Null or absent where rows could not be paired")
    not_comparable: str = Field("", description="Why rows could not be paired, where there was something to pair")
    predictor: ServedBy
    requests: list[Recorded] = Field(min_length=1, max_length=32)
    refused: list[JsonValue] = Field([], max_length=32)
    max_answer_bytes: Positive

    @property
    def model_format(self) -> str:
        """What its predictor reads; for a container, only that knows."""
        return self.predictor.format or "custom"

    @property
    def compared_version(self) -> str | None:
        """The live version that it was compared with."""
        return self.live_version

    def served_with(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings with the predictor of this version, whatever the YAML says by now."""
        asked = super().served_with(settings)
        others = {
            name: value for name, value in asked.get("predictor", {}).items() if name not in ServedBy.model_fields
        }
        return {**asked, "predictor": {**others, **self.predictor.settings()}}

    def figures(self) -> dict[str, float]:
        """Return its metrics, and what the live version had."""
        ours = {f"candidate.{metric.name}": metric.value for metric in self.metrics}
        return ours | {f"live.{metric.name}": metric.live for metric in self.metrics if metric.live is not None}

    def _facts(self) -> Iterator[tuple[str, Any]]:
        yield from super()._facts()
        yield "model_uri", self.made_by.model_uri
        yield "pipeline", self.made_by.pipeline
        yield "training_parameters", json.dumps(self.made_by.parameters, sort_keys=True)
        if self.comparison:
            yield PAIRED_FACT, json.dumps(self.comparison.model_dump(), sort_keys=True)
        yield PREDICTOR_FACT, json.dumps(self.predictor.settings(), sort_keys=True)
        found = [Metric(metric.name, metric.name, metric.higher_is_better) for metric in self.metrics]
        yield MAIN_METRICS_FACT, fact_of(found)
